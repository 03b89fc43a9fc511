"""The vector space of a project: for texts that of the configured encoder, for texts that are compared one made of it,
and for records one that is fitted to the pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Ints
from ml_backend.core.exceptions import ApprenticeError, UnsupportedConfigError
from ml_backend.core.ports import Encoder, RecordEncoder, WordEncoder
from ml_backend.core.schema import InputSpec
from ml_backend.core.settings import ProjectSettings, Settings, TaskForm
from ml_backend.core.types import MAX_RECORD_FIELDS, Remark, read_record, record_field_name
from ml_backend.label_studio.label_config import read_schema
from ml_backend.pool.layer_choice import stored_choice
from ml_backend.pool.pair_encoder import PairEncoder
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import ProjectRow, Store

PROFILE_SAMPLE = 20_000  # maximum number of records that a profile is made from
REPROFILE_GROWTH = 2.0
"""A new profile is made when a pool smaller than PROFILE_SAMPLE has grown by this factor: then all records are encoded
and the learner is fitted again."""
REPLACEMENT_SAMPLE = 100  # number of records that are checked for a replacement of the whole pool
CURRENT_PROFILE, PREVIOUS_PROFILE = "profile", "before"
KIND, ORDER, DESCRIPTION = "kind", "order", "description"


def project_encoder(settings: Settings, project_row: ProjectRow) -> Encoder:
    """The current encoder of a project. For records, `has_feature_space` says whether the project has one."""
    record_encoder = project_record_encoder(settings, project_row)
    return record_encoder or _chosen_layers(text_encoder(settings, _stored_input(project_row)), project_row)


def previous_encoder(settings: Settings, project_row: ProjectRow) -> Encoder | None:
    """The encoder of the feature space before the current one: by the previous profile of records, or of words after
    the previous layers of the same encoder. None if there is none."""
    if record_encoder := project_record_encoder(settings, project_row, PREVIOUS_PROFILE):
        return record_encoder
    encoder = text_encoder(settings, _stored_input(project_row))
    return _chosen_layers(encoder, project_row, previous=True) if isinstance(encoder, WordSpaceEncoder) else None


def _chosen_layers(encoder: Encoder, project_row: ProjectRow, *, previous: bool = False) -> Encoder:
    """The encoder with the layers that were chosen for the project, or with those before the choice."""
    if not isinstance(encoder, WordSpaceEncoder) or encoder.layered is None:
        return encoder
    choice = stored_choice(project_row, encoder.text_encoder.name)
    return encoder if choice is None else replace(encoder, layers=choice.previous if previous else choice.layers)


def text_encoder(settings: Settings, input_spec: InputSpec) -> Encoder:
    """The encoder of a project of texts, of texts whose words are read, or of pairs of texts that are compared."""
    encoder = registry.encoder(settings.encoder)
    if input_spec.reads_words and isinstance(encoder, WordEncoder):
        return WordSpaceEncoder(encoder)
    return PairEncoder(encoder) if input_spec.pair else encoder


def _stored_input(project_row: ProjectRow) -> InputSpec:
    """The input of the stored labelling configuration, an empty one if the configuration is not supported."""
    try:
        return read_schema(project_row.label_config, project_row.choices).input
    except UnsupportedConfigError:
        return InputSpec()


def project_record_encoder(
    settings: Settings, project_row: ProjectRow, profile: str = CURRENT_PROFILE
) -> RecordEncoder | None:
    """The encoder of a project of records, by the current profile or, with PREVIOUS_PROFILE, by the previous profile.
    None for a project of texts or without such a profile."""
    content = (project_row.record_profile or {}).get(profile)
    return registry.record_encoder(content, settings.encoder) if content else None


def record_space_names(settings: Settings, project_row: ProjectRow) -> set[str]:
    """The names of the current and of the previous vector space of a project of records; empty for other projects."""
    return {
        encoder.name
        for name in (CURRENT_PROFILE, PREVIOUS_PROFILE)
        if (encoder := project_record_encoder(settings, project_row, name))
    }


def as_record_encoder(encoder: Encoder) -> RecordEncoder | None:
    """The encoder, if it encodes records; else None."""
    return encoder if isinstance(encoder, RecordEncoder) else None


def task_form(encoder: Encoder) -> TaskForm:
    """The form of the tasks that this encoder encodes."""
    if not isinstance(encoder, RecordEncoder):
        return "text"
    return "record with text" if encoder.texts else "record"


def has_feature_space(project_row: ProjectRow, input_spec: InputSpec) -> bool:
    """Whether the project has a vector space for its tasks. A project of records has none before its first round."""
    stored_input = _stored_input(project_row)
    has_same_space = (bool(stored_input.pair), stored_input.reads_words) == (
        bool(input_spec.pair),
        input_spec.reads_words,
    )
    return bool(project_row.record_profile) == input_spec.is_record and has_same_space


def update_space(
    store: Store, settings: Settings, project_row: ProjectRow, input_spec: InputSpec, options: ProjectSettings
) -> tuple[ProjectRow, tuple[Remark, ...]]:
    """Makes a new profile of a project of records if its tasks, its schema or its field types have changed.

    Returns the project's row, and remarks on the problems of the records. The previous vector space is kept and
    served until the next round completes. While a rollback holds a learner of any control, the project keeps the vector
    space of that learner. Raises ApprenticeError if no field tells records apart.
    """
    if not input_spec.is_record:
        if project_row.record_profile:
            store.record_profiles.forget(project_row.id)
            project_row = store.projects.ensure(project_row.id)
        return project_row, ()
    current = project_row.record_profile or {}
    field_types = field_type_overrides(input_spec, options, project_row.field_overrides)
    made_of: dict[str, Any] = {"field": input_spec.record_field, "wanted": field_types}
    if input_spec.fields:
        made_of["fields"] = [*input_spec.fields]
    n = store.tasks.count(project_row.id)
    if n and not (current and project_row.pinned):
        profiled = current.get("tasks", 0)
        has_grown = n >= REPROFILE_GROWTH * profiled and profiled < PROFILE_SAMPLE
        if not current or has_grown or current["made_of"] != made_of or _is_replaced(store, project_row, current):
            profile, problems = _make_profile(store, settings, project_row.id, input_spec, field_types)
            new = {
                CURRENT_PROFILE: profile,
                PREVIOUS_PROFILE: current.get(CURRENT_PROFILE),
                "problems": [asdict(problem) for problem in problems],
                "tasks": n,
                "made_of": made_of,
            }
            store.record_profiles.put(project_row.id, {**new, "seen": project_row.tasks_revision})
            project_row = store.projects.ensure(project_row.id)
            store.remove_vectors(project_row.id, "records-", record_space_names(settings, project_row))
        elif current["seen"] != project_row.tasks_revision:
            store.record_profiles.set_compared_revision(project_row.id, project_row.tasks_revision)
            project_row = store.projects.ensure(project_row.id)
    problems = (project_row.record_profile or {}).get("problems", [])
    return project_row, tuple(Remark(**problem) for problem in problems)


def field_descriptions(options: ProjectSettings, edited: Mapping[str, Any]) -> dict[str, str]:
    """The descriptions of fields that a user has given, by field name. `edited`: see `ProjectRow.field_overrides`"""
    texts = {name: override.get(DESCRIPTION) for name, override in _overrides(options, edited).items()}
    return {name: str(text) for name, text in texts.items() if text}


def field_type_overrides(input_spec: InputSpec, options: ProjectSettings, edited: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of inferred field types, by field name: the type, or the order of the values, that a user has given.
    The type of fields that a task has beside the record's own field is text, as is that of dialogues and lists.
    `edited`: see `ProjectRow.field_overrides`"""
    text_fields = input_spec.fields if input_spec.record_field else input_spec.structured
    field_types: dict[str, Any] = dict.fromkeys(map(record_field_name, text_fields), "text")
    for name, override in _overrides(options, edited).items():
        if field_type := override.get(ORDER) or override.get(KIND):
            field_types[name] = field_type
    return field_types


def question_field(input_spec: InputSpec) -> str:
    """The field of a record that the question is about; "" if the question is about the whole record."""
    return "" if input_spec.record_field or not input_spec.fields else record_field_name(input_spec.fields[0])


def _make_profile(
    store: Store, settings: Settings, project: int, input_spec: InputSpec, field_types: Mapping[str, Any]
) -> tuple[str, list[Remark]]:
    """The profile of the project's records, and remarks on their problems."""
    tasks, sample = _sample_records(store, project, PROFILE_SAMPLE)
    records = [record for record in sample if record]
    problems = []
    if without_record := [int(task) for task, record in zip(tasks, sample, strict=True) if not record]:
        values = {"count": len(without_record), "fields": [*input_spec.data], "task": without_record[0]}
        problems.append(Remark("records missing", values))
    if any(len(record) >= MAX_RECORD_FIELDS for record in records):
        problems.append(Remark("fields not read", {"max_fields": MAX_RECORD_FIELDS}))
    if not records:
        needs = "an object of fields and values there" if input_spec.record_field else "a value in one of them"
        raise ApprenticeError(f"No task has a record in {_field_names(input_spec)}: each needs {needs}")
    profile = registry.profile(records, field_types, settings.encoder, question_field(input_spec))
    return profile, [*problems, *(Remark(**problem) for problem in json.loads(profile)["odd"])]


def _field_names(input_spec: InputSpec) -> str:
    return ", ".join(map(repr, input_spec.data))


def _is_replaced(store: Store, project_row: ProjectRow, current: Mapping[str, Any]) -> bool:
    """Whether the tasks have changed since the current profile was made, and most of their fields are not in it."""
    if current["seen"] == project_row.tasks_revision:
        return False
    profiled = {field["name"] for field in json.loads(current[CURRENT_PROFILE])["fields"]}
    _, sample = _sample_records(store, project_row.id, REPLACEMENT_SAMPLE)
    names = [name for record in sample for name in record]
    return sum(name not in profiled for name in names) > len(names) / 2


def _sample_records(store: Store, project: int, max_tasks: int) -> tuple[Ints, list[dict[str, Any]]]:
    """Random tasks, the same whenever the project's tasks are the same, and their records ({} without a record)."""
    tasks, _ = store.tasks.index(project)
    if len(tasks) > max_tasks:
        tasks = np.sort(np.random.default_rng(project).choice(tasks, max_tasks, replace=False))
    return tasks, [read_record(text) for text in store.tasks.texts(project, tasks.tolist())]


def _overrides(options: ProjectSettings, edited: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The overrides of each field. Extra params take precedence over edited overrides; a list is an order of values, a
    text a type."""
    overrides: dict[str, Mapping[str, Any]] = {}
    for name, value in {**edited, **options.fields}.items():
        overrides[name] = value if isinstance(value, Mapping) else {ORDER if isinstance(value, list) else KIND: value}
    return overrides
