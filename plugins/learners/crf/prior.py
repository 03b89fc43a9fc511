"""Priors of the teacher's labels: a field to which that of the annotators' labels is drawn, and perhaps a gazetteer.

A prior is fitted on the texts that the teacher has labelled. Its gazetteer is added to that of the annotators' labels,
which helps where names occur again (measured: 2.8 points of F1 on ncbi-disease) and costs a little elsewhere (0.8
points on wnut17). So there is also a prior without words. A fit that starts from a prior standardises words as the
prior does; it may have further labels and other layers, so the weights are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from ml_backend.core.arrays import Ints, Tensors
from plugins.learners.crf.chain import OUTSIDE, Chain
from plugins.learners.crf.fit import Field
from plugins.learners.crf.gazetteer import empty_gazetteer
from plugins.learners.crf.model import Model
from plugins.learners.crf.tags import Layers

PHRASE_BLOCKS = 4
"""Blocks of the gazetteer's features with a column for each label."""


def without_words(model: Model) -> Model:
    """The model without the words of its gazetteer."""
    return replace(model, gazetteer=empty_gazetteer(len(model.labels)))


def digest(priors: Sequence[Tensors]) -> str:
    """Identifies some priors."""
    hashed = blake2b(digest_size=8)
    for tensors in priors:
        for name in sorted(tensors):
            hashed.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return hashed.hexdigest()


def converted_fields(prior: Model, layers: Layers) -> list[Field]:
    """For each layer the field of the prior's nearest layer, with the features of a model with these layers. Labels
    that the prior's layer lacks have the weights 0 and its lowest bias."""
    rows = _rows(prior, [label for layer in layers for label in layer])
    converted = []
    for layer in layers:
        labels, field = max(zip(prior.layers, *prior.fields, strict=True), key=lambda pair: len({*pair[0]} & {*layer}))
        converted.append(_with_labels(field, rows, places_of(layer, labels)))
    return converted


def places_of(labels: Sequence[str], old: Sequence[str]) -> Ints:
    """(m,) the place of each label among the old ones, -1 for none."""
    return np.array([old.index(label) if label in old else -1 for label in labels], np.int64)


def _rows(prior: Model, labels: Sequence[str]) -> Ints:
    """(d,) the row of the prior's weights for each feature of a model with these labels, -1 for none."""
    places, m = places_of(labels, prior.labels), len(prior.labels)
    columns = len(prior.fields[0][0].weights) - (PHRASE_BLOCKS * m + 1)
    blocks = [np.where(places >= 0, columns + block * m + places, -1) for block in range(PHRASE_BLOCKS)]
    return np.concatenate([np.arange(columns), *blocks, [columns + PHRASE_BLOCKS * m]])


def _with_labels(field: Field, rows: Ints, places: Ints) -> Field:
    """The field with the weights of these rows (d,) and of the types at these places (m,), some of which are -1."""
    old, m = field.chain, len(field.chain.longer)
    begins = np.where(places >= 0, 1 + places, -1)
    tags = np.concatenate([[OUTSIDE], begins, np.where(places >= 0, 1 + m + places, -1)])
    is_row, is_known, is_tag = rows >= 0, places >= 0, tags >= 0
    weights = np.zeros((len(rows), len(tags)), np.float32)
    weights[np.ix_(is_row, is_tag)] = field.weights[np.ix_(rows[is_row], tags[is_tag])]
    chain = Chain(
        longer=np.where(is_known, old.longer[places], 0.0),
        adjacent=old.adjacent,
        start=np.where(is_tag, old.start[np.minimum(tags, m)], 0.0)[: 1 + len(places)],
        end=np.where(is_tag, old.end[tags], 0.0),
    )
    return Field(weights, np.where(is_tag, field.bias[tags], field.bias.min()), chain)
