"""Fits the heads of a model on labelled texts, from nothing or from the heads of the serving model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from plugins.learners.crf.fit import Field, TaggedWords, blank_field, fit
from plugins.learners.crf.gazetteer import CountedWords, count_texts, joined
from plugins.learners.crf.model import ALL_TEXTS, N_FOLDS, Model, gazetteer_features
from plugins.learners.crf.occurrences import WordSpan
from plugins.learners.crf.places import sort_by_place
from plugins.learners.crf.prior import converted_fields, places_of
from plugins.learners.crf.tags import Layers, allowed_tags, spans_of_words
from plugins.learners.crf.word_features import WordFeatures
from plugins.learners.crf.word_table import WordTable, content_numbers

COLD_ITERATIONS, WARM_ITERATIONS = 20, 3
"""Iterations of a fit that starts from nothing, and from the serving model."""
COLD_GROWTH = 2.0
"""The fit starts from nothing when the number of words has grown by this factor since it last did."""
MAX_FITTED_TEXTS = 2000
"""Labelled texts that the fields are fitted on. The gazetteer counts all of them."""


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """The n texts that a model is fitted on: their words, targets and weights (n,), and the numbers (n,) of their
    contents, see `content_numbers`."""

    table: WordTable
    targets: Rows
    weights: Floats
    numbers: Ints

    @classmethod
    def of(cls, table: WordTable, targets: Rows, weights: Floats) -> LabelledTexts:
        """The texts with these words."""
        return cls(table, targets, weights, content_numbers(table))

    @property
    def folds(self) -> Ints:
        """(n,) the fold of each text. Copies are in the same one."""
        return self.numbers % N_FOLDS


@dataclass(frozen=True, slots=True)
class AllowedWords:
    """The words of labelled texts with their features (w, d) and, for each layer, the tags (w, k) that the labels
    allow."""

    texts: LabelledTexts
    features: Floats
    allowed: Sequence[Mask]

    def of_texts(self, rows: Ints, counts: Floats | None = None) -> list[TaggedWords]:
        """For each layer, the words of some of the texts (m,), ascending. counts: features (w, 4 m + 1) that replace
        those of the gazetteer"""
        table = self.texts.table
        places = sort_by_place(table.lengths[rows])
        words = np.flatnonzero(np.isin(table.texts, rows))[places.order]
        features, weights = self.features[words], self.texts.weights[rows][places.texts]
        if counts is not None:
            features[:, -counts.shape[1] :] = counts[words]
        return [TaggedWords(places, features, of_layer[words], weights) for of_layer in self.allowed]


def allowed_words(texts: LabelledTexts, features: Floats, layers: Layers) -> AllowedWords:
    """The words of labelled texts with the tags of these layers."""
    return AllowedWords(texts, features, [allowed_tags(texts.targets, texts.table, layer) for layer in layers])


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model with what it has read of the n labelled texts: their spans (n,) in words, see `spans_of_words`; their
    words with the counts of all texts but a text itself and its copies; and the features (w, d) of the words with these
    counts."""

    model: Model
    spans: Sequence[Sequence[WordSpan]]
    counted: CountedWords
    features: Floats


def fit_model(
    texts: LabelledTexts,
    layers: Layers,
    serving: Model | None = None,
    sample: WordTable | None = None,
    prior: Model | None = None,
    heads: Sequence[int] = range(N_FOLDS + 1),
) -> FittedModel:
    """The model without thresholds. The labels of a fold are no part of the features that its head is fitted on.

    layers   the labels of each layer
    serving  the serving model if it is drawn to the same prior, else None
    sample   a random sample of the texts without a label, by which words are standardised
    prior    a model with one head, to which all heads are drawn; its words are standardised alike
    heads    those that are fitted: of a fold, or ALL_TEXTS
    """
    table = texts.table
    labels = [label for layer in layers for label in layer]
    spans = spans_of_words(texts.targets, table, labels)
    gazetteer = count_texts(len(labels), table.words, table.lengths, spans, texts.numbers)
    if prior:
        gazetteer = joined(gazetteer, prior.gazetteer, places_of(labels, prior.labels))
    start = _start(serving, layers, table)
    if start is None:
        of_words = prior.of_words if prior else WordFeatures.of([table] if sample is None else [table, sample])
        model = Model(layers, of_words, gazetteer, (), np.ones((len(heads), len(labels))), len(table.starts))
    else:
        model = replace(start, gazetteer=gazetteer, fields=())
    counted, priors = model.read(table, leaves_out_copies=True), converted_fields(prior, layers) if prior else None
    features = model.features(table, counted)
    words, is_fitted = allowed_words(texts, features, layers), _fitted_texts(texts)
    fields = []
    for head in heads:
        of_head = None if head == ALL_TEXTS else gazetteer_features(without_fold(counted, texts, spans, head))
        tagged = words.of_texts(np.flatnonzero(is_fitted & (texts.folds != head)), of_head)
        fields.append(_fit_fields(tagged, start.fields[head] if start else None, priors))
    return FittedModel(replace(model, fields=fields), spans, counted, features)


def without_fold(
    counted: CountedWords, texts: LabelledTexts, spans: Sequence[Sequence[WordSpan]], fold: int
) -> CountedWords:
    """The words of labelled texts with counts that lack the labels of a fold. spans: (n,) of the texts"""
    rows = np.flatnonzero(texts.folds == fold)
    return counted.without(rows, [spans[row] for row in rows])


def _start(serving: Model | None, layers: Layers, table: WordTable) -> Model | None:
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
    # the folds are the remainders of the same number
    is_fitted[np.argsort(texts.numbers // N_FOLDS, kind="stable")[:MAX_FITTED_TEXTS]] = True
    return is_fitted


def _fit_fields(
    words: Sequence[TaggedWords], start: Sequence[Field] | None, priors: Sequence[Field] | None
) -> list[Field]:
    """The field of each layer, fitted on its words, from `start` or from its prior."""
    iterations, fields = COLD_ITERATIONS if start is None else WARM_ITERATIONS, []
    for layer, tagged in enumerate(words):
        prior = priors[layer] if priors else None
        first = start[layer] if start else prior or blank_field(tagged)
        fields.append(fit(tagged, first, iterations, prior))
    return fields
