"""Deletes old learners, old versions, their predictions in Label Studio, quotes and vectors of deleted tasks, and
results of removed controls.

Learners and versions are deleted at the end of each round, vectors of an earlier encoder when a round with the new one
is complete. Deleting a prediction in Label Studio takes about 20 ms, during which annotators wait. Predictions of
versions that nobody can have open any more are therefore deleted in quiet periods, one version at a time. At other
times, they are deleted only if more than `MAX_STALE_VERSIONS` versions have predictions. Quotes and vectors of deleted
tasks, and results of removed controls, are deleted in quiet periods, too, in small portions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import structlog

from ml_backend.core.exceptions import ApprenticeError, NotFoundError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import delete_version_predictions
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRow, Store

MIN_STALE_VERSIONS = 20  # versions that may still be open in an annotator's browser
MAX_STALE_VERSIONS = 100
"""Number of versions whose predictions may stay if the worker is never quiet. Label Studio refuses an annotation if the
prediction that it was made from is deleted. With this limit, an annotator who is ten times slower than ten others can
still submit."""
QUIET_SECONDS = 5.0  # without a round, after which a quiet period begins
PORTION_PAUSE_SECONDS = 2.0  # between two portions
RETRY_SECONDS = 300.0  # after a failure to delete something of a project
SWEEP_SECONDS = 600.0  # between two sweeps (searches for vectors of deleted tasks), which read all content keys
UNCHANGED_SWEEP_SECONDS = 86_400.0
"""Between two sweeps while no task changes, because another worker may have written a vector late."""

log = structlog.get_logger()


class Maintenance:
    """Deletes what is urgent after each round, and everything else in quiet periods, one small portion at a time."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._clock = store.clock
        self._not_before = self._clock.monotonic() + QUIET_SECONDS
        self._prune_not_before: dict[int, float] = {}
        self._swept: dict[int, tuple[int, float]] = {}  # project -> `tasks_revision` and time of the last full sweep
        self._sweep_not_before: dict[int, float] = {}
        # project whose deleted data is left in the write-ahead log only -> its `tasks_revision` at the sweep
        self._wipe_pending: dict[int, int] = {}
        self._orphans_not_before = 0.0
        self._quiet_at = self._clock.monotonic()

    def postpone(self) -> None:
        """Restarts the quiet period: a round has changed something, so annotators are at work."""
        self._not_before = self._clock.monotonic() + QUIET_SECONDS

    def after_round(self, client: LabelStudioClient | None, project: int, pool: ProjectPool | None = None) -> None:
        """Enforces the upper limits, under the lease of a finished round. Errors are logged and do not fail the round.

        client, pool  None after a failed round: Label Studio may be the cause, and the vectors of an earlier feature
                      space go on serving
        """
        project_row = self._store.projects.get(project)
        if project_row is None:
            return
        try:
            needed = self._needed_versions(project_row)
            self._remove_old_learners(project, needed)
            self._store.retention.remove_old_versions(project, needed)
            if pool is not None:
                spaces = {pool.space, *feature_space.record_space_names(self._settings, project_row)}
                self._store.remove_vectors(project, "", spaces)
                if self._clock.monotonic() - self._quiet_at > SWEEP_SECONDS:  # a busy worker may never be quiet
                    self._sweep(project_row, pool)
            if client is not None:
                self._prune_version(client, project_row, MAX_STALE_VERSIONS)
        except (ApprenticeError, OSError) as error:
            log.warning("maintenance after the round failed", project=project, error=str(error))

    def step(self, client: LabelStudioClient | None, pools: Mapping[int, ProjectPool]) -> bool:
        """Deletes one portion of one project; False if there was nothing to delete, or it was not due."""
        if client is None or self._clock.monotonic() < self._not_before:
            return False
        self._quiet_at = self._clock.monotonic()
        self._not_before = self._quiet_at + PORTION_PAUSE_SECONDS
        if self._clock.monotonic() >= self._orphans_not_before:
            self._orphans_not_before = self._clock.monotonic() + SWEEP_SECONDS
            self._store.remove_orphans()
        rows = [row for row in self._store.projects.connected() if row.id in pools]
        if any(self._prune_version(client, row, MIN_STALE_VERSIONS) for row in rows):
            return True
        return any(self._sweep(row, pools[row.id]) for row in rows)

    def _sweep(self, project_row: ProjectRow, pool: ProjectPool) -> bool:
        """Deletes some quotes of deleted tasks, or their vectors in one shard. If none are left, deletes results of
        removed controls and artifacts that no row names. Returns False if there is nothing to delete now."""
        project = project_row.id
        try:
            if self._store.erase_quotes(project):
                for state in (self._swept, self._sweep_not_before, self._wipe_pending):
                    state.pop(project, None)  # a task was deleted, so its vectors are due at once
                return True
            if project in self._wipe_pending:
                return self._wipe(project, self._wipe_pending[project])
            if self._is_swept(project_row):
                return False
            pool.flush()  # now, because vectors that are written later are not checked again
            if self._store.remove_unused_vectors(project):
                return True
            project_row = self._remove_results_of_removed_controls(project_row)
            priors = [prior["file"] for prior in project_row.distillations.values()]
            needed = {learner.artifact for learner in self._store.retention.learners(project)}
            self._store.artifacts.remove_orphans(project, {*needed, *priors})
            return self._wipe(project, project_row.tasks_revision)
        except (ApprenticeError, OSError) as error:
            self._sweep_not_before[project] = self._clock.monotonic() + RETRY_SECONDS
            log.warning("deleting quotes and vectors of deleted tasks failed", project=project, error=str(error))
            return False

    def _remove_results_of_removed_controls(self, project_row: ProjectRow) -> ProjectRow:
        """Deletes the results of the monitor and the distillations of controls that are not in the configuration any
        more, ends their rollbacks, and returns the project as it is then. Descriptions and feature scores stay, because
        people may have edited them."""
        try:
            controls = read_schema(project_row.label_config, project_row.choices).control_names
        except ApprenticeError:  # a configuration that cannot be read does not say which controls it has
            return project_row
        by_control = (project_row.monitor_results, project_row.distillations, project_row.pinned)
        removed = {control for of_table in by_control for control in of_table} - {*controls}
        if not removed:
            return project_row
        self._store.projects.unpin(project_row.id, removed)
        self._store.monitor.keep(project_row.id, controls)
        self._store.distillations.keep(project_row.id, controls)
        return self._store.projects.require(project_row.id)

    def _wipe(self, project: int, searched_revision: int) -> bool:
        """Ends a sweep by emptying the database's write-ahead log. If another process is reading, the log is emptied
        later without a new sweep, unless another task is deleted meanwhile. Always returns False.

        searched_revision  the project's `tasks_revision` at the sweep
        """
        if self._store.database.wipe():
            self._wipe_pending.pop(project, None)
            self._swept[project] = (searched_revision, self._clock.monotonic())
            self._sweep_not_before[project] = self._clock.monotonic() + SWEEP_SECONDS
        else:
            self._wipe_pending[project] = searched_revision
        return False

    def _is_swept(self, project_row: ProjectRow) -> bool:
        """Whether no task has changed since the last sweep, or the last sweep was a moment ago."""
        revision, swept_at = self._swept.get(project_row.id, (None, 0.0))
        now = self._clock.monotonic()
        is_unchanged = revision == project_row.tasks_revision and now - swept_at < UNCHANGED_SWEEP_SECONDS
        return is_unchanged or now < self._sweep_not_before.get(project_row.id, 0.0)

    def _prune_version(self, client: LabelStudioClient, project_row: ProjectRow, max_versions: int) -> bool:
        """Deletes the predictions of the oldest version in Label Studio if more than `max_versions` versions have
        predictions, not counting the serving one. Returns whether it did."""
        stale = self._store.versions.stale(project_row.id)
        if len(stale) <= max_versions or stale[0][1] == project_row.published:
            return False
        if self._clock.monotonic() < self._prune_not_before.get(project_row.id, 0.0):
            return False
        number, name, _ = stale[0]
        try:
            delete_version_predictions(client, project_row.id, name)
        except NotFoundError:
            pass  # deleted already
        except ApprenticeError as error:
            self._prune_not_before[project_row.id] = self._clock.monotonic() + RETRY_SECONDS
            log.warning(
                "deleting predictions of an old version failed", project=project_row.id, version=name, error=str(error)
            )
            return False
        self._store.versions.set_rows(project_row.id, number, 0)
        return True

    def _needed_versions(self, project_row: ProjectRow) -> set[int]:
        """Returns the numbers of the versions that serve, here or in Label Studio, or that a rollback holds, and the
        numbers of their learners."""
        versions = self._store.versions
        candidates = [
            versions.active(project_row.id),
            *(versions.get(project_row.id, number) for number in {*project_row.pinned.values()}),
            versions.named(project_row.id, project_row.published) if project_row.published else None,
        ]
        needed = [version for version in candidates if version is not None]
        return {number for version in needed for number in (version.number, version.learner) if number is not None}

    def _remove_old_learners(self, project: int, needed: Collection[int]) -> None:
        """Removes the learners beyond `keep_versions`. The newer half of them stays. In the older half, learners whose
        successor was fitted on as many labels (with more teacher labels) go first, the oldest first; then the oldest of
        all."""
        learners, max_learners = self._store.retention.learners(project), self._settings.keep_versions
        while removable := [learner for learner in learners[max_learners:] if learner.number not in needed]:
            redundant = [
                earlier
                for later, earlier in pairwise(learners[max_learners // 2 - 1 :])
                if later.labelled == earlier.labelled and earlier.number not in needed
            ]
            removed = redundant[-1] if redundant else removable[-1]
            self._store.versions.drop_artifact(project, removed.number)
            self._store.artifacts.remove(removed.artifact)
            learners.remove(removed)
