"""Where a project stands with its teacher: what it has said and cost, and whether its word is still needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ml_backend.core.formatting import counted
from ml_backend.core.registry import EMBEDDED
from ml_backend.core.types import Estimate, TaskSchema
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import Agreement, DraftAcceptance, TimeSaved
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher.client import midnight

IN_VAIN = ("malformed", "refused", "failed")
MINUTE = 60.0
LEAST_TRUST, SURE_TRUST = 0.5, 0.75


def measure(
    shown: int, received: Mapping[str, DraftAcceptance], saved: TimeSaved, share: Estimate | None, teacher: Agreement,
    learner: Agreement, known: FittedModel | None, labelled: int, judged: int = 0, seen_by_teacher: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """What a round finds out, as JSON: part of `read`, and how many tasks were `served`. Tasks that a teacher wrote
    judge nobody.

    shown     tasks that have been on a queue
    known     the serving learner; it is judged by so many answers (`judged`), of which a teacher has seen some
              (`seen_by_teacher`) before it wrote texts
    labelled  labels that the teacher has given
    """
    return {
        "labelled": labelled,
        "served": shown,
        "drafts": {author: asdict(fates) for author, fates in received.items()},
        "saved": asdict(saved),
        "share": asdict(share) if share else None,
        "agreement": {"teacher": _as_json(teacher), "learner": _as_json(learner)},
        "started_from": known.started_from if known else "",
        "priors": {prior: round(error, 4) for prior, error in known.prior_errors.items()} if known else {},
        "trust": round(known.trust, 4) if known and known.trust is not None else None,
        "serving": known.number if known else None,
        "judged": judged,
        "shown": seen_by_teacher,
    }


def read(store: Store, record: ProjectRecord, schema: TaskSchema, measured: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON, with what the last round has `measured`, {} before the first one; {} as long as nobody has been asked
    and no draft was shown.

    name, model, problem  of the teacher; the embedded one has neither of the latter
    spent        calls, tokens, cost and seconds `in all`, `today` (UTC) and `by purpose`
    outcomes     how many calls were answered, malformed, refused or failed
    waiting, labelled     questions without an answer; labels given
    drafts       accepted, edited and replaced, by author
    saved        see `agreement.Saved`
    share        of the published queue's drafts, how many are the learner's own
    agreement    of `teacher` and `learner` with the annotators, each `overall` and `by_class`
    shown        of the answers that the learner is judged by, how many a teacher was shown that wrote texts for it;
                 `judged`: of how many; `serving`: the version that made the learner, None without one
    trust        of records, how much the answers speak for what is known of their fields; None if that is nothing
    started_from, priors  the prior in use, "" for none; what starting from each is worth, see `domain.Fit.prior_errors`
    cues         whether there are cues beside the labels' names; `records`: whether the tasks are records
    """
    project, state = record.id, record.teacher or {}
    measured = measured or measure(0, *AcceptanceCounts().without(()), None, Agreement(), Agreement(), None, 0)
    if not state and not measured["served"]:
        return {}
    name = str(state.get("name") or EMBEDDED)
    by_purpose = store.ledger.spent(project)
    in_all = by_purpose.pop("")
    return {
        "name": name,
        "model": state.get("model", ""),
        "problem": state.get("problem", ""),
        "spent": {
            "in all": asdict(in_all),
            "today": asdict(store.ledger.spent(project, midnight())[""]),
            "by purpose": {purpose: asdict(spent) for purpose, spent in by_purpose.items()},
        },
        "outcomes": dict(store.ledger.outcomes(project)[""]),
        "waiting": store.questions.number_waiting(project, name),
        **{name: value for name, value in measured.items() if name != "served"},
        "cues": bool(record.cues),
        "records": schema.is_record,
    }


def lines(found: dict[str, Any], most: int) -> Iterator[tuple[str, str]]:
    """The same in words, as pairs of a name and a sentence; of the classes, `most` are named."""
    if not found:
        return
    if found["name"] != EMBEDDED or found["spent"]["in all"]["calls"]:
        yield "teacher", _work(found)
    if any(sum(fates.values()) for fates in found["drafts"].values()):
        yield "drafts", _drafts(found)
    if found["share"]:
        share = found["share"]
        yield "still needed?", f"{share['value']:.0%} of the {share['n']} drafts in the queue are the learner's own"
    for author in ("teacher", "learner"):
        if each := found["agreement"][author]["overall"]:
            yield f"{author} agrees", _estimate(each) + _classes(found["agreement"][author]["by_class"], most)
    if found["priors"]:
        prior = _prior(found["started_from"], found["priors"], found["cues"], found["records"])
        yield "taught", f"learner of version {found['serving']}: {prior}"
    if found["shown"]:
        yield (
            "seen by teacher",
            (
                f"{found['shown']} of the {found['judged']} answers that the learner is judged by were shown to the "
                "teacher before it wrote texts, none of the audit slice"
            ),
        )
    if found["trust"] is not None:
        yield "prior trust", _trust(found["trust"])
    if found["problem"]:
        yield "teacher trouble", found["problem"]


def _work(found: dict[str, Any]) -> str:
    in_all, today = found["spent"]["in all"], found["spent"]["today"]
    said = [f"{counted(found['labelled'], 'label')} given", f"{counted(found['waiting'], 'question')} waiting"]
    asked = (
        f"{counted(in_all['calls'], 'call')} with {in_all['input_tokens'] + in_all['output_tokens']:,} tokens for "
        f"{in_all['cost']:.4g} ({today['calls']} for {today['cost']:.4g} of them today)"
    )
    said.append(asked if in_all["calls"] else "not asked yet")
    vain = [f"{found['outcomes'][how]} {how}" for how in IN_VAIN if found["outcomes"].get(how)]
    name = found["name"].removesuffix(":")  # without a model
    return f"{name}: {', '.join(said + vain)}"


def _drafts(found: dict[str, Any]) -> str:
    said = [
        f"{author}'s {fates['accepted']} accepted, {fates['edited']} edited, {fates['replaced']} replaced"
        for author, fates in found["drafts"].items()
        if sum(fates.values())
    ]
    saved = found["saved"]
    if saved["seconds"] is not None:
        what = "saved" if saved["seconds"] >= 0 else "cost"
        said.append(
            f"{what} {abs(saved['seconds']) / MINUTE:.1f} minutes ({saved['median_accepted']:.1f} s an answer instead "
            f"of {saved['median_blind']:.1f} s; {saved['timed']} and {saved['blind']} timed)"
        )
    return "; ".join(said)


def _classes(by_class: dict[str, Any], most: int) -> str:
    """Those of the least agreement first."""
    if not by_class:
        return ""
    worst = sorted(by_class.items(), key=lambda item: (item[1]["value"], -item[1]["n"]))
    shown = [f"{label} {each['value']:.0%} ({each['low']:.0%} to {each['high']:.0%})" for label, each in worst[:most]]
    return f": {', '.join(shown)}{f' and {len(worst) - most} more' if len(worst) > most else ''}"


def _trust(trust: float) -> str:
    """Of what is known of the fields of records."""
    if trust >= SURE_TRUST:
        return f"{trust:.2f}: the answers so far bear out what is known of the fields"
    if trust >= LEAST_TRUST:
        return f"{trust:.2f}: the answers so far say little about what is known of the fields"
    return (
        f"{trust:.2f}, WARNING: the answers speak against what is known of the fields, so the learner leaves it out. "
        "Are the scores meant for another label, or upside down? `apprentice features` shows them, --edit mends them"
    )


def _prior(started_from: str, priors: dict[str, float], cues: bool, records: bool) -> str:
    """Priors are compared with none, whose error is 1."""
    names = f"the labels' names{' and cues' if cues else ''}"
    called = {"cues": names, "labels": "the teacher's labels", "labels and cues": f"the teacher's labels, {names}"}
    called["fields"] = "what is known of the fields"
    worth = {prior: error for prior, error in priors.items() if prior != "none"}
    told = "; ".join(f"{called.get(prior, prior)} {error:.2f}" for prior, error in worth.items())
    compared = f"its error on your answers, as a share of the error without, below 1 is better: {told}"
    if started_from:
        return f"the learner starts from {called.get(started_from, started_from)} ({compared})"
    help_ = "" if records else ": say in `apprentice cues --edit` what the labels mean"
    if worth and min(worth.values()) > 1:
        return (
            f"starting from {' or '.join(called.get(prior, prior) for prior in worth)} would make the learner worse, "
            f"so it does not ({compared}){help_}"
        )
    return f"the learner starts from the annotators' answers alone: nothing is better by more than chance ({compared})"


def _estimate(each: dict[str, Any]) -> str:
    return f"{each['value']:.3f} (95 %: {each['low']:.3f} to {each['high']:.3f}; {each['n']} tasks)"


def _as_json(found: Agreement) -> dict[str, Any]:
    return {
        "overall": asdict(found.overall) if found.overall else None,
        "by_class": {label: asdict(each) for label, each in found.by_class.items()},
    }
