"""Removes a project whole: what `connect` made, its drafts in Label Studio, and all that is known of it here."""

from __future__ import annotations

import time
from contextlib import suppress

from ml_backend.core.exceptions import ApprenticeError, NotFoundError, RequestRefusedError
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.publisher import prune
from ml_backend.label_studio.setup import Say, disconnect, stop_rounds
from ml_backend.label_studio.sync import check_identity
from ml_backend.storage import ProjectRecord, Store

LET_GO_SECONDS = 6.0  # in which a worker notices that a project is disconnected, and writes what it has of it


def is_in_label_studio(client: LabelStudioClient, record: ProjectRecord, say: Say) -> bool:
    """Whether Label Studio still has the project, and not another one of its number. Raises LabelStudioError."""
    try:
        found = client.project(record.id)
    except NotFoundError:
        say("the project is gone from Label Studio")
        return False
    try:
        check_identity(client, record, found)
    except ApprenticeError:
        say("Label Studio has another project of this number now, which is left alone")
        return False
    return True


def forget(client: LabelStudioClient | None, store: Store, project: int, say: Say) -> dict[str, int]:
    """Disconnects a project, deletes its drafts in Label Studio, and removes it from the store; returns how many rows
    of each table, artifacts and vectors there were. Annotations in Label Studio stay.

    client  None to leave Label Studio alone, where the project is gone from there

    A running round is waited for; one that does not end loses the right to publish. Interrupted, it can be repeated.
    Raises LabelStudioError, and then the store is as it was, and StoreError while `apprentice evolve` is at work.
    """
    with store.evolution.alone(project):
        return _forget(client, store, project, say)


def _forget(client: LabelStudioClient | None, store: Store, project: int, say: Say) -> dict[str, int]:
    record = store.projects.get(project)
    if record is not None:
        if client is None:
            stop_rounds(store, project)
        else:
            disconnect(client, store, project, say)
            _remove_drafts(client, store, project, say)
        if record.is_connected and store.jobs.workers():
            time.sleep(LET_GO_SECONDS)
    return store.forget(project)


def _remove_drafts(client: LabelStudioClient, store: Store, project: int, say: Say) -> None:
    active = store.versions.active(project)
    names = [name for _, name, _ in store.versions.stale(project)] + ([active.name] if active else [])
    for name in names:
        with suppress(NotFoundError, RequestRefusedError):  # without rows, Label Studio knows no such version
            prune(client, project, name)
    if names:
        say(f"removed the drafts of {len(names)} versions")
