"""Texts are found in documents as a simple search finds them, in a time that does not depend on their number."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.storage.deleted_texts import SHORT, TELLING, DeletedTexts

letters = st.text(st.sampled_from('ab" é🙂\n'), max_size=90)
texts = st.lists(letters, max_size=5)
pieces = st.lists(st.tuples(letters, st.integers(0, 4), st.integers(0, 90), st.booleans()), max_size=5)


def is_quoted(value: str, wording: str) -> bool:
    """One after the other, and letter by letter."""
    return (wording[:TELLING] if len(wording) >= SHORT else f'"{wording}"') in value


def wordings(texts: list[str]) -> set[str]:
    escaped = (json.dumps(text, ensure_ascii=ascii)[1:-1] for text in texts for ascii in (True, False))
    return {wording for text in texts for wording in (text, " ".join(text.split()), *escaped) if wording}


@given(texts=texts, pieces=pieces)
def test_nothing_is_left_of_what_a_simple_search_finds_and_nothing_else_goes(
    texts: list[str], pieces: list[tuple[str, int, int, bool]]
) -> None:
    gone = DeletedTexts(texts)
    value = "".join(
        before + (f'"{text}"' if in_quotes else text)[:length]
        for before, which, length, in_quotes in pieces
        for text in [texts[which] if which < len(texts) else "another text"]
    )
    cleaned = gone._cut_out(value)
    assert not any(is_quoted(cleaned, wording) for wording in wordings(texts))
    if not any(is_quoted(value, wording) for wording in wordings(texts)):
        assert cleaned == value
    left = iter(value)
    assert all(letter in left for letter in cleaned), "what is left stands in its order"


@given(texts=texts, start=st.integers(0, 90), value=letters)
def test_a_string_is_one_of_them_whole_or_cut_short_as_a_simple_search_says(
    texts: list[str], start: int, value: str
) -> None:
    for given_value in (value, *(f"{text[:start]} …" for text in texts)):
        start_of = given_value.removesuffix("…").rstrip()
        is_cut = given_value.endswith("…") and any(
            wording.startswith(start_of) for wording in wordings(texts) if len(wording) > len(start_of)
        )
        assert DeletedTexts(texts)._is_one(given_value) == (given_value in wordings(texts) or is_cut)


def test_thousands_of_texts_are_looked_for_as_fast_as_a_few() -> None:
    source = random.Random(0)
    many = ["".join(source.choices("abcdefgh   ", k=200)) for _ in range(5000)]
    document = {"body": {"text": "".join(source.choices("abcdefgh   ", k=50_000)) + many[-1]}}
    seconds = []
    for some in (many[-5:], many):
        gone = DeletedTexts(some)
        before = time.process_time()
        for _ in range(10):
            assert gone.changes(document, "anywhere")
        seconds.append(time.process_time() - before)
    assert seconds[1] < 10 * seconds[0] + 0.1


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("before Mrs. Miller of 17 Elm Street, after", "before , after"),
        ("Mrs. Miller of 17 Elm StMrs. Miller of 17 Elm Streetreet", ""),
        ('he said "Miller of 17 Elm S", and "Miller of 17 Elm"', 'he said , and "Miller of 17 Elm"'),
        (r'the task was "Say \"hello\"\nto Mrs. Miller", which', 'the task was "", which'),
    ],
    ids=["in a sentence", "one that its neighbour's going makes", "a short one in quotes", "as JSON"],
)
def test_what_is_left_is_looked_through_again(value: str, left: str) -> None:
    gone = ["Mrs. Miller of 17 Elm Street", "Miller of 17 Elm S", 'Say "hello"\nto Mrs. Miller']
    assert DeletedTexts(gone)._cut_out(value) == left
