"""Checks before every write to Label Studio whether a worker may still publish."""

from __future__ import annotations

import threading

from ml_backend.core.clock import Clock
from ml_backend.core.exceptions import LeaseLostError
from ml_backend.storage import Lease
from ml_backend.storage.jobs import Jobs

CACHE_SECONDS = 0.05  # less than the time to write one row


class LeaseCheck:
    """Each call raises LeaseLostError if the worker stops, the lease is lost or the project is disconnected. The result
    of a query is reused for `CACHE_SECONDS`. Another thread renews the lease."""

    def __init__(self, jobs: Jobs, lease: Lease, stop: threading.Event, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._lease = lease
        self._stop = stop
        self._valid_until = 0.0

    def __call__(self) -> None:
        if self._stop.is_set():
            raise LeaseLostError(f"the worker of project {self._lease.project} is stopping")
        if self._clock.monotonic() < self._valid_until:
            return
        if not self._jobs.may_publish(self._lease):
            raise LeaseLostError(f"the lease of project {self._lease.project} is lost, or the project was disconnected")
        self._valid_until = self._clock.monotonic() + CACHE_SECONDS
