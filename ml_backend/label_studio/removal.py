"""Removes a project: its connection and its drafts in Label Studio, and everything about it in the store."""

from __future__ import annotations

from contextlib import suppress

from ml_backend.core.exceptions import ApprenticeError, NotFoundError, RequestRefusedError
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.publisher import delete_version_predictions
from ml_backend.label_studio.setup import Notify, disconnect, stop_rounds
from ml_backend.label_studio.sync import check_identity
from ml_backend.storage import ProjectRow, Store

WORKER_RELEASE_SECONDS = 6.0  # a worker notices within this time that a project is disconnected, and stops writing


def is_in_label_studio(client: LabelStudioClient, project_row: ProjectRow, notify: Notify) -> bool:
    """Whether the project still exists in Label Studio, and is not another project with the same number. Raises
    LabelStudioError."""
    try:
        fields = client.project(project_row.id)
    except NotFoundError:
        notify("the project is gone from Label Studio")
        return False
    try:
        check_identity(client, project_row, fields)
    except ApprenticeError:
        notify("another project has this number in Label Studio now: it is not changed")
        return False
    return True


def forget(client: LabelStudioClient | None, store: Store, project: int, notify: Notify) -> dict[str, int]:
    """Disconnects a project, deletes its drafts in Label Studio, and removes it from the store. The annotations stay in
    Label Studio. Returns the number of removed rows by table, and of removed artifacts and vectors.

    client  None if the project no longer exists in Label Studio: then nothing is changed there

    The function waits for a running round; a round that does not end in time loses its lease. A call that was
    interrupted can be repeated. Raises LabelStudioError, after which the store is unchanged, and StoreError while
    `apprentice evolve` runs.
    """
    with store.evolution_rounds.lock(project):
        return _forget(client, store, project, notify)


def _forget(client: LabelStudioClient | None, store: Store, project: int, notify: Notify) -> dict[str, int]:
    project_row = store.projects.get(project)
    if project_row is not None:
        if client is None:
            stop_rounds(store, project)
        else:
            disconnect(client, store, project, notify)
            _remove_drafts(client, store, project, notify)
        if project_row.is_connected and store.jobs.workers():
            store.clock.sleep(WORKER_RELEASE_SECONDS)
    return store.forget(project)


def _remove_drafts(client: LabelStudioClient, store: Store, project: int, notify: Notify) -> None:
    active = store.versions.active(project)
    names = [name for _, name, _ in store.versions.stale(project)] + ([active.name] if active else [])
    for name in names:
        with suppress(NotFoundError, RequestRefusedError):  # Label Studio has a version only while it has predictions
            delete_version_predictions(client, project, name)
    if names:
        notify(f"removed the drafts of {len(names)} versions")
