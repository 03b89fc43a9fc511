"""The report on a project's teacher: its labels and cost, its agreement with the annotators, and whether its drafts are
still needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml_backend.core.formatting import format_count
from ml_backend.core.registry import EMBEDDED_TEACHER
from ml_backend.core.types import Estimate, TaskSchema
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import Agreement, DraftUse
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.client import start_of_today

UNUSABLE_OUTCOMES = ("malformed", "refused", "failed")
SECONDS_PER_MINUTE = 60.0
MIN_TRUST, HIGH_TRUST = 0.5, 0.75
"""Trust in the field scores below which the learner ignores them, and from which the annotations confirm them."""


@dataclass(frozen=True, slots=True)
class JudgedAnnotations:
    """The number of annotations that measure the learner, and how many of them a teacher saw before it wrote texts."""

    count: int = 0
    seen_by_teacher: int = 0


def measure_teacher(
    draft_use: DraftUse,
    learner_share: Estimate | None,
    agreement: Mapping[str, Agreement],
    model: FittedModel | None,
    label_count: int,
    judged: JudgedAnnotations,
) -> dict[str, Any]:
    """The measurements of a round as JSON: part of `read`, and `served`, the number of tasks that were in a queue.
    Tasks that a teacher wrote are left out of the measurements.

    learner_share  share of the published queue's drafts that are the learner's
    agreement      of "teacher" and "learner" with the annotators
    model          the serving learner
    label_count    number of labels that the teacher has given
    """
    return {
        "labelled": label_count,
        "served": draft_use.published,
        "drafts": {author: asdict(counts) for author, counts in draft_use.acceptance.items()},
        "saved": asdict(draft_use.time_saved),
        "share": asdict(learner_share) if learner_share else None,
        "agreement": {author: _as_json(of_author) for author, of_author in agreement.items()},
        "started_from": model.started_from if model else "",
        "priors": {prior: round(error, 4) for prior, error in model.prior_errors.items()} if model else {},
        "trust": round(model.trust, 4) if model and model.trust is not None else None,
        "serving": model.number if model else None,
        "judged": judged.count,
        "shown": judged.seen_by_teacher,
    }


def read_report(
    store: Store, project_row: ProjectRow, schema: TaskSchema, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """The report as JSON. `measured`: the measurements of the last round, {} before the first round. Returns {} as long
    as no teacher has been asked and no draft was shown.

    name, model, problem  of the teacher; the embedded teacher has no model and no problem
    spent                 calls, tokens, cost and seconds: `in all`, `today` (UTC) and `by purpose`
    outcomes              number of calls that were answered, malformed, refused or failed
    waiting               number of questions without an answer
    labelled              number of labels that the teacher has given
    drafts                number of accepted, edited and replaced drafts, by author
    saved                 see `TimeSaved`
    share                 share of the published queue's drafts that are the learner's
    agreement             of `teacher` and `learner` with the annotators, each `overall` and `by_class`
    judged                number of annotations that measure the learner
    shown                 how many of these annotations a teacher saw before it wrote texts
    serving               the version that made the learner, None without a learner
    trust                 how far the annotations confirm the scores of the fields of records; None without scores
    started_from the prior in use, "" for none
    priors   the relative error of starting from each prior, see `Fit.prior_errors`
    cues     whether there are label descriptions beside the labels' names
    records  whether the tasks are records
    """
    project, state = project_row.id, project_row.teacher or {}
    if not measured:
        no_agreement = {"teacher": Agreement(), "learner": Agreement()}
        measured = measure_teacher(AcceptanceCounts().without(()), None, no_agreement, None, 0, JudgedAnnotations())
    if not state and not measured["served"]:
        return {}
    name = str(state.get("name") or EMBEDDED_TEACHER)
    by_purpose = store.ledger.spent(project)
    total = by_purpose.pop("")
    return {
        "name": name,
        "model": state.get("model", ""),
        "problem": state.get("problem", ""),
        "spent": {
            "in all": asdict(total),
            "today": asdict(store.ledger.spent(project, start_of_today())[""]),
            "by purpose": {purpose: asdict(spending) for purpose, spending in by_purpose.items()},
        },
        "outcomes": dict(store.ledger.outcomes(project)[""]),
        "waiting": store.questions.count_waiting(project, name),
        **{key: value for key, value in measured.items() if key != "served"},
        "cues": bool(project_row.label_descriptions),
        "records": schema.is_record,
    }


def report_lines(report: dict[str, Any], max_classes: int) -> Iterator[tuple[str, str]]:
    """The report in words, as pairs of a name and a sentence. At most `max_classes` classes are named."""
    if not report:
        return
    if report["name"] != EMBEDDED_TEACHER or report["spent"]["in all"]["calls"]:
        yield "teacher", _activity(report)
    if any(sum(counts.values()) for counts in report["drafts"].values()):
        yield "drafts", _drafts(report)
    if report["share"]:
        share = report["share"]
        yield "still needed?", f"{share['value']:.0%} of the {share['n']} drafts in the queue are the learner's own"
    for author in ("teacher", "learner"):
        if overall := report["agreement"][author]["overall"]:
            by_class = report["agreement"][author]["by_class"]
            yield f"{author} agrees", _estimate(overall) + _worst_classes(by_class, max_classes)
    if report["priors"]:
        prior = _prior(report["started_from"], report["priors"], report["cues"], report["records"])
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
        yield "prior trust", _trust(report["trust"])
    if report["problem"]:
        yield "teacher trouble", report["problem"]


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


def _drafts(report: dict[str, Any]) -> str:
    parts = [
        f"{author}'s {counts['accepted']} accepted, {counts['edited']} edited, {counts['replaced']} replaced"
        for author, counts in report["drafts"].items()
        if sum(counts.values())
    ]
    saved = report["saved"]
    if saved["seconds"] is not None:
        verb = "saved" if saved["seconds"] >= 0 else "cost"
        parts.append(
            f"{verb} {abs(saved['seconds']) / SECONDS_PER_MINUTE:.1f} minutes ({saved['median_accepted']:.1f} s an "
            f"answer instead of {saved['median_blind']:.1f} s; {saved['timed']} and {saved['blind']} timed)"
        )
    return "; ".join(parts)


def _worst_classes(by_class: dict[str, Any], max_classes: int) -> str:
    """The classes with the lowest agreement, in ascending order."""
    if not by_class:
        return ""
    worst = sorted(by_class.items(), key=lambda item: (item[1]["value"], -item[1]["n"]))
    named = [
        f"{label} {estimate['value']:.0%} ({estimate['low']:.0%} to {estimate['high']:.0%})"
        for label, estimate in worst[:max_classes]
    ]
    return f": {', '.join(named)}{f' and {len(worst) - max_classes} more' if len(worst) > max_classes else ''}"


def _trust(trust: float) -> str:
    """How far the annotations confirm the scores of the fields of records."""
    if trust >= HIGH_TRUST:
        return f"{trust:.2f}: the answers so far confirm the scores of the fields"
    if trust >= MIN_TRUST:
        return f"{trust:.2f}: the answers so far say little about the scores of the fields"
    return (
        f"{trust:.2f}, WARNING: the answers contradict the scores of the fields, so the learner ignores the scores. "
        "Are they meant for another label, or reversed? `apprentice features` shows the scores, and --edit changes them"
    )


def _prior(started_from: str, priors: dict[str, float], cues: bool, records: bool) -> str:
    """The worth of the priors. An error is relative to the error without a prior, which is 1."""
    names = f"the labels' names{' and cues' if cues else ''}"
    prior_names = {
        "cues": names,
        "labels": "the teacher's labels",
        "labels and cues": f"the teacher's labels, {names}",
        "fields": "the scores of the fields",
    }
    errors = {prior_names.get(prior, prior): error for prior, error in priors.items() if prior != "none"}
    listed = "; ".join(f"{name} {error:.2f}" for name, error in errors.items())
    comparison = f"its error on your answers, as a share of the error without, below 1 is better: {listed}"
    if started_from:
        return f"the learner starts from {prior_names.get(started_from, started_from)} ({comparison})"
    advice = "" if records else ": say in `apprentice cues --edit` what the labels mean"
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


def _as_json(agreement: Agreement) -> dict[str, Any]:
    return {
        "overall": asdict(agreement.overall) if agreement.overall else None,
        "by_class": {label: asdict(estimate) for label, estimate in agreement.by_class.items()},
    }
