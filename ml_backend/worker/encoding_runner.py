"""Encodes the tasks of a worker's pools that have no vector, in a background thread, so that no round waits."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.pool.encoded_texts import EncodedTexts
from ml_backend.pool.project_pool import EncodingBatch, ProjectPool
from ml_backend.storage import Store
from ml_backend.worker.process_priority import lower_thread_priority
from ml_backend.worker.warmup import warm

PROGRESS_SECONDS = 1.0  # between two reports of progress
OTHER_WORKER_CHECK_SECONDS = 1.0  # between two checks whether another worker still encodes a project
RETRY_SECONDS = 30.0  # after a failure of a project's encoder; other projects are encoded meanwhile
BATCHES_PER_SECOND = 2  # the size of a batch follows from the speed of the encoder
MAX_BATCH_TASKS = 250  # a fast encoder could take more, but storing its vectors takes time, too

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _RunningBatch:
    project: int
    pool: ProjectPool
    batch: EncodingBatch
    result: Future[EncodedTexts]


class EncodingRunner:
    """Encodes one batch of one project at a time. The worker that ran a project's last round encodes its pool."""

    def __init__(self, settings: Settings, store: Store, worker: str) -> None:
        self._settings = settings
        self._store = store
        self._clock = store.clock
        self._worker = worker
        self._thread = ThreadPoolExecutor(1, "encode", lower_thread_priority)
        self._running: _RunningBatch | None = None
        self._reported_at = 0.0
        self._not_before: dict[int, float] = {}  # by project

    def step(self, pools: Mapping[int, ProjectPool], leased_project: int | None = None) -> None:
        """Stores the vectors of a finished batch and starts the next one. An error of a project's encoder is logged,
        and the project is tried again later.

        leased_project  the project whose lease this worker holds
        """
        if self._running is not None:
            if not self._running.result.done():
                return
            running, self._running = self._running, None
            try:
                self._store_vectors(running, pools)
            except Exception as error:  # a round that needs a vector raises the error again
                self._not_before[running.project] = self._clock.monotonic() + RETRY_SECONDS
                message = str(error) if isinstance(error, ApprenticeError) else type(error).__name__
                log.warning("encoding failed", project=running.project, error=message, retry_in=RETRY_SECONDS)
        for project, pool in pools.items():
            if pool.missing.any() and self._may_encode(project, leased_project):
                batch = pool.draw(min(pool.at_once // BATCHES_PER_SECOND, MAX_BATCH_TASKS))
                self._running = _RunningBatch(project, pool, batch, self._thread.submit(batch.encode))
                return

    def warm(self) -> None:
        """Loads the encoder, the learner and the query strategy in the background, for the first round."""
        self._thread.submit(warm, self._settings)

    def report_progress(self, project: int, pool: ProjectPool) -> None:
        """Stores how much of a project is encoded, and that this worker encodes the rest."""
        self._reported_at = self._clock.monotonic()
        self._store.progress.set_encoded(project, self._worker, int((~pool.missing).sum()), len(pool.tasks))

    def wait(self) -> None:
        """Waits until the running batch is encoded; the next step stores its vectors."""
        wait([self._running.result] if self._running else [])

    def stop(self) -> None:
        """Waits for the running batch."""
        self._thread.shutdown()

    def _store_vectors(self, running: _RunningBatch, pools: Mapping[int, ProjectPool]) -> None:
        encoded = running.result.result()
        pool = running.pool
        if pools.get(running.project) is not pool:
            return
        encoded_before = int(pool.encoded.sum())
        pool.store_vectors(running.batch, encoded)
        is_done = not pool.missing.any()
        if is_done:
            pool.flush()
        if is_done or int(pool.encoded.sum()).bit_length() > encoded_before.bit_length():
            self._store.jobs.request_unless_waiting(running.project)
        if is_done or self._clock.monotonic() - self._reported_at > PROGRESS_SECONDS:
            self.report_progress(running.project, pool)

    def _may_encode(self, project: int, leased_project: int | None) -> bool:
        """Whether this worker is to encode the project now: no retry is due later, and no other worker encodes it."""
        if self._clock.monotonic() < self._not_before.get(project, 0.0):
            return False
        if project == leased_project:
            return True
        project_row = self._store.projects.get(project)
        if project_row is not None and (project_row.progress or {}).get("worker") == self._worker:
            return True
        self._not_before[project] = self._clock.monotonic() + OTHER_WORKER_CHECK_SECONDS
        return False
