"""Predicts the spans of texts with their probabilities, and how certain the tags are, by a head of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from plugins.learners.crf.chain import Doubles, Sums, first_tags, sum_over_paths
from plugins.learners.crf.decoding import Candidate
from plugins.learners.crf.fit import Field
from plugins.learners.crf.marginals import best_log_probabilities, span_marginals
from plugins.learners.crf.model import Model
from plugins.learners.crf.places import Places, sort_by_place
from plugins.learners.crf.word_table import WordTable

MIN_PROBABILITY = 0.01
"""Probability below which a span is no candidate."""


@dataclass(frozen=True, slots=True)
class PredictedSpans:
    """The predicted spans of n texts.

    candidates      (n,) the spans of each text with at least MIN_PROBABILITY, without those that overlap a more
                    probable one of their layer
    expected_spans  (n,) the sum of the probabilities of all spans
    """

    candidates: Sequence[Sequence[Candidate]]
    expected_spans: Doubles

    def take(self, rows: Ints) -> PredictedSpans:
        """The predictions for these texts alone."""
        return PredictedSpans([self.candidates[row] for row in rows], self.expected_spans[rows])


@dataclass(frozen=True, slots=True)
class PredictedTags:
    """How certain the predicted tags of n texts are.

    entropies          (n,) the sums of the entropies of the words' tags, in nats
    log_probabilities  (n,) of the most probable tags
    """

    entropies: Doubles
    log_probabilities: Doubles


@dataclass(frozen=True, slots=True)
class ScoredLayer:
    """A layer of a head for some texts: its field, the scores (w, k) of the tags of the words in the order of their
    places, and the sums that follow from them."""

    labels: Sequence[str]
    field: Field
    scores: Floats
    sums: Sums


def predict_spans(model: Model, table: WordTable, scores: Sequence[Floats], head: int) -> PredictedSpans:
    """The spans that a head predicts for n texts. scores: for each layer (w, k) of the tags of the words"""
    return _spans(table, *_score(model, table, scores, head))


def predict(
    model: Model, table: WordTable, scores: Sequence[Floats], head: int
) -> tuple[PredictedSpans, PredictedTags]:
    """The spans and tags that a head predicts for n texts. scores: as in `predict_spans`"""
    places, layers = _score(model, table, scores, head)
    return _spans(table, places, layers), _tags(len(table.lengths), places, layers)


def _score(model: Model, table: WordTable, scores: Sequence[Floats], head: int) -> tuple[Places, list[ScoredLayer]]:
    places, layers = sort_by_place(table.lengths), []
    for labels, field, of_words in zip(model.layers, model.fields[head], scores, strict=True):
        in_order = of_words[places.order]
        layers.append(ScoredLayer(labels, field, in_order, sum_over_paths(in_order, places, field.chain)))
    return places, layers


def _spans(table: WordTable, places: Places, layers: Sequence[ScoredLayer]) -> PredictedSpans:
    n = len(table.lengths)
    candidates: list[list[Candidate]] = [[] for _ in range(n)]
    expected = np.zeros(n)
    for layer in layers:
        begins = layer.sums.tag_marginals[:, first_tags(len(layer.labels))].sum(axis=1)
        expected += np.bincount(places.texts, begins, n)
        spans = span_marginals(layer.sums, layer.field.chain, MIN_PROBABILITY)
        first, last = places.order[spans.first], places.order[spans.last]
        starts, ends = table.starts[first], table.ends[last]
        probabilities = np.round(spans.probabilities.astype(np.float64), 4)
        # the order of `without_overlaps`, for all texts at once
        by_label = np.argsort(np.argsort(layer.labels))[spans.types]
        in_order = np.lexsort((by_label, ends, starts, -probabilities))
        columns = (places.texts[spans.first], first, last, starts, ends, spans.types, probabilities)
        is_taken = bytearray(len(table.starts))
        for text, begin, end, *span, kind, p in zip(*(column[in_order].tolist() for column in columns), strict=True):
            if is_taken.find(1, begin, end + 1) < 0:
                is_taken[begin : end + 1] = bytes([1]) * (end + 1 - begin)
                candidates[text].append((*span, layer.labels[kind], p))
    return PredictedSpans(candidates, expected)


def _tags(n: int, places: Places, layers: Sequence[ScoredLayer]) -> PredictedTags:
    entropies, log_probabilities = np.zeros((2, n))
    by_length = places.texts[: places.n_texts]
    for layer in layers:
        marginals = layer.sums.tag_marginals
        of_words = -(marginals * np.log(np.maximum(marginals, np.finfo(marginals.dtype).tiny))).sum(axis=1)
        entropies += np.bincount(places.texts, of_words, n)
        log_probabilities[by_length] += best_log_probabilities(layer.scores, layer.sums, layer.field.chain)
    return PredictedTags(entropies, log_probabilities)
