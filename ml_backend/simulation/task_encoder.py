"""Encodes the tasks of a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Attributions
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder
from ml_backend.core.schema import InputSpec, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Remark, content_key, read_record
from ml_backend.core.words import count_words
from ml_backend.label_studio.export import Export, read_text
from ml_backend.pool import feature_space
from ml_backend.pool.checked_encoder import check_usable
from ml_backend.pool.encoded_texts import WordReader, encode_texts
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.simulation.config import SimulationConfig
from ml_backend.simulation.replay import LabelledPool
from ml_backend.storage.vectors import Vectors
from ml_backend.teacher.descriptions import feature_scores

ENCODED_AT_A_TIME = 512  # texts, between two calls of `progress`

Progress = Callable[[str, int, int], None]
"""Called with a description, the number that is done, and the total number."""


def open_encoder(
    settings: Settings, schema: ProjectSchema, config: SimulationConfig, tasks: Export, notify: Callable[[Remark], None]
) -> tuple[Encoder, Mapping[str, Attributions]]:
    """The encoder and, for records, the attributions of each control from the file `config.features`; none for texts.
    An encoder of records is fitted to the fields of all tasks, not to their labels."""
    if not schema.input.is_record:
        if config.features:
            raise ApprenticeError("The tasks are texts: --features is about the fields of records")
        return feature_space.text_encoder(settings, schema.input), {}
    features_text = read_text(config.features) if config.features else "{}"
    fields = feature_scores.fields_from_text(features_text)  # they override inferred field types
    field_types = feature_space.field_type_overrides(schema.input, settings.defaults, fields)
    profile = registry.profile(
        [read_record(text) for text in tasks.texts],
        field_types,
        settings.encoder,
        feature_space.question_field(schema.input),
    )
    for problem in json.loads(profile)["odd"]:
        notify(Remark(**problem))
    encoder = registry.record_encoder(profile, settings.encoder)
    estimates = {
        control.name: feature_scores.features_from_text(features_text, encoder, control).scores.get("estimates") or []
        for control in schema.controls
    }
    return encoder, {
        control.name: encoder.attributions(estimates[control.name], control.labels) for control in schema.controls
    }


def encode_tasks(
    encoder: Encoder, export: Export, input_spec: InputSpec, *, folder: Path, progress: Progress
) -> LabelledPool:
    """Encodes the tasks, with the words of their texts if the feature space has them. The vectors are cached in a part
    of the `folder`, so that a second call is quick. Raises ApprenticeError if a vector is not finite."""
    cache, keys = Vectors(folder / encoder.name), [content_key(text) for text in export.texts]
    missing = list({keys[row]: int(row) for row in np.flatnonzero(cache.find(keys) < 0)}.values())
    for start in range(0, len(missing), ENCODED_AT_A_TIME):
        rows = missing[start : start + ENCODED_AT_A_TIME]
        encoded = encode_texts(encoder, [export.texts[row] for row in rows])
        check_usable(encoded.usable, [int(export.tasks[row]) for row in rows], encoder.name)
        cache.add([keys[row] for row in rows], encoded.vectors, encoded.words)
        progress("texts encoded", start + len(rows), len(missing))
    cache = Vectors(folder / encoder.name)  # opened again to read what the next call will read
    words = WordReader(encoder, cache) if isinstance(encoder, WordSpaceEncoder) else None
    n_words = np.array([count_words(text) for text in export.texts], np.int64) if input_spec.text_field else None
    vectors = cache.read(cache.find(keys))
    return LabelledPool(vectors, export.targets, export.groups, export.texts, words, n_words)
