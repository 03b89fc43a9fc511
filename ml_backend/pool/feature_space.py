"""The vector space of a project: of texts, that of the settings; of records, one that is fitted to its pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.settings import Form, ProjectSettings, Settings
from ml_backend.core.types import Ints, TaskSchema, read_record
from ml_backend.label_studio.serialization import MAX_RECORD, record_name
from ml_backend.storage import ProjectRecord, Store

SAMPLE = 20_000  # records that a profile is made of
GROWTH = 2.0
"""A pool of fewer is looked at anew when it has grown by this factor: then everything is encoded and learnt anew."""
GLANCE = 100  # records that show whether others have come in their place
PROFILE, BEFORE = "profile", "before"
KIND, ORDER, DESCRIPTION = "kind", "order", "description"


def encoder_of(settings: Settings, record: ProjectRecord) -> Encoder:
    """The encoder of a project as it is now. Of records that nobody has looked at yet, see `is_ready`, it is none."""
    return records_of(settings, record) or registry.encoder(settings.encoder)


def records_of(settings: Settings, record: ProjectRecord, profile: str = PROFILE) -> RecordEncoder | None:
    """The encoder of a project of records, None of any other; with BEFORE, the one that it had before, if any."""
    made_from = (record.records or {}).get(profile)
    return registry.record_encoder(made_from, settings.encoder) if made_from else None


def spaces_of_records(settings: Settings, record: ProjectRecord) -> set[str]:
    """The names of the spaces that a project of records has, and had before; none for any other project."""
    return {encoder.name for name in (PROFILE, BEFORE) if (encoder := records_of(settings, record, name))}


def form(encoder: Encoder) -> Form:
    """What the tasks are that this encoder is for."""
    if not isinstance(encoder, RecordEncoder):
        return "text"
    return "record with text" if encoder.texts else "record"


def is_ready(record: ProjectRecord, schema: TaskSchema) -> bool:
    """Whether the project has a vector space for such tasks: one of records has none before its first round."""
    return bool(record.records) == schema.is_record


def settle(
    store: Store, settings: Settings, record: ProjectRecord, schema: TaskSchema, options: ProjectSettings
) -> tuple[ProjectRecord, str]:
    """The project with the space that fits its tasks of today, and what was odd about them, "" if nothing. The one
    before stays beside it: until a round has come to its end, that is what is served. While a rollback holds a learner,
    it keeps the space of that. Raises ApprenticeError if there is no field to tell records apart by."""
    if not schema.is_record:
        if record.records:
            store.record_profiles.forget(record.id)
            record = store.projects.ensure(record.id)
        return record, ""
    kept = record.records or {}
    made_of: dict[str, Any] = {"field": schema.record_field, "wanted": wanted(schema, options, record.features)}
    if schema.fields:
        made_of["fields"] = [*schema.fields]
    n = store.tasks.count(record.id)
    if n and not (kept and record.pinned is not None):
        grown = n >= GROWTH * kept.get("tasks", 0) and kept.get("tasks", 0) < SAMPLE
        if not kept or grown or kept["made_of"] != made_of or _is_foreign(store, record, kept):
            profile, odd = _looked_at(store, settings, record.id, schema, made_of["wanted"])
            found = {PROFILE: profile, BEFORE: kept.get(PROFILE), "odd": odd, "tasks": n, "made_of": made_of}
            store.record_profiles.put(record.id, {**found, "seen": record.tasks_revision})
            record = store.projects.ensure(record.id)
            store.forget_spaces(record.id, "records-", spaces_of_records(settings, record))
        elif kept["seen"] != record.tasks_revision:
            store.record_profiles.see(record.id, record.tasks_revision)
            record = store.projects.ensure(record.id)
    return record, str((record.records or {}).get("odd", ""))


def descriptions(options: ProjectSettings, features: Mapping[str, Any] | None) -> dict[str, str]:
    """What somebody said that fields mean."""
    told = {name: each.get(DESCRIPTION) for name, each in _told(options, features).items()}
    return {name: str(words) for name, words in told.items() if words}


def wanted(schema: TaskSchema, options: ProjectSettings, features: Mapping[str, Any] | None) -> dict[str, Any]:
    """The kind of each field, or the order of its values, that somebody said. A text beside a table is one."""
    beside = schema.fields if schema.record_field else ()
    found: dict[str, Any] = dict.fromkeys(map(record_name, beside), "text")
    for name, each in _told(options, features).items():
        if kind := each.get(ORDER) or each.get(KIND):
            found[name] = kind
    return found


def asked_about(schema: TaskSchema) -> str:
    """The field of a record that the question is about, "" if it is about the record as a whole."""
    return "" if schema.record_field or not schema.fields else record_name(schema.fields[0])


def _looked_at(
    store: Store, settings: Settings, project: int, schema: TaskSchema, kinds: Mapping[str, Any]
) -> tuple[str, str]:
    """The profile of the project's records, and what is odd about them."""
    some, records = _some(store, project, SAMPLE)
    there = [each for each in records if each]
    odd = []
    if without := [int(task) for task, each in zip(some, records, strict=True) if not each]:
        odd.append(f"{len(without)} tasks have no record in {_names(schema)}, for example task {without[0]}")
    if any(len(each) >= MAX_RECORD for each in there):
        odd.append(f"of a record, no more than {MAX_RECORD} fields are read")
    if not there:
        needs = "an object of fields and values there" if schema.record_field else "a value in one of them"
        raise ApprenticeError(f"No task has a record in {_names(schema)}: each needs {needs}")
    profile = registry.profile(there, kinds, settings.encoder, asked_about(schema))
    return profile, "; ".join([*odd, *json.loads(profile)["odd"]])


def _names(schema: TaskSchema) -> str:
    return ", ".join(map(repr, schema.data))


def _is_foreign(store: Store, record: ProjectRecord, kept: Mapping[str, Any]) -> bool:
    """Whether the tasks have changed, and what they have now is mostly nothing of what was looked at: others came in
    their place."""
    if kept["seen"] == record.tasks_revision:
        return False
    known = {each["name"] for each in json.loads(kept[PROFILE])["fields"]}
    names = [name for each in _some(store, record.id, GLANCE)[1] for name in each]
    return sum(name not in known for name in names) > len(names) / 2


def _some(store: Store, project: int, most: int) -> tuple[Ints, list[dict[str, Any]]]:
    """Tasks drawn at random, always the same ones of the same tasks, and their records."""
    tasks, _ = store.tasks.index(project)
    if len(tasks) > most:
        tasks = np.sort(np.random.default_rng(project).choice(tasks, most, replace=False))
    return tasks, [read_record(text) for text in store.tasks.texts(project, tasks.tolist())]


def _told(options: ProjectSettings, features: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Extra params stand above what was edited; a list is an order, a word a kind."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, each in {**((features or {}).get("fields") or {}), **options.fields}.items():
        found[name] = each if isinstance(each, Mapping) else {ORDER if isinstance(each, list) else KIND: each}
    return found
