"""The encoder of the tasks of a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ml_backend.core import registry
from ml_backend.core.arrays import Attributions
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Remark, read_record
from ml_backend.label_studio.export import Export, read_text
from ml_backend.pool import feature_space
from ml_backend.simulation.config import SimulationConfig
from ml_backend.teacher.descriptions import feature_scores


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
