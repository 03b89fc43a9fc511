"""Decides which spans are drafted: from which probability on, and whether repeated ones are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.types import DraftRule
from plugins.learners.crf.decoding import Candidate, best_threshold, precision_threshold
from plugins.learners.crf.gazetteer import CountedWords
from plugins.learners.crf.model import N_FOLDS, Model
from plugins.learners.crf.prediction import PredictedSpans, PredictedTags, predict, predict_spans
from plugins.learners.crf.repeats import add_repeats, repeat_rate, repeated_spans
from plugins.learners.crf.tags import TIE
from plugins.learners.crf.training import FittedModel, LabelledTexts, without_fold
from plugins.learners.crf.word_table import WordTable

ROUNDING = 1e-6
"""By so much a threshold may be above the probability that it was made of."""
CALIBRATION_SPANS = 20.0
"""Weight of the calibration of all labels in that of one label, in spans."""


@dataclass(frozen=True, slots=True)
class PoolSample:
    """A random sample of the pool: the words of its texts without a label, None if there are none, and the labelled
    texts (m,) that belong to it. A head is overconfident on texts that it was fitted on, so that other heads judge
    these."""

    unlabelled: WordTable | None
    labelled: Ints


def with_repeat_rates(fitted: FittedModel, texts: LabelledTexts, rule: DraftRule) -> FittedModel:
    """The model with the rates by which its heads draft repeated spans."""
    if not rule.repeats:
        return replace(fitted, model=replace(fitted.model, repeat_rates=(0.0,) * (N_FOLDS + 1)))
    rates = []
    for head in range(N_FOLDS + 1):
        rows = np.flatnonzero(texts.folds != head)
        counted = without_fold(fitted.counted, texts, fitted.spans, head)
        rates.append(repeat_rate(counted, rows, [fitted.spans[row] for row in rows]))
    return replace(fitted, model=replace(fitted.model, repeat_rates=rates))


def predict_held_out(
    model: Model, texts: LabelledTexts, counted: CountedWords, scores: Sequence[Sequence[Floats]]
) -> list[tuple[PredictedSpans, PredictedTags]]:
    """The predictions of the labelled texts of each fold by the head that was not fitted on them, with repeated spans.

    counted  the labelled words, without the counts of their own text
    scores   of the head of each fold and of each layer, (w, k) of the tags of these words
    """
    rates = np.array(model.repeat_rates, np.float64)[texts.folds]
    predicted, repeated = [], repeated_spans(model, texts.table, counted, rates)
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(texts.folds == fold)
        table, words = texts.table.take(rows)
        spans, tags = predict(model, table, [of_layer[words] for of_layer in scores[fold]], fold)
        predicted.append((add_repeats(model, spans, [repeated[row] for row in rows]), tags))
    return predicted


def with_thresholds(
    model: Model, texts: LabelledTexts, held_out: Sequence[PredictedSpans], sample: PoolSample, rule: DraftRule
) -> Model:
    """The model with the thresholds of its heads for a sample of the pool; without a sample, for the labelled texts
    that a head was not fitted on. The labels of a fold are no part of the thresholds of its head. held_out: of the
    labelled texts of each fold"""
    thresholds = []
    for head, predicted in enumerate(_predict_sample(model, texts, held_out, sample)):
        factors = _calibration(model, texts, held_out, head) if rule.precision else {}
        thresholds.append(_thresholds(model.labels, predicted, factors, rule))
    return replace(model, thresholds=np.array(thresholds, np.float64).reshape(N_FOLDS + 1, len(model.labels)))


def _predict_sample(
    model: Model, texts: LabelledTexts, held_out: Sequence[PredictedSpans], sample: PoolSample
) -> list[list[PredictedSpans]]:
    """For each head the predictions that its thresholds are chosen for, see `with_thresholds`."""
    if sample.unlabelled is None:
        return [*([of_fold] for of_fold in held_out), [*held_out]]
    words, counted = sample.unlabelled, model.read(sample.unlabelled)
    labelled = [
        of_fold.take(np.flatnonzero(np.isin(np.flatnonzero(texts.folds == fold), sample.labelled)))
        for fold, of_fold in enumerate(held_out)
    ]
    by_head = []
    scores = model.scores(words, counted, range(N_FOLDS + 1))
    for head, rate in enumerate(model.repeat_rates):
        unlabelled = predict_spans(model, words, scores[head], head)
        by_head.append([add_repeats(model, unlabelled, repeated_spans(model, words, counted, rate)), *labelled])
    return by_head


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


def _calibration(model: Model, texts: LabelledTexts, held_out: Sequence[PredictedSpans], head: int) -> dict[str, float]:
    """For each label, the number of right spans for each one that the held-out probabilities promise, in the texts that
    a head was fitted on. That of one label has that of all labels as its prior, with the weight of `CALIBRATION_SPANS`
    spans. Tied spans do not count. held_out: of each fold"""
    right, promised = dict.fromkeys(model.labels, 0.0), dict.fromkeys(model.labels, 0.0)
    for fold, predicted in enumerate(held_out):
        if fold == head:
            continue
        targets = texts.targets[texts.folds == fold]
        for candidates, (spans, is_partial) in zip(predicted.candidates, targets, strict=True):
            shares = {span[:3]: span[3] for span in spans}
            for start, end, label, p in candidates if not is_partial else ():
                share = shares.get((start, end, label), 0.0)
                if share != TIE:
                    right[label] += share > TIE
                    promised[label] += p
    of_all = (sum(right.values()) + CALIBRATION_SPANS) / (sum(promised.values()) + CALIBRATION_SPANS)
    return {
        label: (right[label] + CALIBRATION_SPANS * of_all) / (promised[label] + CALIBRATION_SPANS)
        for label in model.labels
    }
