"""Fits the heads of a model on labelled texts, from nothing or from the heads of the serving model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.decoding import best_threshold
from plugins.learners.crf.fit import Field, TaggedWords, blank_field, fit
from plugins.learners.crf.gazetteer import count_texts
from plugins.learners.crf.model import N_FOLDS, Model
from plugins.learners.crf.places import sort_by_place
from plugins.learners.crf.prediction import PredictedSpans, part_of, predict_spans
from plugins.learners.crf.tags import allowed_tags, find_layers, spans_of_words
from plugins.learners.crf.word_features import WordFeatures
from plugins.learners.crf.word_table import WordTable

COLD_ITERATIONS, WARM_ITERATIONS = 20, 3
"""Iterations of a fit that starts from nothing, and from the serving model."""
COLD_GROWTH = 2.0
"""The fit starts from nothing when the number of words has grown by this factor since it last did."""
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
    texts: LabelledTexts, labels: Sequence[str], serving: Model | None, sample: WordTable | None
) -> tuple[Model, Floats]:
    """The model, and the features (w, d) of the words of the texts. A text's own labels are no part of its features.

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
        of_words = WordFeatures.of([table] if sample is None else [table, sample])
        model = Model(layers, of_words, counted, (), np.ones(N_FOLDS + 1), len(table.starts))
    else:
        model = replace(start, gazetteer=counted, fields=())
    features = model.features(table, spans)
    allowed = [allowed_tags(texts.targets, table, layer) for layer in layers]
    is_fitted = _fitted_texts(texts)
    fields = [
        _fit_fields(texts, features, allowed, is_fitted & (texts.folds != head), start.fields[head] if start else None)
        for head in range(N_FOLDS + 1)
    ]
    model = replace(model, fields=fields)
    return replace(model, thresholds=_thresholds(model, texts, features, sample)), features


def _start(serving: Model | None, layers: list[list[str]], table: WordTable) -> Model | None:
    """The serving model, if a fit can start from it; else None."""
    if serving is None or serving.layers != layers or serving.of_words.vector_size != table.vectors.shape[1]:
        return None
    return serving if len(table.starts) < COLD_GROWTH * serving.cold_words else None


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
        tagged = TaggedWords(places, x, of_layer[words], weights)
        first = start[layer] if start else blank_field(tagged)
        fields.append(fit(tagged, first, COLD_ITERATIONS if start is None else WARM_ITERATIONS))
    return fields


def _thresholds(model: Model, texts: LabelledTexts, features: Floats, sample: WordTable | None) -> Doubles:
    """(h,) the threshold of each head for the sample of texts without a label; without a sample, for the labelled texts
    that the head was not fitted on."""
    if sample is None:
        judged = [
            predict_spans(model, *part_of(texts.table, features, np.flatnonzero(texts.folds == fold)), fold)
            for fold in range(N_FOLDS)
        ]
        by_head = [*([of_fold] for of_fold in judged), judged]
    else:
        sample_features = model.features(sample)
        by_head = [[predict_spans(model, sample, sample_features, head)] for head in range(N_FOLDS + 1)]
    return np.array([_threshold(predicted) for predicted in by_head])


def _threshold(predicted: Sequence[PredictedSpans]) -> float:
    """The threshold for some texts."""
    probabilities = [p for part in predicted for text in part.candidates for *_, p in text]
    return best_threshold(probabilities, float(sum(part.expected_spans.sum() for part in predicted)))
