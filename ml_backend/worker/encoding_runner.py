"""Encodes what is missing of the pools that a worker holds, in a thread of its own: no round waits for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Floats, Mask
from ml_backend.pool.project_pool import EncodingBatch, ProjectPool
from ml_backend.storage import Store
from ml_backend.worker.process_priority import give_way
from ml_backend.worker.warmup import warm

TELL_SECONDS = 1.0  # between two reports of progress
OTHERS_SECONDS = 1.0  # until it is asked again whether another worker still encodes a project
RETRY_SECONDS = 30.0  # until a project whose encoder failed is tried again: others have their turn
PORTIONS_A_SECOND = 2  # that an encoder makes
MOST_AT_ONCE = 250  # tasks of a portion: a quick encoder makes more, but to take them over takes time, too

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _RunningBatch:
    project: int
    pool: ProjectPool
    portion: EncodingBatch
    result: Future[tuple[Floats, Mask]]


class EncodingRunner:
    """One portion of one project at a time. The worker that served a project last encodes it."""

    def __init__(self, settings: Settings, store: Store, worker: str) -> None:
        self._settings = settings
        self._store = store
        self._worker = worker
        self._thread = ThreadPoolExecutor(1, "encode", give_way)
        self._running: _RunningBatch | None = None
        self._told = 0.0
        self._not_before: dict[int, float] = {}  # by project

    def step(self, pools: Mapping[int, ProjectPool], serving: int | None = None) -> None:
        """Takes over what the thread has encoded, and gives it more. A project that cannot be encoded is told in the
        log, and waits. `serving`: the project that this worker has a lease of."""
        if self._running is not None:
            if not self._running.result.done():
                return
            running, self._running = self._running, None
            try:
                self._take(running, pools)
            except Exception as error:  # a round that needs a vector says what is wrong
                self._not_before[running.project] = time.monotonic() + RETRY_SECONDS
                told = str(error) if isinstance(error, ApprenticeError) else type(error).__name__
                log.warning("not encoded", project=running.project, error=told)
        for project, pool in pools.items():
            if pool.missing.any() and self._may_encode(project, serving):
                portion = pool.draw(min(pool.at_once // PORTIONS_A_SECOND, MOST_AT_ONCE))
                self._running = _RunningBatch(project, pool, portion, self._thread.submit(portion.encode))
                return

    def warm(self) -> None:
        """Loads the encoder, the learner and acquisition, so that the first round need not."""
        self._thread.submit(warm, self._settings)

    def tell(self, project: int, pool: ProjectPool) -> None:
        """Writes how much of a project is encoded, and that this worker goes on with it."""
        self._told = time.monotonic()
        self._store.progress.encoded(project, self._worker, int((~pool.missing).sum()), len(pool.tasks))

    def stop(self) -> None:
        """Waits for the portion that is on its way."""
        self._thread.shutdown()

    def _take(self, running: _RunningBatch, pools: Mapping[int, ProjectPool]) -> None:
        vectors, usable = running.result.result()
        pool = running.pool
        if pools.get(running.project) is not pool:
            return
        before = int(pool.encoded.sum())
        pool.take(running.portion, vectors, usable)
        is_done = not pool.missing.any()
        if is_done:
            pool.flush()
        if is_done or int(pool.encoded.sum()).bit_length() > before.bit_length():
            self._store.jobs.ask(running.project)
        if is_done or time.monotonic() - self._told > TELL_SECONDS:
            self.tell(running.project, pool)

    def _may_encode(self, project: int, serving: int | None) -> bool:
        if time.monotonic() < self._not_before.get(project, 0.0):
            return False
        if project == serving:
            return True
        record = self._store.projects.get(project)
        if record is not None and (record.progress or {}).get("worker") == self._worker:
            return True
        self._not_before[project] = time.monotonic() + OTHERS_SECONDS
        return False
