"""A fitted model: what it reads of words, and the fields of its layers.

A model has several heads: for each fold of the labelled texts a field that was not fitted on it, by which the texts of
the fold are judged, and one that was fitted on all texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.arrays import Floats, Tensors
from plugins.learners.crf import gazetteer_tensors
from plugins.learners.crf.chain import Chain, Doubles
from plugins.learners.crf.features import Features, as_sparse
from plugins.learners.crf.fit import Field
from plugins.learners.crf.gazetteer import CountedWords, Gazetteer
from plugins.learners.crf.tags import Layers
from plugins.learners.crf.units import Units
from plugins.learners.crf.word_features import WordFeatures
from plugins.learners.crf.word_table import WordTable, content_numbers

if TYPE_CHECKING:
    from scipy.sparse import csr_array

N_FOLDS = 3
ALL_TEXTS = N_FOLDS
"""The head that was fitted on all texts."""
GAZETTEER_SCALE = 6.0
"""Factor of the features of the gazetteer, which are shares, against features with a variance of 1."""
HEADER, THRESHOLDS = "header", "thresholds"
MEAN, SCALE, COMPONENTS = "mean", "scale", "components"
"""Names of tensors."""


@dataclass(frozen=True, slots=True)
class PriorChoice:
    """Which prior a fit starts from.

    name    of the prior, "" for none
    errors  the held-out error of each prior, as in `Fit.prior_errors`
    digest  identifies the priors that there were
    words   number of labelled words when the prior was chosen
    """

    name: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""
    words: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """The fields of all heads.

    layers      the types of each layer
    of_words    the features of words apart from the gazetteer's
    gazetteer   the counts of all labelled texts; its types are those of all layers
    fields      for each head the field of each layer
    thresholds  (h, m) the probability from which each head drafts a span of each type
    cold_words  number of words of the last fit that started from nothing
    choice      the prior that the fields are drawn to
    repeat_rates (h,) of each head, see `repeats`; 0 if spans are not drafted for being repeated
    units       that texts are cut into
    """

    layers: Layers
    of_words: WordFeatures
    gazetteer: Gazetteer
    fields: Sequence[Sequence[Field]]
    thresholds: Doubles
    cold_words: int
    choice: PriorChoice = PriorChoice()
    repeat_rates: Sequence[float] = (0.0,) * (N_FOLDS + 1)
    units: Units = Units.WORDS

    @property
    def labels(self) -> list[str]:
        """The labels of all layers, in the order of the gazetteer's types."""
        return [label for layer in self.layers for label in layer]

    def reads_like(self, table: WordTable) -> bool:
        """Whether the model was fitted on words of the same encoder and on the same units as those of the table."""
        return self.units == table.units and self.of_words.vector_size == table.vectors.shape[1]

    def read(self, table: WordTable, *, leaves_out_copies: bool = False) -> CountedWords:
        """The words of n texts with their counts, perhaps without those of the texts with the same words."""
        left_out = content_numbers(table) if leaves_out_copies else None
        return self.gazetteer.read(table.words, table.lengths, left_out)

    def features(self, table: WordTable, counted: CountedWords) -> Features:
        """The features of words with their counts."""
        return Features(self.of_words(table), gazetteer_features(counted))

    def scores(self, table: WordTable, counted: CountedWords, heads: Sequence[int]) -> list[list[Floats]]:
        """For each of some heads and each layer, the scores (w, k) of the tags of words with their counts. They follow
        from the features, which are not made."""
        phrases = gazetteer_features(counted)

        def products(weights: Floats) -> Floats:
            of_words, of_phrases = np.split(weights, [len(weights) - phrases.shape[1]])
            return np.asarray(self.of_words.scores(table, of_words) + phrases @ of_phrases)

        return self._scores(products, heads)

    def scores_of(self, features: Features, heads: Sequence[int]) -> list[list[Floats]]:
        """The scores of words whose features have been made, as in `scores`."""
        return self._scores(features.scores, heads)

    def _scores(self, products: Callable[[Floats], Floats], heads: Sequence[int]) -> list[list[Floats]]:
        """The scores, from the products of the features with the weights (d, t) of all layers of the heads."""
        fields, n_layers = [of_layer for head in heads for of_layer in self.fields[head]], len(self.layers)
        if not fields:
            return [[] for _ in heads]
        scores = products(np.hstack([of_layer.weights for of_layer in fields]))
        scores += np.concatenate([of_layer.bias for of_layer in fields])
        ends = np.cumsum([len(of_layer.bias) for of_layer in fields])[:-1].tolist()
        by_layer = np.split(scores, ends, axis=1)
        return [by_layer[first : first + n_layers] for first in range(0, len(by_layer), n_layers)]


def gazetteer_features(counted: CountedWords) -> csr_array:
    """(w, 4 m + 1) the features that follow from the counts of words: the last ones of `Model.features`."""
    return as_sparse(np.asarray(GAZETTEER_SCALE * counted.features(), np.float32))


def pack(model: Model) -> Tensors:
    """The model as tensors."""
    header = {
        "layers": model.layers, "cold_words": model.cold_words, "choice": asdict(model.choice),
        "repeat_rates": [*model.repeat_rates], "units": model.units.value,
    }  # fmt: skip
    tensors: Tensors = {
        HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8),
        MEAN: model.of_words.mean,
        SCALE: model.of_words.scale,
        COMPONENTS: model.of_words.components,
        THRESHOLDS: model.thresholds,
        **gazetteer_tensors.to_tensors(model.gazetteer),
    }
    for head, fields in enumerate(model.fields):
        for layer, fitted in enumerate(fields):
            for name, tensor in (("weights", fitted.weights), ("bias", fitted.bias), ("steps", fitted.chain.values)):
                tensors[f"head{head}.layer{layer}.{name}"] = tensor
    return tensors


def unpack(tensors: Tensors) -> Model:
    """The inverse of `pack`."""
    header = json.loads(bytes(tensors[HEADER]))
    layers = header["layers"]
    return Model(
        layers=layers,
        of_words=WordFeatures(*(np.asarray(tensors[name], np.float32) for name in (MEAN, SCALE, COMPONENTS))),
        gazetteer=gazetteer_tensors.from_tensors(tensors),
        fields=[[*_read_fields(tensors, head, len(layers))] for head in range(len(tensors[THRESHOLDS]))],
        thresholds=np.asarray(tensors[THRESHOLDS], np.float64),
        cold_words=header["cold_words"],
        choice=PriorChoice(**header["choice"]),
        repeat_rates=header["repeat_rates"],
        units=Units(header.get("units", Units.WORDS)),  # older models have words
    )


def _read_fields(tensors: Tensors, head: int, n_layers: int) -> Iterator[Field]:
    for layer in range(n_layers):
        prefix = f"head{head}.layer{layer}"
        yield Field(
            np.asarray(tensors[f"{prefix}.weights"], np.float32),
            np.asarray(tensors[f"{prefix}.bias"], np.float32),
            Chain.of(np.asarray(tensors[f"{prefix}.steps"], np.float64)),
        )
