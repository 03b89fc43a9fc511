"""The cache keeps the most recently used values, and makes values again that no longer fit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.lru_cache import LruCache


@given(uses=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=40))
def test_the_cache_keeps_the_most_recently_used_values_up_to_its_capacity(uses: list[tuple[int, int]]) -> None:
    cache: LruCache[tuple[int, int], object] = LruCache(8)
    values: dict[tuple[int, int], object] = {}
    cached: list[tuple[int, int]] = []  # most recently used last
    for key in uses:
        made: list[object] = []

        def make(made: list[object] = made) -> object:
            made.append(object())
            return made[0]

        value = cache.get(key, make, key[1])
        assert bool(made) == (key not in cached)
        assert value is (made[0] if made else values[key])
        values[key] = value
        cached = [*(other for other in cached if other != key), key]
        while sum(size for _, size in cached) > 8:
            del cached[0]


def test_a_value_that_takes_long_to_make_does_not_delay_other_values() -> None:
    cache: LruCache[str, str] = LruCache(8)
    cache.get("cached", lambda: "cached", 1)
    started, released = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        assert released.wait(10)
        return "slow"

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(cache.get, "slow", slow, 1)
        assert started.wait(10)
        second = threads.submit(cache.get, "slow", lambda: "made twice", 1)
        others = [threads.submit(cache.get, name, lambda name=name: name, 1) for name in ("cached", "new")]  # type: ignore[misc]
        try:
            assert [other.result(10) for other in others] == ["cached", "new"]
            assert not first.done() and not second.done()
        finally:
            released.set()
        assert [first.result(10), second.result(10)] == ["slow", "slow"]


def test_an_error_is_raised_for_all_waiting_threads_and_the_next_call_makes_the_value_again() -> None:
    cache: LruCache[str, str] = LruCache(8)
    started, released = threading.Event(), threading.Event()

    def failing() -> str:
        started.set()
        assert released.wait(10)
        raise ValueError("no")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, "key", failing, 1)
        assert started.wait(10)
        second = threads.submit(cache.get, "key", failing, 1)
        released.set()
        for future in (first, second):
            with pytest.raises(ValueError, match="no"):
                future.result(10)
    assert cache.get("key", lambda: "made", 1) == "made"
