"""Makes drafts (pre-annotations) from the predictions of the learner and of the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Mask, Rows
from ml_backend.core.ports import Drafter, RecordEncoder
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.texts import WordVectors, texts_at
from ml_backend.core.types import Draft
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.explanations import explain_drafts
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.hidden_drafts import without_hidden
from ml_backend.pool import feature_space


@dataclass(frozen=True, slots=True)
class DraftedTasks:
    """The n tasks that drafts are made for.

    texts              (n,) their texts, or records as text
    vectors            (n, d) their vectors
    teacher_predicted  for each control (n, ...) the annotators' labels as expected from the teacher's label and its
                       reliability; missing in rows without a teacher label; no controls without a teacher
    is_generated       (n,) bool: texts that the teacher wrote. They get the teacher's draft if there is one. None
                       without such texts
    words              (n,) the words of the texts; None in a feature space without vectors of words
    """

    texts: Sequence[str]
    vectors: Floats
    teacher_predicted: Mapping[str, Rows] = field(default_factory=dict)
    is_generated: Mask | None = None
    words: Sequence[WordVectors] | None = None


def make_drafts(
    settings: Settings,
    schema: ProjectSchema,
    models: Mapping[str, FittedModel],
    tasks: DraftedTasks,
    record_encoder: RecordEncoder | None = None,
) -> list[dict[str, Draft]]:
    """The drafts for each task, by the name of the control; see `without_hidden` for a control that may stay hidden.

    models          the learner of each control that has one
    record_encoder  the encoder of records, with which the learners' drafts are explained
    """
    drafts: list[dict[str, Draft]] = [{} for _ in tasks.texts]
    encoder = feature_space.text_encoder(settings, schema.input)
    drafter = None if schema.input.is_record else registry.drafter(encoder)
    for control in schema.controls if len(tasks.vectors) else ():
        of_control = _control_drafts(control, models.get(control.name), tasks, drafter, record_encoder)
        for task_drafts, draft in zip(drafts, of_control, strict=True):
            if draft is not None:
                task_drafts[control.name] = draft
    return [without_hidden(task_drafts, schema) for task_drafts in drafts]


def _control_drafts(
    control: ControlSchema,
    learner: FittedModel | None,
    tasks: DraftedTasks,
    drafter: Drafter | None,
    record_encoder: RecordEncoder | None,
) -> list[Draft | None]:
    """A draft of one control for each task: the learner's, or the teacher's where the teacher is more likely to be
    right. Before there is a learner, or if the learner is doubted, the embedded teacher drafts where the teacher has no
    label.

    drafter  the embedded teacher, None for records
    """
    n, of_kind, fitted = len(tasks.texts), kind_of(control), learner
    if learner and learner.is_doubted and drafter:
        learner = None
    explanations: list[tuple[str, ...]] = [() for _ in tasks.texts]
    own_author: Literal["learner", "teacher"] = "learner" if learner else "teacher"
    predicted = None
    if learner:
        predicted = learner.predict(control, tasks.vectors, texts_at(tasks.texts, tasks.words))
        if record_encoder:
            explanations = explain_drafts(learner, control, record_encoder, tasks.texts, tasks.vectors, predicted)
    elif drafter is not None:
        predicted = of_kind.cold_start(control, drafter, tasks.texts, tasks.vectors)
    own_drafts = [None] * n if predicted is None else of_kind.drafts(control, predicted)
    teacher_predicted = tasks.teacher_predicted.get(control.name)
    if teacher_predicted is not None:
        tensors = fitted.tensors if fitted else {}
        teacher_predicted = of_kind.checked(control, teacher_predicted, tasks.texts, tensors)
    teacher_drafts = [None] * n if teacher_predicted is None else of_kind.drafts(control, teacher_predicted)
    prefers_teacher = [learner is None] * n if tasks.is_generated is None else (tasks.is_generated | (learner is None))
    drafts: list[Draft | None] = []
    for own, teacher, is_preferred, explanation in zip(
        own_drafts, teacher_drafts, prefers_teacher, explanations, strict=True
    ):
        if teacher is not None and (is_preferred or own is None or teacher[1] > own[1]):
            drafts.append(Draft(*teacher, "teacher"))
        else:
            drafts.append(None if own is None else Draft(*own, own_author, explanation))
    return drafts


def draft_origin(drafts: Mapping[str, Draft], possessive: str = "'s draft") -> str:
    """The author of the drafts for a task and their explanations, in words; "no draft" without drafts. `possessive`
    follows the author."""
    words = {
        control: f"{draft.author}{possessive}"
        + (f" because of {' and '.join(draft.explanation)}" if draft.explanation else "")
        for control, draft in drafts.items()
    }
    if len(set(words.values())) <= 1:
        return next(iter(words.values()), "no draft")
    return "; ".join(f"{control}: {text}" for control, text in words.items())


def lowest_confidence(drafts: Mapping[str, Draft]) -> float:
    """The lowest confidence of the drafts for a task, 0 without drafts."""
    return min((draft.confidence for draft in drafts.values()), default=0.0)
