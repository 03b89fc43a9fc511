"""Fits the heads of a model on labelled texts, from nothing or from the heads of the serving model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from ml_backend.core.types import DraftRule
from plugins.learners.crf.chain import Doubles, sort_by_place
from plugins.learners.crf.decoding import Candidate, best_threshold, precision_threshold
from plugins.learners.crf.fit import Field, TaggedWords, blank_field, fit
from plugins.learners.crf.gazetteer import WordSpan, count_texts
from plugins.learners.crf.model import ALL_TEXTS, N_FOLDS, Model, PredictedText
from plugins.learners.crf.repeats import add_repeats, repeat_rate, repeated_spans
from plugins.learners.crf.tags import TIE, allowed_tags, blank_chain, find_layers, spans_of_words
from plugins.learners.crf.word_shapes import word_shapes
from plugins.learners.crf.word_table import WordTable

COLD_ITERATIONS, WARM_ITERATIONS = 60, 5
"""Iterations of a fit that starts from nothing, and from the serving model."""
COLD_GROWTH = 2.0
"""The fit starts from nothing when the number of words has grown by this factor since it last did."""
CALIBRATION_SPANS = 20.0
MAX_FITTED_TEXTS = 2000
"""Labelled texts that the fields are fitted on. The gazetteer counts all of them."""


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """The n texts that a model is fitted on: their words, targets and weights (n,), and the fold of each text (n,)."""

    table: WordTable
    targets: Rows
    weights: Floats
    folds: Ints


def folds_of(texts: Sequence[str]) -> Ints:
    """(n,) the fold of each text, which depends on the text alone."""
    return np.array([crc32(text.encode("utf-8", "surrogatepass")) % N_FOLDS for text in texts], np.int64)


def fit_model(
    texts: LabelledTexts, labels: Sequence[str], serving: Model | None, sample: WordTable | None, rule: DraftRule
) -> tuple[Model, list[PredictedText]]:
    """The model, and what it says of each text (n,) by the head that was not fitted on the text. A text's own labels
    are no part of its features.

    labels   of the control
    serving  the serving model, None if there is none
    sample   a random sample of the texts without a label, by which words are standardised and drafts are chosen
    """
    table, layers = texts.table, find_layers(texts.targets, labels)
    all_labels = [label for layer in layers for label in layer]
    spans = spans_of_words(texts.targets, table, all_labels)
    counted = count_texts(len(all_labels), table.words, table.lengths, spans)
    start = _start(serving, layers, table)
    if start is None:
        mean, scale = _standardisation([table] if sample is None else [table, sample])
        model = Model(layers, mean, scale, counted, (), np.zeros((0, 0)), len(table.starts))
    else:
        model = replace(start, gazetteer=counted, fields=())
    model = replace(model, repeat_rate=repeat_rate(counted, table, spans) if rule.repeats else 0.0)
    features = model.features(table, spans)
    allowed = [allowed_tags(texts.targets, table, layer) for layer in layers]
    is_fitted = _fitted_texts(texts)
    fields = [
        _fit_fields(texts, features, allowed, is_fitted & (texts.folds != head), start.fields[head] if start else None)
        for head in range(N_FOLDS + 1)
    ]
    model = replace(model, fields=fields)
    held_out = predict_held_out(model, texts, features, spans)
    return replace(model, thresholds=_thresholds(model, texts, held_out, sample, rule)), held_out


def _start(serving: Model | None, layers: list[list[str]], table: WordTable) -> Model | None:
    """The serving model, if a fit can start from it; else None."""
    if serving is None or serving.layers != layers or serving.vector_size != table.vectors.shape[1]:
        return None
    return serving if len(table.starts) < COLD_GROWTH * serving.cold_words else None


def _standardisation(tables: Sequence[WordTable]) -> tuple[Floats, Floats]:
    """(d,) the mean and (d,) the standard deviation of the vectors and shapes of words."""
    parts = [np.hstack([table.vectors, word_shapes(table.shapes, table.lengths)]) for table in tables]
    values = np.concatenate(parts)
    if not len(values):
        return np.zeros(values.shape[1], np.float32), np.ones(values.shape[1], np.float32)
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)


def _fitted_texts(texts: LabelledTexts) -> Mask:
    """(n,) the texts that the fields are fitted on: all, or of very many the first by a number that depends on the text
    alone."""
    n = len(texts.targets)
    if n <= MAX_FITTED_TEXTS:
        return np.ones(n, np.bool_)
    is_fitted = np.zeros(n, np.bool_)
    is_fitted[np.random.default_rng(0).permutation(n)[:MAX_FITTED_TEXTS]] = True
    return is_fitted


def _fit_fields(
    texts: LabelledTexts, features: Floats, allowed: Sequence[Mask], is_fitted: Mask, start: Sequence[Field] | None
) -> list[Field]:
    """The field of each layer, fitted on some of the texts. allowed: the tags of each word (w, k), by layer"""
    table = texts.table
    rows = np.flatnonzero(is_fitted)
    places = sort_by_place(table.lengths[rows])
    words = np.flatnonzero(is_fitted[table.texts])[places.order]
    x, weights = features[words], texts.weights[rows][places.texts]
    fields = []
    for layer, of_layer in enumerate(allowed):
        first = start[layer] if start else blank_field(x.shape[1], blank_chain((of_layer.shape[1] - 1) // 2))
        iterations = COLD_ITERATIONS if start is None else WARM_ITERATIONS
        fields.append(fit(TaggedWords(places, x, of_layer[words], weights), first, iterations))
    return fields


def predict_held_out(
    model: Model, texts: LabelledTexts, features: Floats, left_out: Sequence[Sequence[WordSpan]]
) -> list[PredictedText]:
    """(n,) what the head of its fold says of each text.

    features  (w, d) of the words, without the texts' own labels
    left_out  the spans of each text that the model has counted
    """
    predicted: list[PredictedText | None] = [None] * len(texts.targets)
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(texts.folds == fold)
        for row, text in zip(rows.tolist(), model.predict_rows(texts.table, features, rows, fold), strict=True):
            predicted[row] = text
    known = [text for text in predicted if text is not None]
    return add_repeats(model, known, repeated_spans(model, texts.table, left_out))


def _thresholds(
    model: Model, texts: LabelledTexts, held_out: Sequence[PredictedText], sample: WordTable | None, rule: DraftRule
) -> Doubles:
    """(h, m) the threshold of each head for each type, for the sample of texts without a label; without a sample, for
    the labelled texts that the head was not fitted on."""
    factors = _calibration(model, texts, held_out) if rule.precision else {}
    features = None if sample is None else model.features(sample)
    repeated = [] if sample is None else repeated_spans(model, sample)
    thresholds = []
    for head in range(N_FOLDS + 1):
        if sample is not None and features is not None:
            predicted = add_repeats(model, model.predict(sample, features, head), repeated)
        else:
            predicted = [held_out[row] for row in np.flatnonzero((texts.folds == head) | (head == ALL_TEXTS))]
        candidates = [candidate for text in predicted for candidate in text.candidates]
        best = best_threshold([p for *_, p in candidates], sum(text.expected_spans for text in predicted))
        of_labels = [best] * len(model.labels)
        if rule.precision:
            of_labels = [max(best, _precise(candidates, label, factors, rule.precision)) for label in model.labels]
        thresholds.append(of_labels)
    return np.array(thresholds, np.float64).reshape(N_FOLDS + 1, len(model.labels))


def _precise(candidates: Sequence[Candidate], label: str, factors: Mapping[str, float], precision: float) -> float:
    """The threshold from which spans of a label are right often enough, by their measured precision."""
    probabilities = [min(p * factors[label], 1.0) for *_, of_label, p in candidates if of_label == label]
    return precision_threshold(probabilities, precision) / factors[label]


def _calibration(model: Model, texts: LabelledTexts, held_out: Sequence[PredictedText]) -> dict[str, float]:
    """For each label, the number of right spans for each one that the held-out probabilities promise. That of one label
    has that of all labels as its prior, with the weight of `CALIBRATION_SPANS` spans."""
    right, promised = dict.fromkeys(model.labels, 0.0), dict.fromkeys(model.labels, 0.0)
    for text, (spans, is_partial) in zip(held_out, texts.targets, strict=True):
        annotated = {span[:3] for span in spans if span[3] > TIE}
        for start, end, label, p in text.candidates if not is_partial else ():
            right[label] += (start, end, label) in annotated
            promised[label] += p
    of_all = (sum(right.values()) + CALIBRATION_SPANS) / (sum(promised.values()) + CALIBRATION_SPANS)
    return {
        label: (right[label] + CALIBRATION_SPANS * of_all) / (promised[label] + CALIBRATION_SPANS)
        for label in model.labels
    }
