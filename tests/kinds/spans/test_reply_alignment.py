"""A span is found at its characters from what a teacher says of it, also if the teacher has not copied it exactly."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from unicodedata import normalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from timing import takes_linear_time

from ml_backend.kinds.spans.reply_alignment import MAX_INEXACT_LENGTH, SpanFinder, Way

ANY_TEXT = st.text(max_size=40) | st.text("ab A@\u2019'&;.-\u0301é\u200b\n가ﬁ日", max_size=40)
WORDS = st.lists(st.sampled_from(("art", "start", "a", "aa", "the", "art-a")), min_size=1, max_size=12)
MARKED = st.lists(
    st.sampled_from(("Zoë's", 'Q"R"', "X\u2013Y", "ﬁve", "C & D", "\uff371", "é", "K\u200bL")), min_size=1, max_size=4
)
MANGLING: dict[str, Callable[[str], str]] = {
    "blanks": lambda text: text.replace(" ", " \u00a0\n"),
    "composed": lambda text: normalize("NFKC", text),
    "decomposed": lambda text: normalize("NFKD", text),
    "entities": escape,
    "numeric entities": lambda text: text.replace("&", "&#38;").replace("é", "&#xe9;"),
    "curly quotes": lambda text: text.replace("'", "\u2019").replace('"', "\u201d"),
    "plain dashes": lambda text: text.replace("\u2013", "-"),
    "invisible characters": lambda text: text.replace("\u200b", ""),
}


def found(text: str, marked: str, occurrence: int | None = None, before: str = "") -> tuple[str, Way] | None:
    """The characters that are found, and the way."""
    span = SpanFinder(text).find(marked, occurrence, before)
    return (text[span.start : span.end], span.way) if span else None


@given(ANY_TEXT, st.data())
def test_any_span_of_any_text_is_found_at_its_characters(text: str, data: st.DataObject) -> None:
    assume(text)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    finder = SpanFinder(text)
    span = finder.find(text[start:end], finder.occurrence_of(start, end), " ".join(text[:start].split()[-3:]))
    assert span and (span.start, span.end) == (start, end) and span.is_certain


@given(WORDS, st.data())
def test_occurrences_are_counted_word_by_word_and_then_inside_words(words: list[str], data: st.DataObject) -> None:
    text, marked = " ".join(words), data.draw(st.sampled_from(words))
    places = [i for i in range(len(text)) if text[i : i + len(marked)] == marked]
    padded = f" {text} ".replace("-", " ")
    in_order = sorted(places, key=lambda i: (padded[i] != " " or padded[i + len(marked) + 1] != " ", i))
    finder = SpanFinder(text)
    for number, start in enumerate(in_order, start=1):
        span = finder.find(marked, number)
        assert span and span.start == start and finder.occurrence_of(start, start + len(marked)) == number
    assert SpanFinder(text).find(marked, len(places) + 1)


@given(st.integers(2, 9), st.data())
def test_the_words_before_a_span_count_more_than_a_wrong_number(n: int, data: st.DataObject) -> None:
    text = " ".join(f"word{i} the term" for i in range(n))
    chosen = data.draw(st.integers(0, n - 1))
    number = data.draw(st.none() | st.integers(-3, 10**9))
    span = SpanFinder(text).find("term", number, f"word{chosen}  the")
    assert span and span.is_certain and text[: span.end].split()[-3:] == [f"word{chosen}", "the", "term"]
    assert span.way == ("occurrence" if number == chosen + 1 else "before")


@pytest.mark.parametrize("mangling", MANGLING)
@given(words=MARKED, before=st.sampled_from(("", "m ", "m\u2019 ", "\U0001f600&amp; ")), is_reply=st.booleans())
def test_a_mangled_span_is_found(mangling: str, words: list[str], before: str, is_reply: bool) -> None:
    plain, mangled = " ".join(words), MANGLING[mangling](" ".join(words))
    marked, copied = (plain, mangled) if is_reply else (mangled, plain)
    text = f"{before}{marked} m"
    span = SpanFinder(text).find(copied, 1)
    assert span and text[span.start : span.end] == marked
    assert span.way == "normalized" or marked == copied


@given(st.lists(st.sampled_from(("Rome", "the", "OLD", "town")), min_size=1, max_size=5, unique=True), st.data())
def test_another_case_is_found_if_it_is_unique(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(words))
    other = word.swapcase()
    assert found(" ".join(words), other) == (word, "case")
    assert found(f"{' '.join(words)} {word}", other) is None
    assert found(f"{' '.join(words)} then {word}", other, before="THEN") == (word, "case")


@pytest.mark.parametrize(
    ("text", "marked", "expected"),
    [
        ("in N . Y . now", "N. Y.", ("N . Y .", "case")),
        ("by George Parks today", '"George Parks".', ("George Parks", "trimmed")),
        ("by George Parks today", "(george parks)", ("George Parks", "trimmed")),
        ("by #Parks today", "(#parks)", ("#Parks", "trimmed")),
        ("AT&amp;T pays", "AT&T", ("AT&amp;T", "normalized")),
        ("AT&T pays", "AT&amp;T", ("AT&T", "normalized")),
        ("a cafe\u0301 here", "café", ("cafe\u0301", "normalized")),
        ("a café here", "cafe", None),
        ("straße 1", "STRASSE", ("straße", "case")),
        ("RT @TMZ : sources tell TMZ", "TMZ", ("TMZ", "occurrence")),
        ("nothing", "else", None),
        ("", "a", None),
        ("a", "", None),
        ("a . b", "...", None),
        ("a", "a" * 9, None),
    ],
)
def test_examples(text: str, marked: str, expected: tuple[str, Way] | None) -> None:
    assert found(text, marked, 1) == expected


def test_a_user_name_comes_after_the_words() -> None:
    span = SpanFinder("RT @TMZ : sources tell TMZ").find("TMZ", 1)
    assert span and span.start == 23


def test_without_a_number_the_occurrences_are_taken_in_turn_and_are_uncertain() -> None:
    finder = SpanFinder("Rome to Rome")
    spans = [finder.find("Rome") for _ in range(3)]
    assert [span and (span.start, span.is_certain) for span in spans] == [(0, False), (8, False), (0, False)]
    only = SpanFinder("to Rome").find("Rome", 10**9)
    assert only and only.is_certain


def test_a_long_text_is_found_only_literally() -> None:
    text = "a" * (MAX_INEXACT_LENGTH + 1)
    assert found(f"b {text}", text) == (text, "occurrence")
    assert found(f"b {text}", text.upper()) is None


@pytest.mark.parametrize("unit", ["a", "a\u0301", "\u0301\u0323", "&amp; ", "ﷺ"])
@pytest.mark.parametrize("is_in_text", [True, False])
def test_the_time_for_many_spans_is_proportional_to_the_length_of_the_text(unit: str, is_in_text: bool) -> None:
    def find_spans(length: int) -> None:
        text = (unit * length)[:length]
        finder = SpanFinder(text)
        for i in range(200):
            finder.find(text[: i + 1] + ("" if is_in_text else "\U0001f600"), 10**9, text[:300])

    assert takes_linear_time(find_spans, 20_000)
