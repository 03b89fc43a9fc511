"""Deleted texts are found as a simple search finds them, in a time that does not depend on their number."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_texts import LONG, OTHER, SECRET, SHORT

from ml_backend.storage.deleted_texts import MIN_CHARACTERS_UNQUOTED, PREFIX_CHARACTERS, DeletedTexts

letters = st.text(st.sampled_from('ab" é🙂\n'), max_size=90)
texts = st.lists(letters, max_size=5)
pieces = st.lists(st.tuples(letters, st.integers(0, 4), st.integers(0, 90), st.booleans()), max_size=5)


def is_quoted(value: str, variant: str) -> bool:
    """Searches for one variant of a text, without an index."""
    return (variant[:PREFIX_CHARACTERS] if len(variant) >= MIN_CHARACTERS_UNQUOTED else f'"{variant}"') in value


def variants(texts: list[str]) -> set[str]:
    escaped = (json.dumps(text, ensure_ascii=ascii)[1:-1] for text in texts for ascii in (True, False))
    return {variant for text in texts for variant in (text, " ".join(text.split()), *escaped) if variant}


@given(texts=texts, pieces=pieces)
def test_every_quote_that_a_simple_search_finds_is_removed_and_nothing_else(
    texts: list[str], pieces: list[tuple[str, int, int, bool]]
) -> None:
    gone = DeletedTexts(texts)
    value = "".join(
        before + (f'"{text}"' if in_quotes else text)[:length]
        for before, which, length, in_quotes in pieces
        for text in [texts[which] if which < len(texts) else "another text"]
    )
    cleaned = gone._cut_quotes(value)
    assert not any(is_quoted(cleaned, variant) for variant in variants(texts))
    if not any(is_quoted(value, variant) for variant in variants(texts)):
        assert cleaned == value
    remaining = iter(value)
    assert all(letter in remaining for letter in cleaned), "the remaining letters keep their order"


@given(texts=texts, start=st.integers(0, 90), value=letters)
def test_a_whole_or_shortened_text_is_recognised_as_a_simple_search_recognises_it(
    texts: list[str], start: int, value: str
) -> None:
    for string in (value, *(f"{text[:start]} …" for text in texts)):
        prefix = string.removesuffix("…").rstrip()
        is_shortened = string.endswith("…") and any(
            variant.startswith(prefix) for variant in variants(texts) if len(variant) > len(prefix)
        )
        assert DeletedTexts(texts)._is_deleted(string) == (string in variants(texts) or is_shortened)


def test_a_search_for_thousands_of_texts_is_as_fast_as_one_for_a_few() -> None:
    source = random.Random(0)
    many = ["".join(source.choices("abcdefgh   ", k=200)) for _ in range(5000)]
    document = {"body": {"text": "".join(source.choices("abcdefgh   ", k=50_000)) + many[-1]}}
    seconds = []
    for deleted in (many[-5:], many):
        gone = DeletedTexts(deleted)
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
    ids=["in a sentence", "a quote that appears when another is cut", "a short text in quotation marks", "as JSON"],
)
def test_a_string_is_searched_again_after_a_quote_was_cut(value: str, left: str) -> None:
    gone = ["Mrs. Miller of 17 Elm Street", "Miller of 17 Elm S", 'Say "hello"\nto Mrs. Miller']
    assert DeletedTexts(gone)._cut_quotes(value) == left


@pytest.mark.parametrize(
    ("document", "without"),
    [
        ({"text": SHORT, "label": SHORT}, {"text": "", "label": SHORT}),
        ({"examples": [[SHORT, "x"], ["y", SHORT]]}, {"examples": [["", "x"], ["y", ""]]}),
        ({"examples": [[SHORT, '{"spans": ["a"]}'], ["y", "{}"]]}, {"examples": [["", "{}"], ["y", "{}"]]}),
        ({"text": SECRET, "annotated": "<A>Mrs.</A>"}, {"text": "", "annotated": ""}),
        ({"text": "other", "drafted": "<A>other</A>"}, {"text": "other", "drafted": "<A>other</A>"}),
        ({"labels": [SHORT, "b"], "n": 1, "none": None}, {"labels": [SHORT, "b"], "n": 1, "none": None}),
        ({"said": f'it took "{SHORT}" for it'}, {"said": "it took  for it"}),
        ({"said": f"what {SHORT} is"}, {"said": f"what {SHORT} is"}),
        ({"anything": SECRET}, {"anything": ""}),
        ({"anything": f"before {SECRET[:70]} … after"}, {"anything": "before  … after"}),
        ({"deep": [{"text": f'["{SECRET}", "{OTHER}"]'}]}, {"deep": [{"text": f'["", "{OTHER}"]'}]}),
    ],
)  # fmt: skip
def test_texts_are_found_where_documents_hold_or_quote_them(document: Any, without: Any) -> None:
    assert DeletedTexts([SHORT, SECRET, ""]).without(document, "", "anywhere") == without


BEGINNING = "Dear Sir or Madam, I am writing to you about my recent order, "


@pytest.mark.parametrize(
    ("document", "without"),
    [
        ({"examples": [[LONG[:200] + " …", "fruit"]]}, {"examples": [["", "fruit"]]}),
        ({"text": BEGINNING + "which is late"}, {"text": BEGINNING + "which is late"}),
        ({"labels": [SECRET, "other"]}, {"labels": [SECRET, "other"]}),
    ],
    ids=["cut short", "another text with the same beginning", "a label of the same words"],
)
def test_a_shortened_text_is_removed_as_a_whole_or_stays(document: Any, without: Any) -> None:
    gone = DeletedTexts([LONG, SECRET, BEGINNING + "which never came"])
    assert gone.without(document, "", "nowhere") == gone.without(document, "", "in prose") == without
