"""Encodes what is missing of the pools that a worker holds, in a thread of its own: no round waits for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ml_backend.domain import Floats, Mask
from ml_backend.jobs.priority import give_way
from ml_backend.jobs.warm import warm
from ml_backend.pool import Portion, ProjectPool
from ml_backend.settings import Settings
from ml_backend.store import Store

TELL_SECONDS = 1.0  # between two reports of progress
OTHERS_SECONDS = 1.0  # before it is looked again whether a project is still encoded by another worker
PORTIONS = 2  # of what takes a second to encode: one is made at a time


@dataclass(frozen=True, slots=True)
class _Running:
    project: int
    pool: ProjectPool
    portion: Portion
    result: Future[tuple[Floats, Mask]]


class Encoding:
    """One portion of one project at a time. Of several workers, the one that served a project last encodes it."""

    def __init__(self, settings: Settings, store: Store, worker: str) -> None:
        self._settings = settings
        self._store = store
        self._worker = worker
        self._thread = ThreadPoolExecutor(1, "encode", give_way)
        self._running: _Running | None = None
        self._told = 0.0
        self._others: dict[int, float] = {}  # project -> until when another worker is taken to encode it

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Takes over what the thread has encoded, and gives it more. Raises what the encoder raised."""
        running = self._running
        if running is not None:
            if not running.result.done():
                return
            self._running = None
            vectors, usable = running.result.result()
            if pools.get(running.project) is running.pool:
                self._take(running, vectors, usable)
        for project, pool in pools.items():
            if pool.missing.any() and self._is_mine(project):
                portion = pool.draw(pool.at_once // PORTIONS)
                self._running = _Running(project, pool, portion, self._thread.submit(portion.encode))
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

    def _take(self, running: _Running, vectors: Floats, usable: Mask) -> None:
        pool = running.pool
        before = int(pool.encoded.sum())
        pool.take(running.portion, vectors, usable)
        left = bool(pool.missing.any())
        if not left:
            pool.flush()
        if not left or int(pool.encoded.sum()).bit_length() > before.bit_length():
            self._store.jobs.ask(running.project)
        if not left or time.monotonic() - self._told > TELL_SECONDS:
            self.tell(running.project, pool)

    def _is_mine(self, project: int) -> bool:
        if time.monotonic() < self._others.get(project, 0.0):
            return False
        record = self._store.projects.get(project)
        if record is not None and (record.progress or {}).get("worker") == self._worker:
            return True
        self._others[project] = time.monotonic() + OTHERS_SECONDS
        return False
