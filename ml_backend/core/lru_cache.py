"""A cache that keeps what was used last, up to a size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Safe to use from several threads: those that ask for a value that is being made wait for it, and no others do. A
    value that is larger than `most` by itself is kept until another one comes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()  # the one used last stands last
        self._total = 0
        self._being_made: dict[K, Future[V]] = {}

    def get(self, key: K, make: Callable[[], V], size: int) -> V:
        """The value of a key, made now if it is not there. What `make` raises is raised in all threads that wait for
        the value. `size`: what the value counts, in the unit of `most`."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            future = self._being_made.get(key)
            if is_ours := future is None:
                future = self._being_made[key] = Future()
        return self._made(key, make, size, future) if is_ours else future.result()

    def _made(self, key: K, make: Callable[[], V], size: int, future: Future[V]) -> V:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._being_made[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._being_made[key]
            self._kept[key] = value, size
            self._total += size
            while self._total > self._most and len(self._kept) > 1:
                self._total -= self._kept.popitem(last=False)[1][1]
        future.set_result(value)
        return value
