"""What was used last is kept, and what no longer fits is made again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.recent import Recent


@given(uses=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=40))
def test_the_cache_holds_the_last_used_that_fit_together(uses: list[tuple[int, int]]) -> None:
    cache: Recent[tuple[int, int], object] = Recent(8)
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
