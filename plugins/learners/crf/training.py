"""Fits the heads of a model on labelled texts, from nothing or from the heads of the serving model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from plugins.learners.crf.features import Features
from plugins.learners.crf.fit import TaggedWords, blank_field, fit
from plugins.learners.crf.gazetteer import CountedWords, Gazetteer, count_texts, joined
from plugins.learners.crf.lbfgs import Limits
from plugins.learners.crf.model import ALL_TEXTS, N_FOLDS, Model, gazetteer_features
from plugins.learners.crf.occurrences import WordSpan
from plugins.learners.crf.places import sort_by_place
from plugins.learners.crf.prior import converted_fields, places_of
from plugins.learners.crf.tags import Layers, allowed_tags, spans_of_words
from plugins.learners.crf.word_features import WordFeatures
from plugins.learners.crf.word_table import WordTable, content_numbers

COLD_LIMITS, WARM_LIMITS = Limits(22, 1e-5), Limits(5, 3e-3)
"""Of a fit that starts from nothing, and from the serving model. A refit with one more text ends after 3 or 4
evaluations, one with many more texts goes on."""
COLD_GROWTH = 2.0
"""The fit starts from nothing when the number of words has grown by this factor since it last did."""
MAX_FITTED_TEXTS = 2000
"""Labelled texts that the fields are fitted on. The gazetteer counts all of them."""


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """The n texts that a model is fitted on: their words, targets and weights (n,), and the numbers (n,) of their
    contents, see `content_numbers`. `is_counted` (n,): the texts whose words the gazetteer counts; None for all"""

    table: WordTable
    targets: Rows
    weights: Floats
    numbers: Ints
    is_counted: Mask | None = None

    @classmethod
    def of(cls, table: WordTable, targets: Rows, weights: Floats, is_counted: Mask | None = None) -> LabelledTexts:
        """The texts with these words."""
        return cls(table, targets, weights, content_numbers(table), is_counted)

    @property
    def folds(self) -> Ints:
        """(n,) the fold of each text. Copies are in the same one."""
        return self.numbers % N_FOLDS


def tagged_words(texts: LabelledTexts, allowed: Mask, rows: Ints) -> TaggedWords:
    """The words of some of the texts (m,), ascending. allowed: (w, k) the tags of all words that the labels allow"""
    table = texts.table
    places = sort_by_place(table.lengths[rows])
    words = np.flatnonzero(np.isin(table.texts, rows))[places.order]
    return TaggedWords(places, words, allowed[words], texts.weights[rows][places.texts])


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model with what it has read of the n labelled texts: their spans (n,) in words, see `spans_of_words`; their
    words with the counts of all texts but a text itself and its copies; and the features of the words with these
    counts."""

    model: Model
    spans: Sequence[Sequence[WordSpan]]
    counted: CountedWords
    features: Features


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
    gazetteer = _count(texts, len(labels), spans)
    if prior:
        gazetteer = joined(gazetteer, prior.gazetteer, places_of(labels, prior.labels))
    start = _start(serving, layers, table)
    if start is None:
        of_words = prior.of_words if prior else WordFeatures.of([table] if sample is None else [table, sample])
        model = Model(
            layers, of_words, gazetteer, (), np.ones((len(heads), len(labels))), len(table.starts), units=table.units
        )
    else:
        model = replace(start, gazetteer=gazetteer, fields=())
    counted, priors = model.read(table, leaves_out_copies=True), converted_fields(prior, layers) if prior else None
    features = model.features(table, counted)
    of_heads = [
        features
        if head == ALL_TEXTS
        else Features(features.dense, gazetteer_features(without_fold(counted, texts, spans, head)))
        for head in heads
    ]
    (fitted, of_fitted), fields = _fitted_texts(texts, of_heads), []
    for number, layer in enumerate(layers):
        allowed = allowed_tags(fitted.targets, fitted.table, layer)
        words = [tagged_words(fitted, allowed, np.flatnonzero(fitted.folds != head)) for head in heads]
        prior_field = priors[number] if priors else None
        starts = (
            [start.fields[head][number] for head in heads]
            if start
            else [prior_field or blank_field(of_head, features.size) for of_head in words]
        )
        limits = WARM_LIMITS if start else COLD_LIMITS
        fields.append(fit(of_fitted, words, starts, limits, prior_field))
    by_head = [[*of_head] for of_head in zip(*fields, strict=True)] or [[] for _ in heads]
    return FittedModel(replace(model, fields=by_head), spans, counted, features)


def without_fold(
    counted: CountedWords, texts: LabelledTexts, spans: Sequence[Sequence[WordSpan]], fold: int
) -> CountedWords:
    """The words of labelled texts with counts that lack the labels of a fold. spans: (n,) of the texts"""
    is_left_out = texts.folds == fold
    rows = np.flatnonzero(is_left_out if texts.is_counted is None else is_left_out & texts.is_counted)
    return counted.without(rows, [spans[row] for row in rows])


def _count(texts: LabelledTexts, types: int, spans: Sequence[Sequence[WordSpan]]) -> Gazetteer:
    """The counts of the texts that are counted. spans: (n,) of the texts"""
    table, numbers = texts.table, texts.numbers
    if texts.is_counted is not None:
        rows = np.flatnonzero(texts.is_counted)
        (table, _), spans, numbers = table.take(rows), [spans[row] for row in rows], numbers[rows]
    return count_texts(types, table.words, table.lengths, spans, numbers)


def _start(serving: Model | None, layers: Layers, table: WordTable) -> Model | None:
    """The serving model, if a fit can start from it; else None."""
    if serving is None or serving.layers != layers or not serving.reads_like(table):
        return None
    return serving if len(table.starts) < COLD_GROWTH * serving.cold_words else None


def _fitted_texts(texts: LabelledTexts, features: Sequence[Features]) -> tuple[LabelledTexts, Sequence[Features]]:
    """The texts that the fields are fitted on, and the features of their words for each head: all, or of very many
    texts the first by a number that depends on the text alone."""
    if len(texts.targets) <= MAX_FITTED_TEXTS:
        return texts, features
    # the folds are the remainders of the same number
    rows = np.sort(np.argsort(texts.numbers // N_FOLDS, kind="stable")[:MAX_FITTED_TEXTS])
    table, words = texts.table.take(rows)
    fitted = LabelledTexts(table, texts.targets[rows], texts.weights[rows], texts.numbers[rows])
    dense = features[0].dense[words]
    return fitted, [Features(dense, of_head.sparse[words]) for of_head in features]
