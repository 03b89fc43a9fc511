"""Whether a worker may go on publishing: asked before every write to Label Studio."""

from __future__ import annotations

import threading
import time

from ml_backend.core.exceptions import LeaseLostError
from ml_backend.storage import Lease
from ml_backend.storage.jobs import Jobs

FRESH_SECONDS = 0.05  # less than one row takes to be written


class LeaseCheck:
    """Raises LeaseLostError once the worker stops, the lease is lost or the project is disconnected. What the store
    said is good for `FRESH_SECONDS`; the lease is renewed by time, elsewhere."""

    def __init__(self, jobs: Jobs, lease: Lease, stop: threading.Event) -> None:
        self._jobs = jobs
        self._lease = lease
        self._stop = stop
        self._fresh_until = 0.0

    def __call__(self) -> None:
        if self._stop.is_set():
            raise LeaseLostError(f"the worker of project {self._lease.project} is stopping")
        if time.monotonic() < self._fresh_until:
            return
        if not self._jobs.may_publish(self._lease):
            raise LeaseLostError(f"the lease of project {self._lease.project} is gone, or it was disconnected")
        self._fresh_until = time.monotonic() + FRESH_SECONDS
