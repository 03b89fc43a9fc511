"""What was used last is kept, and what no longer fits is made again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.lru_cache import LruCache


@given(uses=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=40))
def test_the_cache_holds_the_last_used_that_fit_together(uses: list[tuple[int, int]]) -> None:
    cache: LruCache[tuple[int, int], object] = LruCache(8)
    values: dict[tuple[int, int], object] = {}
    kept: list[tuple[int, int]] = []  # the one used last stands last
    for key in uses:
        made: list[object] = []

        def make(made: list[object] = made) -> object:
            made.append(object())
            return made[0]

        found = cache.get(key, make, key[1])
        assert bool(made) == (key not in kept)
        assert found is (made[0] if made else values[key])
        values[key] = found
        kept = [*(other for other in kept if other != key), key]
        while sum(size for _, size in kept) > 8:
            del kept[0]


def test_a_value_that_takes_long_to_make_holds_up_nobody_who_wants_another_one() -> None:
    cache: LruCache[str, str] = LruCache(8)
    cache.get("there", lambda: "there", 1)
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert go_on.wait(10)
        return "slow"

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(cache.get, "slow", slow, 1)
        assert begun.wait(10)
        second = threads.submit(cache.get, "slow", lambda: "made twice", 1)
        others = [threads.submit(cache.get, name, lambda name=name: name, 1) for name in ("there", "new")]  # type: ignore[misc]
        try:
            assert [other.result(10) for other in others] == ["there", "new"]
            assert not first.done() and not second.done()
        finally:
            go_on.set()
        assert [first.result(10), second.result(10)] == ["slow", "slow"]


def test_a_value_that_could_not_be_made_is_an_error_for_all_who_wait_and_is_made_again_for_the_next() -> None:
    cache: LruCache[str, str] = LruCache(8)
    begun, waits = threading.Event(), threading.Event()

    def failing() -> str:
        begun.set()
        assert waits.wait(10)
        raise ValueError("no")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, "key", failing, 1)
        assert begun.wait(10)
        second = threads.submit(cache.get, "key", failing, 1)
        waits.set()
        for each in (first, second):
            with pytest.raises(ValueError, match="no"):
                each.result(10)
    assert cache.get("key", lambda: "made", 1) == "made"
