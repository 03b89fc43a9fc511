"""The texts of a round with the teacher's labels, and with what the learner predicts before it is trained on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from ml_backend.core.arrays import Rows, object_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.core.texts import texts_at
from ml_backend.core.types import Label, LabelValue
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.reply_problems import UNSURE, UNUSABLE
from ml_backend.model.fitted_model import FittedModel
from ml_backend.teacher.evolution import part_analysis
from ml_backend.teacher.evolution.generated_texts import (
    ANNOTATED_PARTS,
    EASY,
    HARD,
    POOL,
    DroppedText,
    EvolutionRound,
    GeneratedText,
    read_texts,
    text_vectors,
)
from ml_backend.teacher.project_context import ProjectContext
from ml_backend.teacher.teacher_labels import shares

REFUSAL = "none of them, or ambiguous"


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a reply says for one control.

    value      in the form of one of `Kind.read_replies`
    refusal    the probability of `REFUSAL`
    predicted  (1, ...) the result of `Kind.read_replies`
    stored     the fields of a `GeneratedText` from which `predicted` can be made again
    """

    value: Any
    refusal: float
    predicted: Rows
    stored: Mapping[str, Any]


def labelled(
    control: ControlSchema, replies: Sequence[tuple[GeneratedText, Answer, Question]]
) -> tuple[list[GeneratedText], list[DroppedText]]:
    """The texts with the teacher's labels, and the dropped texts. Drops a text that the teacher wrote if its kind of
    label has a `Kind.reply_problem` with the reply, and any text without a usable label."""
    of_kind = kind_of(control)
    dropped: list[DroppedText] = []
    kept: list[GeneratedText] = []
    for text, answer, question in replies:
        reply = _read_reply(control, text.text, answer, question)
        if reply is None:
            dropped.append(DroppedText(UNUSABLE, text.text))
            continue
        [draft] = of_kind.drafts(control, reply.predicted)
        problem = "" if text.kind == POOL else of_kind.reply_problem(control, reply.value, text.text, reply.refusal)
        if problem or draft is None:
            dropped.append(DroppedText(problem or UNSURE, text.text))
        else:
            kept.append(replace(text, label=draft[0], **reply.stored))
    return kept, dropped


def _read_reply(control: ControlSchema, text: str, answer: Answer, question: Question) -> _Reply | None:
    """The reply about a control, None if there is none."""
    of_kind = kind_of(control)
    if answer.content is None:
        return None
    if not of_kind.replies_with_labels:
        value = answer.content.get(control.name)
        predicted = of_kind.read_replies(control, object_rows([value]), texts_at([text]))
        return _Reply(value, 0.0, predicted, {"predicted": predicted[0]})
    if answer.shares is None:
        return None
    # an earlier release asked about all controls for texts of the pool, and about one without its name
    field = next((field for field in question.fields if field.name == control.name), question.fields[0])
    probability_of = dict(zip(field.labels, answer.shares[field.name].tolist(), strict=True))
    refusal = probability_of.pop(REFUSAL, 0.0)
    probabilities = np.array([probability_of.get(label, 0.0) for label in control.labels], np.float32)
    rounded = {name: round(probability, 6) for name, probability in probability_of.items()}
    return _Reply(probabilities, refusal, shares(control, [text], [probability_of]), {"shares": rounded})


def without_surplus(
    control: ControlSchema, texts: Sequence[GeneratedText], share: float
) -> tuple[list[GeneratedText], list[DroppedText]]:
    """Drops texts without parts if their share is more than `share`, that among the annotated tasks: hard and easy
    ones alike."""
    n_with_parts = sum(bool(text.label) for text in texts)
    allowed = len(texts) if share >= 1 else int(np.ceil(n_with_parts * share / (1 - share) - 1e-9))
    by_kind = [[text for text in texts if text.kind == kind and not text.label] for kind in (HARD, EASY)]
    without_parts = [text for pair in zip_longest(*by_kind) for text in pair if text is not None]
    reason = f"too many without a {kind_of(control).part_name}"
    surplus = without_parts[allowed:]
    return [text for text in texts if text not in surplus], [DroppedText(reason, text.text) for text in surplus]


def with_new_parts(
    control: ControlSchema, texts: Sequence[GeneratedText], annotated: AbstractSet[str]
) -> tuple[list[GeneratedText], list[DroppedText]]:
    """Drops texts all of whose parts are among the `annotated` ones, see `quoted_parts`: annotators have labelled them
    in texts that were not made up. (To drop texts with a single one of these was measured on train sentences of
    ncbi-disease: it costs 1.9 points of F1.)"""
    kept: list[GeneratedText] = []
    dropped: list[DroppedText] = []
    for text in texts:
        parts = quoted_parts(control, text.label, text.text)
        if parts and parts <= annotated:
            dropped.append(DroppedText(ANNOTATED_PARTS, text.text))
        else:
            kept.append(text)
    return kept, dropped


def quoted_parts(control: ControlSchema, value: LabelValue, text: str) -> set[str]:
    """The parts of a value as quotes in lower case, with their labels."""
    of_kind = kind_of(control)
    return {of_kind.quote(control, (part,), text, in_context=False).casefold() for part in value}


def examined(context: ProjectContext, learner: FittedModel, current: EvolutionRound) -> EvolutionRound:
    """The round with the learner's predictions for its labelled texts, and with whether these are correct."""
    texts = current.texts
    if not texts:
        return current
    control, of_kind = context.control, kind_of(context.control)
    vectors = text_vectors(context.store, context.encoder, context.project_row.id, texts)
    of_texts = read_texts(context.store, context.encoder, context.project_row.id, texts)
    predicted = learner.predict(control, vectors, of_texts)
    targets = _targets(control, texts)
    is_right = of_kind.scores(control, predicted, targets) == 1.0
    errors: dict[int, list[str]] = defaultdict(list)
    for error in of_kind.part_errors(control, predicted, targets):
        errors[error.row].append(part_analysis.in_words(error))
    drafts = of_kind.drafts(control, predicted)
    judged = tuple(
        replace(text, said=draft[0] if draft else (), right=bool(right), errors=tuple(errors[row]))
        for row, (text, draft, right) in enumerate(zip(texts, drafts, is_right, strict=True))
    )
    if not of_kind.part_name:
        return replace(current, texts=judged)
    metric, metrics = of_kind.main_metric(control), {}
    for kind in dict.fromkeys(text.kind for text in texts):
        rows = np.flatnonzero([text.kind == kind for text in texts])
        metrics[kind] = of_kind.simulation_metrics(control, predicted[rows], targets[rows])[metric]
    return replace(current, texts=judged, metric=metric, metrics=metrics)


def _targets(control: ControlSchema, texts: Sequence[GeneratedText]) -> Rows:
    """(n, ...) the targets that the teacher's labels of texts are: its labels; if its replies do not consist of labels,
    what it may have missed is unknown."""
    of_kind = kind_of(control)
    if of_kind.replies_with_labels:
        return of_kind.as_targets(control, [of_kind.aggregate(control, [Label(text.label)]) for text in texts])
    return of_kind.distilled_targets(control, object_rows([text.predicted for text in texts]))
