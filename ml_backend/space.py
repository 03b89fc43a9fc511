"""The vector space of a project: of texts, that of the settings; of records, one that is fitted to its pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_backend import registry
from ml_backend.domain import ApprenticeError, TaskSchema, read_record
from ml_backend.ports import Encoder, RecordEncoder
from ml_backend.settings import ProjectSettings, Settings
from ml_backend.store import ProjectRecord, Store

SAMPLE = 20_000  # records that a profile is made of
GROWTH = 2.0
"""A pool of fewer is looked at anew when it has grown by this factor: then everything is encoded and learnt anew."""
KIND, ORDER, DESCRIPTION = "kind", "order", "description"


def encoder_of(settings: Settings, record: ProjectRecord) -> Encoder:
    """The encoder of a project as it is now. Of records that nobody has looked at yet, see `is_ready`, it is none."""
    return records_of(settings, record) or registry.encoder(settings.encoder)


def records_of(settings: Settings, record: ProjectRecord) -> RecordEncoder | None:
    """The encoder of a project of records, None of any other."""
    return registry.record_encoder(record.records["profile"], settings.encoder) if record.records else None


def is_ready(record: ProjectRecord, schema: TaskSchema) -> bool:
    """Whether the project has a vector space: one of records has none before its first round."""
    return bool(record.records) or not schema.is_record


def settle(
    store: Store, settings: Settings, record: ProjectRecord, schema: TaskSchema, options: ProjectSettings
) -> tuple[ProjectRecord, str]:
    """The project with the space that fits its tasks of today, and what was odd about them, "" if nothing. Raises
    ApprenticeError if there is no field to tell records apart by."""
    if not schema.is_record:
        if record.records:
            store.projects.update(record.id, records=None)
        return store.projects.ensure(record.id), ""
    wanted = _wanted(schema, options, record.features)
    n, kept = store.tasks.count(record.id), record.records or {}
    grown = n >= GROWTH * kept.get("tasks", 0) and kept.get("tasks", 0) < SAMPLE
    if n and (not kept or grown or kept["wanted"] != wanted):
        store.projects.update(record.id, records=_looked_at(store, settings, record.id, schema, wanted))
        record = store.projects.ensure(record.id)
    return record, str((record.records or {}).get("odd", ""))


def descriptions(options: ProjectSettings, features: Mapping[str, Any] | None) -> dict[str, str]:
    """What somebody said that fields mean."""
    told = {name: each.get(DESCRIPTION) for name, each in _told(options, features).items()}
    return {name: str(words) for name, words in told.items() if words}


def _looked_at(
    store: Store, settings: Settings, project: int, schema: TaskSchema, wanted: dict[str, Any]
) -> dict[str, Any]:
    tasks, _ = store.tasks.index(project)
    some = tasks
    if len(tasks) > SAMPLE:
        some = np.sort(np.random.default_rng(project).choice(tasks, SAMPLE, replace=False))
    records = [read_record(text) for text in store.tasks.texts(project, some.tolist())]
    there = [each for each in records if each]
    odd = []
    if without := [int(task) for task, each in zip(some, records, strict=True) if not each]:
        odd.append(f"{len(without)} tasks have no record in {schema.record_field!r}, for example task {without[0]}")
    if not there:
        raise ApprenticeError(
            f"No task has a record in {schema.record_field!r}: each needs an object of fields and values there"
        )
    try:
        profile = registry.profile(there, wanted, settings.encoder)
    except ApprenticeError as error:
        plain = _wanted(schema, None, None)
        if wanted == plain:
            raise
        profile = registry.profile(there, plain, settings.encoder)
        odd.append(f"{error}: the kinds are inferred")
    return {"profile": profile, "tasks": len(tasks), "wanted": wanted, "odd": "; ".join(odd)}


def _wanted(schema: TaskSchema, options: ProjectSettings | None, features: Mapping[str, Any] | None) -> dict[str, Any]:
    """The kind of each field, or the order of its values, that somebody said."""
    wanted: dict[str, Any] = {schema.text_field: "text"} if schema.text_field else {}
    for name, each in _told(options, features).items():
        if kind := each.get(ORDER) or each.get(KIND):
            wanted[name] = kind
    return wanted


def _told(options: ProjectSettings | None, features: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Extra params stand above what was edited; a list is an order, a word a kind."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, each in {**((features or {}).get("fields") or {}), **(options.fields if options else {})}.items():
        found[name] = each if isinstance(each, Mapping) else {ORDER if isinstance(each, list) else KIND: each}
    return found
