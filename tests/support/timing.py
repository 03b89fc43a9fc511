"""Compares the time that a call takes on a small and on a large input, because a time in seconds depends on the
machine."""

from collections.abc import Callable
from time import process_time

MAX_LINEAR_RATIO = 10.0
"""Of the times on an input and on a quarter of it: 4 if the time is proportional to the input, 16 if to its square."""


def process_seconds(call: Callable[[], object], repetitions: int = 3) -> float:
    """The processor's seconds of the fastest of several calls."""
    seconds = []
    for _ in range(repetitions):
        started = process_time()
        call()
        seconds.append(process_time() - started)
    return min(seconds)


def takes_linear_time(call: Callable[[int], object], size: int) -> bool:
    """Whether a call with `size` takes at most about four times as long as one with a quarter of it."""
    return process_seconds(lambda: call(size)) < MAX_LINEAR_RATIO * process_seconds(lambda: call(size // 4)) + 0.05
