"""A cache that keeps the most recently used values, up to a total size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """A thread-safe cache of values whose sizes sum up to at most `capacity`.

    A thread that asks for a value that another thread is making waits for that value; other threads do not wait. A
    value that is larger than `capacity` by itself is kept until another value comes.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()  # value and size; least recently used first
        self._total_size = 0
        self._pending: dict[K, Future[V]] = {}

    def get(self, key: K, make: Callable[[], V], size: int) -> V:
        """The value of a key, made by `make` if the cache does not have it. An error of `make` is raised in all threads
        that wait for the value. `size` is that of the value, in the unit of `capacity`."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][0]
            future = self._pending.get(key)
            if is_maker := future is None:
                future = self._pending[key] = Future()
        return self._make_and_store(key, make, size, future) if is_maker else future.result()

    def _make_and_store(self, key: K, make: Callable[[], V], size: int, future: Future[V]) -> V:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._pending[key]
            self._entries[key] = value, size
            self._total_size += size
            while self._total_size > self._capacity and len(self._entries) > 1:
                _, (_, evicted_size) = self._entries.popitem(last=False)
                self._total_size -= evicted_size
        future.set_result(value)
        return value
