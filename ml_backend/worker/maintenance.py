"""What a worker tidies up: learners too old to go back to, old versions' rows in Label Studio, what deletions leave.

Learners and rows of the store go at the end of the very round that made one more, vectors of an earlier encoder when a
round with the new one has come to its end. Rows in Label Studio cost about 20 ms each, for which annotators wait: those
of a version that nobody can have open any more go in quiet moments, one version at a time, and others only when more
than `STALE_MOST` versions stand. Quotes and vectors of deleted tasks go in quiet moments, too, in portions.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from itertools import pairwise

import structlog

from ml_backend.core.exceptions import ApprenticeError, NotFoundError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.publisher import prune
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRecord, Store

STALE_KEPT = 20  # versions that may still be open in an annotator's browser
STALE_MOST = 100
"""Versions that may stand however busy it is. Label Studio refuses an answer to a draft whose row is gone: somebody ten
times slower than ten others still finds it."""
QUIET_SECONDS = 5.0  # without a round before anything is pruned
PORTION_SECONDS = 2.0  # between two portions
RETRY_SECONDS = 300.0  # before a project whose rows could not be deleted is tried again
SWEEP_SECONDS = 600.0  # between two looks for vectors of tasks that are gone: each reads all content keys
UNCHANGED_SECONDS = 86_400.0
"""After which it is looked again though no task has changed: another worker may have written a vector late."""

log = structlog.get_logger()


class Maintenance:
    """After each round what it must not leave behind, and in quiet moments one small portion at a time."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._not_before = time.monotonic() + QUIET_SECONDS
        self._failed: dict[int, float] = {}
        self._swept: dict[int, tuple[int, float]] = {}  # project -> `tasks_revision` and time when nothing was left
        self._sweep_not_before: dict[int, float] = {}
        self._unwiped: set[int] = set()  # projects of which nothing is left but in the database's log
        self._strays_not_before = 0.0
        self._quiet_at = time.monotonic()

    def postpone(self) -> None:
        """A round has changed something: annotators are at work."""
        self._not_before = time.monotonic() + QUIET_SECONDS

    def after_round(self, client: LabelStudioClient | None, project: int, pool: ProjectPool | None = None) -> None:
        """Keeps the ceilings, under the lease of a round that has come to its end. What goes wrong is no failure of it.

        client, pool  None after a round that failed: Label Studio may be the trouble, and what it found in an earlier
                      space goes on serving
        """
        record = self._store.projects.get(project)
        if record is None:
            return
        try:
            needed = self._needed(record)
            self._forget_learners(project, needed)
            self._store.retention.remove_old_versions(project, needed)
            if pool is not None:
                spaces = {pool.space, *feature_space.spaces_of_records(self._settings, record)}
                self._store.forget_spaces(project, "", spaces)
                if time.monotonic() - self._quiet_at > SWEEP_SECONDS:  # it may never be quiet
                    self._sweep(record, pool)
            if client is not None:
                self._prune_version(client, record, STALE_MOST)
        except (ApprenticeError, OSError) as error:
            log.warning("not tidied up", project=project, error=str(error))

    def step(self, client: LabelStudioClient | None, pools: Mapping[int, ProjectPool]) -> bool:
        """Tidies up one portion of one of the projects; False if there was nothing to do, or not the time for it."""
        if client is None or time.monotonic() < self._not_before:
            return False
        self._quiet_at = time.monotonic()
        self._not_before = self._quiet_at + PORTION_SECONDS
        if time.monotonic() >= self._strays_not_before:
            self._strays_not_before = time.monotonic() + SWEEP_SECONDS
            self._store.remove_strays()
        records = [record for record in self._store.projects.connected() if record.id in pools]
        if any(self._prune_version(client, record, STALE_KEPT) for record in records):
            return True
        return any(self._sweep(record, pools[record.id]) for record in records)

    def _sweep(self, record: ProjectRecord, pool: ProjectPool) -> bool:
        """Removes what deleted tasks have left: quotes of some, or vectors of one shard; False if there is nothing to
        do now. When there is no more, what deletions leave in files goes, too."""
        project = record.id
        try:
            if self._store.erase_quotes(project):
                self._swept.pop(project, None)  # a task was deleted: the rest does not wait
                self._sweep_not_before.pop(project, None)
                return True
            if project in self._unwiped:
                return self._wipe(record)
            if self._is_swept(record):
                return False
            pool.flush()  # now: what is written later is not looked at again
            if self._store.sweep_vectors(project):
                return True
            needed = {learner.artifact for learner in self._store.retention.learners(project)}
            self._store.artifacts.remove_strays(project, {*needed, (record.prior or {}).get("file", "")})
            return self._wipe(record)
        except (ApprenticeError, OSError) as error:
            self._sweep_not_before[project] = time.monotonic() + RETRY_SECONDS
            log.warning("not swept", project=project, error=str(error))
            return False

    def _wipe(self, record: ProjectRecord) -> bool:
        """The last step of a sweep; where somebody reads meanwhile, it is tried again by itself. Always False."""
        if self._store.database.wipe():
            self._unwiped.discard(record.id)
            self._swept[record.id] = (record.tasks_revision, time.monotonic())
            self._sweep_not_before[record.id] = time.monotonic() + SWEEP_SECONDS
        else:
            self._unwiped.add(record.id)
        return False

    def _is_swept(self, record: ProjectRecord) -> bool:
        """Whether no task has changed since the last look, or that was a moment ago."""
        revision, swept_at = self._swept.get(record.id, (None, 0.0))
        is_unchanged = revision == record.tasks_revision and time.monotonic() - swept_at < UNCHANGED_SECONDS
        return is_unchanged or time.monotonic() < self._sweep_not_before.get(record.id, 0.0)

    def _prune_version(self, client: LabelStudioClient, record: ProjectRecord, most: int) -> bool:
        """Deletes the rows of the oldest version if more than `most` stand beside the one that serves."""
        stale = self._store.versions.stale(record.id)
        if len(stale) <= most or stale[0][1] == record.published:
            return False
        if time.monotonic() < self._failed.get(record.id, 0.0):
            return False
        number, name, _ = stale[0]
        try:
            prune(client, record.id, name)
        except NotFoundError:
            pass  # gone already
        except ApprenticeError as error:
            self._failed[record.id] = time.monotonic() + RETRY_SECONDS
            log.warning("not pruned", project=record.id, version=name, error=str(error))
            return False
        self._store.versions.set_rows(record.id, number, 0)
        return True

    def _needed(self, record: ProjectRecord) -> set[int]:
        """The versions that serve, here or in Label Studio, or that a rollback holds, and the learners they have."""
        versions = self._store.versions
        held = [
            versions.active(record.id),
            versions.get(record.id, record.pinned) if record.pinned else None,
            versions.named(record.id, record.published) if record.published else None,
        ]
        found = [version for version in held if version is not None]
        return {number for version in found for number in (version.number, version.learner) if number is not None}

    def _forget_learners(self, project: int, needed: Collection[int]) -> None:
        """Removes the learners beyond `keep_versions`. The newest half stays. Of the others, the oldest goes first of
        those whose successor knew as many answers (the teacher had said more by then), and then the oldest of all."""
        kept, most = self._store.retention.learners(project), self._settings.keep_versions
        while old := [each for each in kept[most:] if each.number not in needed]:
            again = (
                earlier for later, earlier in pairwise(kept[most // 2 - 1 :]) if later.labelled == earlier.labelled
            )
            gone = next((each for each in reversed([*again]) if each.number not in needed), old[-1])
            self._store.versions.drop_artifact(project, gone.number)
            self._store.artifacts.remove(gone.artifact)
            kept.remove(gone)
