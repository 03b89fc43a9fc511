"""The clock that the parts of a process share, so that a test can set the time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The time of a process, and pauses."""

    def now(self) -> float:
        """The seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary moment on: for pauses and durations."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """This machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
