"""Words the report on a project's teacher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml_backend.core.formatting import format_count
from ml_backend.core.registry import EMBEDDED_TEACHER
from ml_backend.rendering.formatting import and_more

TROUBLE = "teacher trouble"  # name of a line
UNUSABLE_OUTCOMES = ("malformed", "refused", "failed")
MIN_TRUST, HIGH_TRUST = 0.5, 0.75
"""Trust in the field scores below which the learner ignores them, and from which the annotations confirm them."""


def report_lines(
    report: dict[str, Any], max_classes: int, control_option: str = "", part: str = "", changed_part: str = ""
) -> Iterator[tuple[str, str]]:
    """The report in words, as pairs of a name and a sentence. At most `max_classes` classes are named.

    control_option  that of the commands that are advised, see `formatting.control_option`
    part            see `Kind.part_name`
    changed_part    see `Kind.changed_part`
    """
    if not report:
        return
    lines = list(teacher_lines(report))
    yield from (line for line in lines if line[0] != TROUBLE)
    if any(sum(counts.values()) for counts in report["drafts"].values()):
        yield "drafts", _drafts(report, changed_part or part)
    if part and (sentence := _marking_saved(report["changes"], part)):
        yield "marking saved", sentence
    if changed_part and (sentence := _typing_saved(report, changed_part)):
        yield "typing saved", sentence
    if report["share"]:
        share = report["share"]
        yield "still needed?", f"{share['value']:.0%} of the {share['n']} drafts in the queue are the learner's own"
    for author in ("teacher", "learner"):
        if overall := report["agreement"][author]["overall"]:
            by_class = report["agreement"][author]["by_class"]
            classes = _worst_classes(by_class, max_classes)
            if part:
                classes = classes and f"; on single {part}s{classes}"
                yield f"{author} agrees", f"on all {part}s of a task: {_estimate(overall)}{classes}"
            else:
                yield f"{author} agrees", _estimate(overall) + classes
    if report["priors"]:
        prior = _prior(report, control_option)
        yield "taught", f"learner of version {report['serving']}: {prior}"
    if report["shown"]:
        yield (
            "seen by teacher",
            (
                f"{report['shown']} of the {report['judged']} answers that the learner is judged by were shown to the "
                "teacher before it wrote texts, none of the audit sample"
            ),
        )
    if report["trust"] is not None:
        yield "prior trust", _trust(report["trust"], control_option)
    yield from (line for line in lines if line[0] == TROUBLE)


def teacher_lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the teacher was asked and what that cost, and its problem if it has one."""
    if not report:
        return
    if report["name"] != EMBEDDED_TEACHER or report["spent"]["in all"]["calls"]:
        yield "teacher", _activity(report)
    if report["problem"]:
        yield TROUBLE, report["problem"]


def _activity(report: dict[str, Any]) -> str:
    total, today = report["spent"]["in all"], report["spent"]["today"]
    calls = (
        f"{format_count(total['calls'], 'call')} with {total['input_tokens'] + total['output_tokens']:,} tokens for "
        f"{total['cost']:.4g} ({today['calls']} for {today['cost']:.4g} of them today)"
    )
    parts = [
        f"{format_count(report['labelled'], 'label')} given",
        f"{format_count(report['waiting'], 'question')} waiting",
        calls if total["calls"] else "not asked yet",
    ]
    outcomes = report["outcomes"]
    parts += [f"{outcomes[outcome]} {outcome}" for outcome in UNUSABLE_OUTCOMES if outcomes.get(outcome)]
    name = report["name"].removesuffix(":")  # the name of a teacher without a model ends in a colon
    return f"{name}: {', '.join(parts)}"


def _drafts(report: dict[str, Any], part: str) -> str:
    sentences = []
    for author, counts in report["drafts"].items():
        if sum(counts.values()):
            outcomes = f"{counts['accepted']} accepted, {counts['edited']} edited, {counts['replaced']} replaced"
            changes = report["changes"].get(author, {})
            sentences.append(f"{author}'s {outcomes}{_changes(changes, part) if changes else ''}")
    return "; ".join(sentences)


def _changes(changes: dict[str, int], part: str) -> str:
    """How many parts of drafts the annotators kept, removed and added."""
    kept, removed, added = changes["kept"], changes["removed"], changes["added"]
    return f", with {kept} of {kept + removed} drafted {part}s kept, and {added} added"


def _marking_saved(changes: dict[str, dict[str, int]], part: str) -> str:
    """How many parts, with how many words, did not have to be marked by hand; "" if no annotation has a part."""
    kept, added, kept_words, added_words = (
        sum(of_author[name] for of_author in changes.values())
        for name in ("kept", "added", "kept_words", "added_words")
    )
    if not kept + added:
        return ""
    words = format_count(kept_words + added_words, "word")
    return (
        f"{kept} of the {format_count(kept + added, part)} in drafted texts ({kept_words} of their {words}) were "
        "drafted right, so that nobody had to mark them"
    )


def _typing_saved(report: dict[str, Any], part: str) -> str:
    """How many words did not have to be typed; "" if no annotation with a draft has one."""
    kept, removed, added = (
        sum(of_author[name] for of_author in report["changes"].values()) for name in ("kept", "removed", "added")
    )
    n_drafts = sum(sum(counts.values()) for counts in report["drafts"].values())
    if not kept + added or not n_drafts:
        return ""
    return (
        f"{kept} of the {format_count(kept + added, part)} in texts with a draft were drafted; of a draft, annotators "
        f"removed {removed / n_drafts:.1f} {part}s and added {added / n_drafts:.1f} on average"
    )


def _worst_classes(by_class: dict[str, Any], max_classes: int) -> str:
    """The classes with the lowest agreement, in ascending order."""
    if not by_class:
        return ""
    worst = sorted(by_class.items(), key=lambda item: (item[1]["value"], -item[1]["n"]))
    named = [
        f"{label} {estimate['value']:.0%} ({estimate['low']:.0%} to {estimate['high']:.0%})"
        for label, estimate in worst[:max_classes]
    ]
    return f": {', '.join(named)}{and_more(worst, max_classes)}"


def _trust(trust: float, control_option: str) -> str:
    """How far the annotations confirm the scores of the fields of records."""
    if trust >= HIGH_TRUST:
        return f"{trust:.2f}: the answers so far confirm the scores of the fields"
    if trust >= MIN_TRUST:
        return f"{trust:.2f}: the answers so far say little about the scores of the fields"
    return (
        f"{trust:.2f}, WARNING: the answers contradict the scores of the fields, so the learner ignores the scores. "
        f"Are they meant for another label, or reversed? `apprentice features{control_option}` shows the scores, and "
        "--edit changes them"
    )


def _prior(report: dict[str, Any], control_option: str) -> str:
    """The worth of the priors. An error is relative to the error without a prior, which is 1."""
    started_from, priors = report["started_from"], report["priors"]
    names = f"the labels' names{' and cues' if report['cues'] else ''}"
    prior_names = {
        "cues": names,
        "labels": "the teacher's labels",
        "labels and cues": f"the teacher's labels, {names}",
        "labels and words": "the teacher's labels, with the words that it has marked",
        "fields": "the scores of the fields",
    }
    errors = {prior_names.get(prior, prior): error for prior, error in priors.items() if prior != "none"}
    listed = "; ".join(f"{name} {error:.2f}" for name, error in errors.items())
    comparison = f"its error on your answers, as a share of the error without, below 1 is better: {listed}"
    if started_from:
        return f"the learner starts from {prior_names.get(started_from, started_from)} ({comparison})"
    edit_cues = f": say in `apprentice cues{control_option} --edit` what the labels mean"
    advice = edit_cues if report["describable"] else ""
    if errors and min(errors.values()) > 1:
        return (
            f"starting from {' or '.join(errors)} would make the learner worse, so it does not ({comparison}){advice}"
        )
    return (
        f"the learner starts from the annotators' answers alone: nothing is better by more than chance ({comparison})"
    )


def _estimate(estimate: dict[str, Any]) -> str:
    interval = f"95 %: {estimate['low']:.3f} to {estimate['high']:.3f}"
    return f"{estimate['value']:.3f} ({interval}; {estimate['n']} tasks)"
