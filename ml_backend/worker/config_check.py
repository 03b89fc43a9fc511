"""Notices that somebody has changed a labelling configuration while nobody labels.

Label Studio's event for that, PROJECT_UPDATED, is fired by our own switch of the model version, too, and its payload
counts the whole project twice, while whoever switched waits. Every other event carries the configuration; where none
comes, one small question every few seconds finds out.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.storage import Store

EVERY_SECONDS = 3.0  # one project is asked about at a time: of n, each every n times as long
PAUSE_SECONDS = 30.0  # after a question that was not answered
TIMEOUT_SECONDS = 5.0

log = structlog.get_logger()


class ConfigCheck:
    """Asks beside the rounds, in a thread of its own: a Label Studio that does not answer holds nobody up."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "config")
        self._running: Future[None] | None = None
        self._not_before = time.monotonic() + EVERY_SECONDS
        self._last = 0  # the project that was asked about

    def step(self, client: LabelStudioClient | None) -> None:
        """Begins the next question if it is time; called whenever a worker has nothing more urgent to do."""
        if client is None or time.monotonic() < self._not_before or (self._running and not self._running.done()):
            return
        self._not_before = time.monotonic() + EVERY_SECONDS
        self._running = self._thread.submit(self._ask, client)

    def wait(self) -> None:
        """Until the question under way is answered."""
        if self._running:
            self._running.result()

    def stop(self) -> None:
        self._thread.shutdown()

    def _ask(self, client: LabelStudioClient) -> None:
        try:
            project = self._next()
            record = self._store.projects.get(project) if project else None
            if record is None:
                return
            config = client.label_config(record.id, TIMEOUT_SECONDS)
            if config != record.label_config and self._store.projects.known(record.id).label_config != config:
                self._store.synchronisation.look_again(record.id)
                self._store.jobs.request(record.id)
        except ApprenticeError as error:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            log.debug("configuration not checked", error=str(error))

    def _next(self) -> int | None:
        """The connected project after the last one."""
        projects = [record.id for record in self._store.projects.connected()]
        self._last = next((number for number in projects if number > self._last), projects[0] if projects else 0)
        return self._last or None
