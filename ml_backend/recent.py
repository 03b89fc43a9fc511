"""A cache that keeps what was used last, up to a size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Safe to use from several threads. What is larger than `most` by itself is kept until something else comes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()  # the one used last stands last
        self._total = 0

    def get(self, key: K, make: Callable[[], V], size: int) -> V:
        """The value of a key, made now if it is not there. `size`: what it counts, in the unit of `most`."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make(), size
                self._total += size
            self._kept.move_to_end(key)
            value = self._kept[key][0]
            while self._total > self._most and len(self._kept) > 1:
                self._total -= self._kept.popitem(last=False)[1][1]
            return value
