"""Decides which spans are drafted: from which probability on, and whether repeated ones are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.types import DraftRule
from plugins.learners.crf.decoding import Candidate, best_threshold, precision_threshold
from plugins.learners.crf.gazetteer import LeftOut, WordSpan
from plugins.learners.crf.model import N_FOLDS, Model
from plugins.learners.crf.prediction import PredictedSpans, PredictedTags, part_of, predict, predict_spans
from plugins.learners.crf.repeats import add_repeats, repeat_rate, repeated_spans
from plugins.learners.crf.tags import TIE
from plugins.learners.crf.training import LabelledTexts
from plugins.learners.crf.word_table import WordTable

ROUNDING = 1e-6
"""By so much a threshold may be above the probability that it was made of."""
CALIBRATION_SPANS = 20.0
"""Weight of the calibration of all labels in that of one label, in spans."""


@dataclass(frozen=True, slots=True)
class PoolSample:
    """A random sample of the pool: the words of its texts without a label, None if there are none, and the labelled
    texts (m,) that belong to it. A head says too much of texts that it was fitted on, so that these are judged by other
    heads."""

    unlabelled: WordTable | None
    labelled: Ints


def with_repeat_rate(model: Model, table: WordTable, counted: Sequence[Sequence[WordSpan]], rule: DraftRule) -> Model:
    """The model with the rate by which repeated spans are drafted. counted: the spans of the labelled texts"""
    return replace(model, repeat_rate=repeat_rate(model.gazetteer, table, counted) if rule.repeats else 0.0)


def predict_held_out(
    model: Model, texts: LabelledTexts, features: Floats, left_out: LeftOut
) -> list[tuple[PredictedSpans, PredictedTags]]:
    """The predictions of the labelled texts of each fold by the head that was not fitted on them, with repeated spans.

    features  (w, d) of the labelled words
    left_out  see `Gazetteer.features`
    """
    predicted, repeated = [], repeated_spans(model, texts.table, left_out)
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(texts.folds == fold)
        spans, tags = predict(model, *part_of(texts.table, features, rows), fold)
        predicted.append((add_repeats(model, spans, [repeated[row] for row in rows]), tags))
    return predicted


def with_thresholds(
    model: Model, texts: LabelledTexts, held_out: Sequence[PredictedSpans], sample: PoolSample, rule: DraftRule
) -> Model:
    """The model with the thresholds of its heads for a sample of the pool; without a sample, for the labelled texts
    that a head was not fitted on. held_out: of the labelled texts of each fold"""
    if sample.unlabelled is None:
        by_head = [*([of_fold] for of_fold in held_out), held_out]
    else:
        words, repeated = sample.unlabelled, repeated_spans(model, sample.unlabelled)
        of_words = model.features(words)
        labelled = [
            of_fold.take(np.flatnonzero(np.isin(np.flatnonzero(texts.folds == fold), sample.labelled)))
            for fold, of_fold in enumerate(held_out)
        ]
        by_head = [
            [add_repeats(model, predict_spans(model, words, of_words, head), repeated), *labelled]
            for head in range(N_FOLDS + 1)
        ]
    factors = _calibration(model, texts, held_out) if rule.precision else {}
    thresholds = [_thresholds(model.labels, predicted, factors, rule) for predicted in by_head]
    return replace(model, thresholds=np.array(thresholds, np.float64).reshape(N_FOLDS + 1, len(model.labels)))


def _thresholds(
    labels: Sequence[str], predicted: Sequence[PredictedSpans], factors: Mapping[str, float], rule: DraftRule
) -> list[float]:
    """The threshold of each label for some texts."""
    candidates = [candidate for part in predicted for text in part.candidates for candidate in text]
    expected = float(sum(part.expected_spans.sum() for part in predicted))
    best = best_threshold([p for *_, p in candidates], expected)
    if not rule.precision:
        return [best] * len(labels)
    return [max(best, _precise(candidates, label, factors[label], rule.precision)) for label in labels]


def _precise(candidates: Sequence[Candidate], label: str, factor: float, precision: float) -> float:
    """The threshold from which spans of a label are right often enough, by their measured precision."""
    probabilities = [min(p * factor, 1.0) for *_, of_label, p in candidates if of_label == label]
    return precision_threshold(probabilities, precision) / factor - ROUNDING


def _calibration(model: Model, texts: LabelledTexts, held_out: Sequence[PredictedSpans]) -> dict[str, float]:
    """For each label, the number of right spans for each one that the held-out probabilities promise. That of one label
    has that of all labels as its prior, with the weight of `CALIBRATION_SPANS` spans. held_out: of each fold"""
    right, promised = dict.fromkeys(model.labels, 0.0), dict.fromkeys(model.labels, 0.0)
    for fold, predicted in enumerate(held_out):
        targets = texts.targets[texts.folds == fold]
        for candidates, (spans, is_partial) in zip(predicted.candidates, targets, strict=True):
            annotated = {span[:3] for span in spans if span[3] > TIE}
            for start, end, label, p in candidates if not is_partial else ():
                right[label] += (start, end, label) in annotated
                promised[label] += p
    of_all = (sum(right.values()) + CALIBRATION_SPANS) / (sum(promised.values()) + CALIBRATION_SPANS)
    return {
        label: (right[label] + CALIBRATION_SPANS * of_all) / (promised[label] + CALIBRATION_SPANS)
        for label in model.labels
    }
