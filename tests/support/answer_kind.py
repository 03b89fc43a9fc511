"""A kind of labels as another package would add it: <TextArea>, drafted with the answer of the most similar task.

Its targets and predictions are arrays of objects: texts, and pairs of a text and its confidence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import (
    DistillationData,
    Fit,
    Floats,
    Ints,
    Mask,
    Rows,
    Tensors,
    TrainingSet,
    UncertaintyMeasure,
    are_missing,
    missing_rows,
    object_rows,
)
from ml_backend.core.ports import Learner
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts
from ml_backend.core.types import Label, LabelValue, TaskContent
from ml_backend.kinds.base import NO_DESCRIPTIONS, Doubles, Kind, ReplyFormat
from ml_backend.kinds.tag_attributes import is_conditional, is_required

WORD_COLUMNS = 256
TARGETS, HELD_OUT = "snapshot.answers", "snapshot.held_out"


@dataclass(frozen=True, slots=True)
class AnswerPredictions:
    """Predicted answers, (n,) objects."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Ints) -> AnswerPredictions:
        return AnswerPredictions(self.rows[rows])

    def is_finite(self) -> Mask:
        return np.isfinite(_confidences(self.rows))

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        return 1 - _confidences(self.rows[rows])

    def gradient_residuals(self, rows: Ints) -> None:
        return None


class AnswerKind(Kind[ControlSchema]):
    name = "answer"
    tags: ClassVar = {"TextArea": 1}
    default_learner = "nearest-answer"

    def read_schema(self, element: Any, name: str, source: str) -> ControlSchema:
        is_optional = not (is_conditional(element) or is_required(element))
        return ControlSchema(name, source, conditional=not is_optional, kind="answer", tag="TextArea")

    def describe_control(self, control: ControlSchema) -> str:
        return "a text"

    def read_label(self, regions: Sequence[Mapping[str, Any]], control: ControlSchema, content: TaskContent) -> Label:
        if not regions:
            return Label((), "empty")
        value = regions[0].get("value")
        texts = value.get("text") if isinstance(value, dict) else None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return Label((), "shape")
        return Label((texts[0],)) if texts and texts[0] else Label((), "empty")

    def write_regions(self, value: LabelValue, control: ControlSchema, content: TaskContent) -> list[dict[str, Any]]:
        return [{"type": "textarea", "value": {"text": list(value)}}] if value else []

    def aggregate(self, control: ControlSchema, labels: Sequence[Label]) -> str | None:
        texts = sorted(label.value[0] for label in labels if label.is_read and label.value)
        return Counter(texts).most_common(1)[0][0] if texts else None

    def as_targets(self, control: ControlSchema, targets: Sequence[Any]) -> Rows:
        return object_rows(targets)

    def target_values(self, control: ControlSchema, targets: Rows) -> list[LabelValue]:
        return [(text,) for text in targets]

    def learner(self, control: ControlSchema, plugin: str) -> Learner:
        return registry.learner(plugin)

    def fit_document(self, control: ControlSchema) -> dict[str, Any]:
        return {}

    def fitted_schema(self, document: Mapping[str, Any]) -> ControlSchema:
        return ControlSchema("", "", kind="answer", tag="TextArea")

    def adapt(self, control: ControlSchema, predicted: Rows, old: ControlSchema) -> Rows:
        return predicted

    def pack_targets(self, control: ControlSchema, targets: Rows) -> Tensors:
        return {TARGETS: _packed(targets)}

    def unpack_targets(self, control: ControlSchema, tensors: Tensors) -> Rows:
        return object_rows(_unpacked(tensors.pop(TARGETS)))

    def pack_predicted(self, control: ControlSchema, predicted: Rows) -> Tensors:
        return {HELD_OUT: _packed(predicted)}

    def unpack_predicted(self, control: ControlSchema, tensors: Tensors) -> Rows:
        return object_rows([pair and tuple(pair) for pair in _unpacked(tensors.pop(HELD_OUT))])

    def predictions(self, control: ControlSchema, predicted: Rows) -> AnswerPredictions:
        return AnswerPredictions(predicted)

    def drafts(self, control: ControlSchema, predicted: Rows) -> list[tuple[LabelValue, float] | None]:
        return [None if pair is None else ((pair[0],), pair[1]) for pair in predicted]

    def scores(self, control: ControlSchema, predicted: Rows, targets: Rows) -> Doubles:
        pairs = zip(predicted, targets, strict=True)
        return np.array([SequenceMatcher(None, pair[0], target).ratio() for pair, target in pairs], np.float64)

    def expected_errors(self, control: ControlSchema, predicted: Rows, targets: Rows) -> Floats:
        errors = 1 - self.scores(control, predicted, targets) * _confidences(predicted)
        return np.asarray(errors, np.float32)

    def agreement(self, control: ControlSchema, earlier: Rows, later: Rows) -> float:
        return float(np.mean([first[0] == second[0] for first, second in zip(earlier, later, strict=True)]))

    def without_learner(self, control: ControlSchema, targets: Rows, n: int) -> Rows:
        [(text, _)] = Counter(targets.tolist()).most_common(1) or [("", 0)]
        return object_rows([(text, 0.0)] * n)

    def reply_format(
        self, control: ControlSchema, descriptions: Mapping[str, str] = NO_DESCRIPTIONS, refusal: str = ""
    ) -> ReplyFormat:
        return ReplyFormat("the answer, as a text", "", {"type": "string"}, max_tokens=100, identity=["text"])

    def reply_of(self, control: ControlSchema, value: LabelValue, text: str) -> Any:
        return value[0]

    def read_replies(self, control: ControlSchema, replies: Rows, texts: Texts) -> Rows:
        return object_rows([(str(reply), 1.0) for reply in replies])

    def reliability(self, control: ControlSchema, predicted: Rows, targets: Rows, *, is_trusted: bool) -> Doubles:
        """The mean score of the teacher, with the weight of ten tasks for the assumption that it is `trust`."""
        trust = 1.0 if is_trusted else 0.8
        return np.array([(10 * trust + self.scores(control, predicted, targets).sum()) / (10 + len(targets))])

    def expected(self, control: ControlSchema, predicted: Rows, reliability: Doubles) -> Rows:
        return object_rows([pair and (pair[0], pair[1] * float(reliability[0])) for pair in predicted])


class NearestAnswer:
    """The answer of the most similar task, by the vector and by the words of its text; the confidence is the
    similarity."""

    kinds = ("answer",)
    reads_texts: Literal[True] = True

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        earlier = train.earlier_to_validate
        features = _features(train.vectors, train.texts)
        tensors = _fitted(features, train.targets, train.weights > 0)
        held_out = _leave_one_out(features, train.targets, train.weights > 0)
        is_earlier = None if earlier is None else ~are_missing(earlier)
        return Fit(
            tensors=tensors,
            held_out=held_out,
            held_out_earlier=None
            if earlier is None or is_earlier is None or not is_earlier.any()
            else _leave_one_out(features, earlier, is_earlier),
        )

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        similarities = _features(vectors, texts) @ np.asarray(tensors["features"], np.float32).T
        return _most_similar(similarities, _unpacked(tensors["answers"]))


ANSWER = AnswerKind()
ANSWER_PLUGINS: dict[str, Any] = {"kind.answer": ANSWER, "learner.nearest-answer": NearestAnswer}
"""For `registry.overridden`: what the entry points of another package would name."""


def _features(vectors: Floats, texts: Texts | None) -> Floats:
    """(n, d + WORD_COLUMNS) of unit length: the vectors (n, d), and which words occur in the texts, by their hashes."""
    if texts is None:
        raise ValueError("This learner reads the texts of the tasks, and got none")
    words = np.zeros((len(vectors), WORD_COLUMNS), np.float32)
    for row, text in enumerate(texts(np.arange(len(vectors)))):
        words[row, [crc32(word.encode()) % WORD_COLUMNS for word in text.split()]] = 1.0
    words /= np.linalg.norm(words, axis=1, keepdims=True).clip(1.0)
    return np.hstack([np.asarray(vectors, np.float32), words]) / np.float32(np.sqrt(2))


def _fitted(features: Floats, targets: Rows, is_used: Mask) -> Tensors:
    return {"features": features[is_used], "answers": _packed(targets[is_used])}


def _leave_one_out(features: Floats, targets: Rows, is_used: Mask) -> Rows:
    """(n,) the prediction for each row from the other rows that are used."""
    similarities = np.where(is_used, features @ features.T, -2.0)
    np.fill_diagonal(similarities, -2.0)
    return _most_similar(similarities, targets.tolist())


def _most_similar(similarities: Floats, answers: Sequence[str]) -> Rows:
    """(n,) pairs of the most similar answer and its confidence, from similarities (n, m)."""
    if not len(answers):
        return missing_rows(np.empty(0, object), len(similarities))
    nearest = similarities.argmax(axis=1)
    confidences = similarities.max(axis=1).clip(0, 1)
    return object_rows(
        [(answers[row], float(confidence)) for row, confidence in zip(nearest, confidences, strict=True)]
    )


def _confidences(rows: Rows) -> Floats:
    return np.array([np.nan if pair is None else pair[1] for pair in rows], np.float32)


def _packed(rows: Rows) -> Any:
    return np.frombuffer(json.dumps(rows.tolist()).encode(), np.uint8)


def _unpacked(tensor: Any) -> list[Any]:
    unpacked: list[Any] = json.loads(tensor.tobytes())
    return unpacked
