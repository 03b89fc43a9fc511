"""Words of texts in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.words import count_words, word_offsets


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in zip(*word_offsets(text), strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("New York's  3,5 km", ["New", "York", "'", "s", "3", ",", "5", "km"]),
        ("a\r\nb", ["a", "b"]),
        ("e\u0301tude", ["e\u0301tude"]),
        ("東京に", ["東", "京", "に"]),
        ("ที่นี่ ok", ["ที่", "นี่", "ok"]),
        ("👩‍👩‍👧 🇩🇪!", ["👩‍👩‍👧", "🇩🇪", "!"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("user_name @me #tag", ["user_name", "@me", "#tag"]),
        ("a.b@c.org, http://t.co/x?y=1 www.x.de", ["a.b@c.org", ",", "http://t.co/x?y=1", "www.x.de"]),
        ("@ # a@ #1", ["@", "#", "a", "@", "#1"]),
        ("", []),
        (" \t ", []),
    ],
)
def test_words_are_cut_as_the_script_asks(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_are_in_order_and_hold_all_that_is_not_blank(text: str) -> None:
    starts, ends = word_offsets(text)
    assert (starts < ends).all() and (ends[:-1] <= starts[1:]).all()
    covered = {place for start, end in zip(starts.tolist(), ends.tolist(), strict=True) for place in range(start, end)}
    assert all(place in covered for place, character in enumerate(text) if not character.isspace())


@given(st.text())
def test_words_are_counted_as_they_are_cut(text: str) -> None:
    assert count_words(text) == len(words(text))
