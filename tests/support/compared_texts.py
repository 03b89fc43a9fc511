"""Pairs of made texts that are compared, as the texts of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from ml_backend.core.types import record_text

WORDS = ("good", "bad", "long", "short", "kind", "rude", "clear", "odd")
TEXT = st.lists(st.sampled_from(WORDS), min_size=0, max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=9)


def pair_texts(pairs: Sequence[tuple[str, str]], **context: Any) -> list[str]:
    return [record_text({"left": left, "right": right, **context}) for left, right in pairs]


def swapped(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(right, left) for left, right in pairs]
