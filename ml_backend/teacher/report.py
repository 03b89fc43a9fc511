"""The report on a project's teacher: its labels and cost, its agreement with the annotators, and whether its drafts are
still needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml_backend.core.registry import EMBEDDED_TEACHER
from ml_backend.core.schema import ControlSchema, InputSpec
from ml_backend.core.types import Estimate
from ml_backend.kinds.lookup import kind_of
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import Agreement, DraftUse
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.client import start_of_today


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
        "changes": {author: asdict(changes) for author, changes in draft_use.changes.items()},
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
    store: Store, project_row: ProjectRow, control: ControlSchema, input_spec: InputSpec, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """The report on the teacher of a control as JSON; the calls and what they cost are those for all controls.
    `measured`: the measurements of the last round, {} before the first round. Returns {} as long as no teacher has been
    asked and no draft was shown.

    name, model, problem  of the teacher; the embedded teacher has no model and no problem
    spent                 calls, tokens, cost and seconds: `in all`, `today` (UTC) and `by purpose`
    outcomes              number of calls that were answered, malformed, refused or failed
    waiting               number of questions without an answer
    labelled              number of labels that the teacher has given
    drafts                number of accepted, edited and replaced drafts, by author
    changes               see `DraftChanges`, by author; {} for labels without parts
    share                 share of the published queue's drafts that are the learner's
    agreement             of `teacher` and `learner` with the annotators, each `overall` and `by_class`
    judged                number of annotations that measure the learner
    shown                 how many of these annotations a teacher saw before it wrote texts
    serving               the version that made the learner, None without a learner
    trust                 how far the annotations confirm the scores of the fields of records; None without scores
    started_from the prior in use, "" for none
    priors   the relative error of starting from each prior, see `Fit.prior_errors`
    cues     whether there are label descriptions beside the labels' names
    describable  whether people can describe the labels by cues
    """
    project, state = project_row.id, project_row.teacher or {}
    if not measured:
        no_agreement = {"teacher": Agreement(), "learner": Agreement()}
        measured = measure_teacher(
            AcceptanceCounts(control).without(()), None, no_agreement, None, 0, JudgedAnnotations()
        )
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
            "today": asdict(store.ledger.spent(project, start_of_today(store.clock))[""]),
            "by purpose": {purpose: asdict(spending) for purpose, spending in by_purpose.items()},
        },
        "outcomes": dict(store.ledger.outcomes(project)[""]),
        "waiting": store.questions.count_waiting(project, name),
        **{key: value for key, value in measured.items() if key != "served"},
        "cues": bool(project_row.label_descriptions.get(control.name)),
        "describable": not input_spec.is_record and kind_of(control).describes_labels(control),
    }


def _as_json(agreement: Agreement) -> dict[str, Any]:
    return {
        "overall": asdict(agreement.overall) if agreement.overall else None,
        "by_class": {label: asdict(estimate) for label, estimate in agreement.by_class.items()},
    }
