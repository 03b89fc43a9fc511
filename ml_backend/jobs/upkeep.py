"""What a worker tidies up in quiet moments: old versions' rows in Label Studio, and learners too old to go back to."""

from __future__ import annotations

import time
from collections.abc import Collection
from itertools import pairwise

import structlog

from ml_backend.domain import ApprenticeError
from ml_backend.label_studio.client import LabelStudioClient, NotFound
from ml_backend.label_studio.publish import prune
from ml_backend.settings import Settings
from ml_backend.store import ProjectRecord, Store

STALE_KEPT = 20  # versions that may still be open in an annotator's browser
QUIET_SECONDS = 5.0  # without a round before anything is pruned
PORTION_SECONDS = 2.0  # between two portions
RETRY_SECONDS = 300.0  # before a project whose rows could not be deleted is tried again

log = structlog.get_logger()


class Upkeep:
    """One small portion at a time, never within `QUIET_SECONDS` of a round."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._not_before = time.monotonic() + QUIET_SECONDS
        self._failed: dict[int, float] = {}

    def postpone(self) -> None:
        """A round has run: annotators are at work."""
        self._not_before = time.monotonic() + QUIET_SECONDS

    def step(self, client: LabelStudioClient | None, projects: Collection[int]) -> bool:
        """Tidies up one portion of one of the projects; False if there was nothing to do, or not the time for it."""
        if client is None or time.monotonic() < self._not_before:
            return False
        self._not_before = time.monotonic() + PORTION_SECONDS
        for record in self._store.projects.connected():
            if record.id in projects:
                self._forget_learner(record)
                if self._prune_version(client, record):
                    return True
        return False

    def _prune_version(self, client: LabelStudioClient, record: ProjectRecord) -> bool:
        stale = self._store.versions.stale(record.id)
        if len(stale) <= STALE_KEPT or stale[0][1] == record.published:
            return False
        if time.monotonic() < self._failed.get(record.id, 0.0):
            return False
        number, name, _ = stale[0]
        try:
            prune(client, record.id, name)
        except NotFound:
            pass  # gone already
        except ApprenticeError as error:
            self._failed[record.id] = time.monotonic() + RETRY_SECONDS
            log.warning("not pruned", project=record.id, version=name, error=str(error))
            return False
        self._store.versions.set_rows(record.id, number, 0)
        return True

    def _forget_learner(self, record: ProjectRecord) -> None:
        """One of more than `keep_versions`: the oldest of those that knew no fewer answers than the one before it, as
        it is where a teacher has said more since; else the oldest."""
        versions = self._store.versions
        active = versions.active(record.id)
        pinned = versions.get(record.id, record.pinned) if record.pinned else None
        needed = {version.learner for version in (active, pinned) if version}
        kept = versions.learners(record.id)
        old = [number for number in kept[self._settings.keep_versions :] if number not in needed]
        if not old:
            return
        labelled = versions.labelled(record.id)
        again = [number for later, number in pairwise(kept) if labelled[later] == labelled[number]]
        gone = next((number for number in reversed(again) if number not in needed), old[-1])
        if artifact := versions.artifact(record.id, gone):
            versions.drop_artifact(record.id, gone)
            self._store.artifacts.remove(artifact[0])
