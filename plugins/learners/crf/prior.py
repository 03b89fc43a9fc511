"""A prior of the teacher's labels: a field to which that of the annotators' labels is drawn.

The prior is fitted on the texts that the teacher has labelled, and keeps no words of them: neither texts nor a
gazetteer. Its weights are those of words that are standardised, and of labels in layers; a fit that starts from it has
other scales and perhaps other layers, so the weights are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from ml_backend.core.arrays import Ints, Tensors
from plugins.learners.crf.fit import Field
from plugins.learners.crf.gazetteer import count_texts
from plugins.learners.crf.model import Model
from plugins.learners.crf.tags import OUTSIDE, blank_chain, first_tags, inside_tags

PHRASE_BLOCKS = 4
"""Blocks of the gazetteer's features with a column for each label."""


def without_words(model: Model) -> Model:
    """The model without the words of its gazetteer."""
    return replace(model, gazetteer=count_texts(len(model.labels), [], np.zeros(0, np.int64), []))


def digest(priors: Sequence[Tensors]) -> str:
    """Identifies some priors."""
    hashed = blake2b(digest_size=8)
    for tensors in priors:
        for name in sorted(tensors):
            hashed.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return hashed.hexdigest()


def converted_fields(prior: Model, model: Model) -> list[Field]:
    """For each layer of `model` the field that gives its words the scores that the prior's nearest layer does. Labels
    that this layer lacks have the weights 0 and its lowest bias. The vectors of words have the same size in both."""
    [fields] = prior.fields
    rows = _rows(prior, model)
    nearest = [max(range(len(fields)), key=lambda i: len({*prior.layers[i]} & {*layer})) for layer in model.layers]
    converted = [
        _with_tags(fields[source], rows, _tags(layer, prior.layers[source]))
        for layer, source in zip(model.layers, nearest, strict=True)
    ]
    return [_with_scale(field, prior, model) for field in converted]


def _rows(prior: Model, model: Model) -> Ints:
    """(d,) the row of the prior's weights for each feature of the model, -1 for none."""
    known, columns, m = prior.labels, len(prior.mean), len(prior.labels)
    places = [known.index(label) if label in known else None for label in model.labels]
    phrases = [
        -1 if place is None else columns + block * m + place for block in range(PHRASE_BLOCKS) for place in places
    ]
    return np.array([*range(columns), *phrases, columns + PHRASE_BLOCKS * m], np.int64)


def _tags(layer: Sequence[str], labels: Sequence[str]) -> Ints:
    """(k,) the tag in the prior's layer with these labels for each tag of a layer, -1 for none."""
    tags = np.full(1 + 2 * len(layer), -1)
    tags[OUTSIDE] = OUTSIDE
    for number, label in enumerate(layer):
        if label in labels:
            place = labels.index(label)
            for of_types in (first_tags, inside_tags):
                tags[of_types(len(layer))[number]] = of_types(len(labels))[place]
    return tags


def _with_tags(field: Field, rows: Ints, tags: Ints) -> Field:
    """The field with the weights of these rows (d,) and tags (k,), some of which are -1."""
    known, is_row = np.flatnonzero(tags >= 0), rows >= 0
    new, old = np.ix_(known, known), np.ix_(tags[known], tags[known])
    weights, bias = np.zeros((len(rows), len(tags)), np.float32), np.full(len(tags), field.bias.min())
    weights[np.ix_(is_row, known)] = field.weights[np.ix_(rows[is_row], tags[known])]
    bias[known] = field.bias[tags[known]]
    chain = blank_chain(len(tags) // 2)
    chain.transitions[new] = field.chain.transitions[old]
    chain.start[known], chain.end[known] = field.chain.start[tags[known]], field.chain.end[tags[known]]
    return Field(weights, bias, chain)


def _with_scale(field: Field, prior: Model, model: Model) -> Field:
    """The field for words that are standardised as the model does it instead of the prior."""
    columns, weights = len(prior.mean), field.weights.copy()
    bias = field.bias + ((model.mean - prior.mean) / prior.scale) @ weights[:columns]
    weights[:columns] *= (model.scale / prior.scale)[:, None]
    return Field(weights, bias.astype(np.float32), field.chain)
