"""Detects a changed labelling configuration while nobody labels.

Label Studio's event for such a change, PROJECT_UPDATED, is not used: Apprentice's own switch of the model version fires
it, too, and Label Studio counts the whole project for its body, for which the caller of the update waits. All other
events carry the configuration. While no events come, one small request every few seconds reads it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.storage import Store

CHECK_INTERVAL_SECONDS = 3.0  # one project per check: each of n projects is checked every n intervals
RETRY_SECONDS = 30.0  # after a failed check
TIMEOUT_SECONDS = 5.0

log = structlog.get_logger()


class ConfigCheck:
    """Checks beside the rounds, in its own thread, so that a Label Studio that does not answer delays nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clock = store.clock
        self._thread = ThreadPoolExecutor(1, "config")
        self._running: Future[None] | None = None
        self._not_before = self._clock.monotonic() + CHECK_INTERVAL_SECONDS
        self._last_project = 0

    def step(self, client: LabelStudioClient | None) -> None:
        """Starts the next check if it is due. A worker calls this whenever it has nothing more urgent to do."""
        if client is None or self._clock.monotonic() < self._not_before or (self._running and not self._running.done()):
            return
        self._not_before = self._clock.monotonic() + CHECK_INTERVAL_SECONDS
        self._running = self._thread.submit(self._check, client)

    def wait(self) -> None:
        """Waits for the running check."""
        wait([self._running] if self._running else [])

    def stop(self) -> None:
        self._thread.shutdown()

    def _check(self, client: LabelStudioClient) -> None:
        """Compares one project's configuration with that of Label Studio, and requests a round if they differ."""
        try:
            project = self._next_project()
            project_row = self._store.projects.get(project) if project else None
            if project_row is None:
                return
            config = client.label_config(project_row.id, TIMEOUT_SECONDS)
            if (
                config != project_row.label_config
                and self._store.projects.require(project_row.id).label_config != config
            ):
                self._store.synchronisation.request_reconciliation(project_row.id)
                self._store.jobs.request(project_row.id)
        except ApprenticeError as error:
            self._not_before = self._clock.monotonic() + RETRY_SECONDS
            log.debug("labelling configuration not checked", error=str(error))

    def _next_project(self) -> int | None:
        """Returns the connected project that follows the last one, by number; None if no project is connected."""
        projects = [project_row.id for project_row in self._store.projects.connected()]
        first = projects[0] if projects else 0
        self._last_project = next((project for project in projects if project > self._last_project), first)
        return self._last_project or None
