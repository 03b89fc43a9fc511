"""A fitted model: what it reads of words, and the fields of its layers.

A model has several heads: for each fold of the labelled texts a field that was not fitted on it, by which the texts of
the fold are judged, and one that was fitted on all texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Tensors
from plugins.learners.crf import gazetteer as gazetteers
from plugins.learners.crf.chain import Chain, Doubles, first_tags, sum_over_paths
from plugins.learners.crf.decoding import Candidate, without_overlaps
from plugins.learners.crf.fit import Field
from plugins.learners.crf.gazetteer import Gazetteer, WordSpan
from plugins.learners.crf.marginals import best_log_probabilities, span_marginals
from plugins.learners.crf.places import sort_by_place
from plugins.learners.crf.tags import Layers
from plugins.learners.crf.word_shapes import COLUMNS, word_shapes
from plugins.learners.crf.word_table import WordTable

N_FOLDS = 3
ALL_TEXTS = N_FOLDS
"""The head that was fitted on all texts."""
GAZETTEER_SCALE = 3.0
"""Factor of the features of the gazetteer, which are shares, against features with a variance of 1."""
MIN_PROBABILITY = 0.01
"""Probability below which a span is no candidate."""
HEADER, MEAN, SCALE, THRESHOLDS = "header", "mean", "scale", "thresholds"
"""Names of tensors."""


@dataclass(frozen=True, slots=True)
class PredictedText:
    """What a head says of one text.

    candidates       spans with at least MIN_PROBABILITY, without those that overlap a more probable one of their layer
    expected_spans   the sum of the probabilities of all spans
    entropy          the sum of the entropies of the words' tags, in nats
    log_probability  of the most probable tags
    words            number of words
    """

    candidates: tuple[Candidate, ...]
    expected_spans: float
    entropy: float
    log_probability: float
    words: int


@dataclass(frozen=True, slots=True)
class Model:
    """The fields of all heads.

    layers      the types of each layer
    mean, scale (d,) of the vectors and shapes of words, by which they are standardised
    gazetteer   the counts of all labelled texts; its types are those of all layers
    fields      for each head the field of each layer
    thresholds  (h,) the probability from which each head drafts a span
    cold_words  number of words of the last fit that started from nothing
    """

    layers: Layers
    mean: Floats
    scale: Floats
    gazetteer: Gazetteer
    fields: Sequence[Sequence[Field]]
    thresholds: Doubles
    cold_words: int

    @property
    def vector_size(self) -> int:
        """The length of the vectors of words."""
        return len(self.mean) - COLUMNS

    @property
    def labels(self) -> list[str]:
        """The labels of all layers, in the order of the gazetteer's types."""
        return [label for layer in self.layers for label in layer]

    def features(self, table: WordTable, left_out: Sequence[Sequence[WordSpan]] | None = None) -> Floats:
        """(w, d) the features of words. left_out: see `Gazetteer.features`"""
        vectors = table.vectors
        if vectors.shape[1] != self.vector_size:  # another encoder's vectors mean nothing here
            vectors = np.tile(self.mean[: self.vector_size], (len(table.starts), 1))
        standardised = (np.hstack([vectors, word_shapes(table.shapes, table.lengths)]) - self.mean) / self.scale
        phrases = self.gazetteer.features(table.words, table.lengths, left_out)
        return np.hstack([standardised, GAZETTEER_SCALE * phrases]).astype(np.float32)

    def predict_rows(self, table: WordTable, features: Floats, rows: Ints, head: int) -> list[PredictedText]:
        """(m,) what a head says of some of the texts."""
        part, words = table.take(rows)
        return self.predict(part, features[words], head)

    def predict(self, table: WordTable, features: Floats, head: int) -> list[PredictedText]:
        """(n,) what a head says of texts with these words and features (w, d)."""
        n = len(table.lengths)
        places = sort_by_place(table.lengths)
        candidates: list[list[Candidate]] = [[] for _ in range(n)]
        expected, entropies, log_probabilities = np.zeros((3, n))
        for labels, field in zip(self.layers, self.fields[head], strict=True):
            scores = field.scores(features)[places.order]
            sums = sum_over_paths(scores, places, field.chain)
            marginals = sums.tag_marginals
            np.add.at(expected, places.texts, marginals[:, first_tags(len(labels))].sum(axis=1))
            np.add.at(entropies, places.texts, -(marginals * np.log(np.maximum(marginals, 1e-300))).sum(axis=1))
            by_length = places.texts[: places.n_texts]
            log_probabilities[by_length] += best_log_probabilities(scores, sums, field.chain)
            spans = span_marginals(sums, field.chain, MIN_PROBABILITY)
            of_layer: dict[int, list[Candidate]] = {}
            for text, start, end, kind, p in zip(
                places.texts[spans.first].tolist(),
                table.starts[places.order[spans.first]].tolist(),
                table.ends[places.order[spans.last]].tolist(),
                spans.types.tolist(),
                spans.probabilities.tolist(),
                strict=True,
            ):
                of_layer.setdefault(text, []).append((start, end, labels[kind], round(p, 4)))
            for text, of_text in of_layer.items():
                candidates[text] += without_overlaps(of_text)
        return [
            PredictedText(tuple(c), e, h, lp, w)
            for c, e, h, lp, w in zip(
                candidates,
                expected.tolist(),
                entropies.tolist(),
                log_probabilities.tolist(),
                table.lengths.tolist(),
                strict=True,
            )
        ]


def pack(model: Model) -> Tensors:
    """The model as tensors."""
    tensors: Tensors = {
        HEADER: np.frombuffer(json.dumps({"layers": model.layers, "cold_words": model.cold_words}).encode(), np.uint8),
        MEAN: model.mean,
        SCALE: model.scale,
        THRESHOLDS: model.thresholds,
        **gazetteers.to_tensors(model.gazetteer),
    }
    for head, fields in enumerate(model.fields):
        for layer, field in enumerate(fields):
            for name, tensor in (("weights", field.weights), ("bias", field.bias), ("steps", field.chain.values)):
                tensors[f"head{head}.layer{layer}.{name}"] = tensor
    return tensors


def unpack(tensors: Tensors) -> Model:
    """The inverse of `pack`."""
    header = json.loads(bytes(tensors[HEADER]))
    layers = header["layers"]
    return Model(
        layers=layers,
        mean=np.asarray(tensors[MEAN], np.float32),
        scale=np.asarray(tensors[SCALE], np.float32),
        gazetteer=gazetteers.from_tensors(tensors),
        fields=[[*_read_fields(tensors, head, len(layers))] for head in range(N_FOLDS + 1)],
        thresholds=np.asarray(tensors[THRESHOLDS], np.float64),
        cold_words=header["cold_words"],
    )


def _read_fields(tensors: Tensors, head: int, n_layers: int) -> Iterator[Field]:
    for layer in range(n_layers):
        prefix = f"head{head}.layer{layer}"
        yield Field(
            np.asarray(tensors[f"{prefix}.weights"], np.float32),
            np.asarray(tensors[f"{prefix}.bias"], np.float32),
            Chain.of(np.asarray(tensors[f"{prefix}.steps"], np.float64)),
        )
