"""Fits the heads of a model on labelled texts, from nothing or from the heads of the serving model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from plugins.learners.crf.fit import Field, TaggedWords, blank_field, fit
from plugins.learners.crf.gazetteer import count_texts, joined
from plugins.learners.crf.model import N_FOLDS, Model
from plugins.learners.crf.places import sort_by_place
from plugins.learners.crf.prior import converted_fields, places_of
from plugins.learners.crf.tags import Layers, allowed_tags, spans_of_words
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
    """The n texts that a model is fitted on: their words, targets and weights (n,), and a number of each text (n,) that
    depends on the text alone."""

    table: WordTable
    targets: Rows
    weights: Floats
    hashes: Ints

    @property
    def folds(self) -> Ints:
        """(n,) the fold of each text."""
        return self.hashes % N_FOLDS


def hashes_of(texts: Sequence[str]) -> Ints:
    """(n,) a number of each text."""
    return np.array([crc32(text.encode("utf-8", "surrogatepass")) for text in texts], np.int64)


@dataclass(frozen=True, slots=True)
class AllowedWords:
    """The words of labelled texts with their features (w, d) and, for each layer, the tags (w, k) that the labels
    allow."""

    texts: LabelledTexts
    features: Floats
    allowed: Sequence[Mask]

    def of_texts(self, rows: Ints) -> list[TaggedWords]:
        """For each layer, the words of some of the texts (m,), ascending."""
        table = self.texts.table
        places = sort_by_place(table.lengths[rows])
        words = np.flatnonzero(np.isin(table.texts, rows))[places.order]
        features, weights = self.features[words], self.texts.weights[rows][places.texts]
        return [TaggedWords(places, features, of_layer[words], weights) for of_layer in self.allowed]


def allowed_words(texts: LabelledTexts, features: Floats, layers: Layers) -> AllowedWords:
    """The words of labelled texts with the tags of these layers."""
    return AllowedWords(texts, features, [allowed_tags(texts.targets, texts.table, layer) for layer in layers])


def fit_model(
    texts: LabelledTexts,
    layers: Layers,
    serving: Model | None = None,
    sample: WordTable | None = None,
    prior: Model | None = None,
    heads: Sequence[int] = range(N_FOLDS + 1),
) -> tuple[Model, Floats]:
    """The model without thresholds, and the features (w, d) of the words of the texts. A text's own labels are no part
    of its features.

    layers   the labels of each layer
    serving  the serving model if it is drawn to the same prior, else None
    sample   a random sample of the texts without a label, by which words are standardised
    prior    a model with one head, to which all heads are drawn; its words are standardised alike
    heads    those that are fitted: of a fold, or ALL_TEXTS
    """
    table = texts.table
    labels = [label for layer in layers for label in layer]
    spans = spans_of_words(texts.targets, table, labels)
    counted = count_texts(len(labels), table.words, table.lengths, spans)
    if prior:
        counted = joined(counted, prior.gazetteer, places_of(labels, prior.labels))
    start = _start(serving, layers, table)
    if start is None:
        of_words = prior.of_words if prior else WordFeatures.of([table] if sample is None else [table, sample])
        model = Model(layers, of_words, counted, (), np.ones((len(heads), len(labels))), len(table.starts))
    else:
        model = replace(start, gazetteer=counted, fields=())
    features, priors = model.features(table, spans), converted_fields(prior, layers) if prior else None
    words, is_fitted = allowed_words(texts, features, layers), _fitted_texts(texts)
    fields = [
        _fit_fields(words, is_fitted & (texts.folds != head), start.fields[head] if start else None, priors)
        for head in heads
    ]
    return replace(model, fields=fields), features


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
    is_fitted[np.argsort(texts.hashes // N_FOLDS, kind="stable")[:MAX_FITTED_TEXTS]] = True
    return is_fitted


def _fit_fields(
    words: AllowedWords, is_fitted: Mask, start: Sequence[Field] | None, priors: Sequence[Field] | None
) -> list[Field]:
    """The field of each layer, fitted on some of the texts, from `start` or from its prior."""
    iterations, fields = COLD_ITERATIONS if start is None else WARM_ITERATIONS, []
    for layer, tagged in enumerate(words.of_texts(np.flatnonzero(is_fitted))):
        prior = priors[layer] if priors else None
        first = start[layer] if start else prior or blank_field(tagged)
        fields.append(fit(tagged, first, iterations, prior))
    return fields
