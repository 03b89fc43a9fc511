"""A clock that tests set."""

from __future__ import annotations

import time
from collections.abc import Callable

TICK_SECONDS = 1e-6


class ManualClock:
    """Begins now. Only the test and pauses advance it, and each reading of `now` by `tick_seconds`, so that no two are
    equal.

    epoch     the time of `now` when `seconds` is 0
    seconds   the time of `monotonic`
    on_sleep  called after each pause
    """

    def __init__(self, tick_seconds: float = TICK_SECONDS) -> None:
        self.seconds = 1000.0
        self.epoch = time.time() - self.seconds
        self._tick_seconds = tick_seconds
        self.on_sleep: Callable[[], object] = lambda: None

    def now(self) -> float:
        self.epoch += self._tick_seconds
        return self.epoch + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.on_sleep()

    def set_now(self, moment: float) -> None:
        """Sets the time of `now`, in seconds since the epoch, and leaves that of `monotonic`."""
        self.epoch = moment - self.seconds
