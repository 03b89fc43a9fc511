"""Quotes of spans, with tags around them and a few words before and after them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.kinds.spans.quotes import CONTEXT_WORDS, MAX_PART_CHARACTERS, quote_spans
from ml_backend.kinds.spans.values import Span

TEXT = "one two three four five six seven Ann Lee went to Paris on day nine with all her many friends from Rome"


def span_of(marked: str, label: str) -> Span:
    return TEXT.index(marked), TEXT.index(marked) + len(marked), label


def test_a_span_is_quoted_between_tags_with_some_words_around_it() -> None:
    assert quote_spans([span_of("Ann Lee", "Person")], TEXT) == (
        "… two three four five six seven <Person>Ann Lee</Person> went to Paris on day nine …"
    )
    assert quote_spans([span_of("Rome", "Place")], TEXT).endswith("many friends from <Place>Rome</Place>")
    assert quote_spans([span_of("Rome", "Place")], TEXT, in_context=False) == "<Place>Rome</Place>"


def test_tags_of_nested_spans_are_nested() -> None:
    spans = [span_of("Lee", "Surname"), span_of("Ann Lee", "Person"), span_of("Ann Lee", "Author")]
    quote = quote_spans(spans, TEXT, in_context=False)
    assert quote == "<Author><Person>Ann <Surname>Lee</Surname></Person></Author>"


def test_a_quote_of_a_text_of_several_lines_is_one_line() -> None:
    assert quote_spans([(5, 8, "A")], "in\r\n\tAnn\n \nwe") == "in <A>Ann</A> we"


def test_what_is_not_in_the_text_is_not_quoted() -> None:
    assert quote_spans([], TEXT) == ""
    assert quote_spans([(0, 3, "A"), (90, 900, "A")], TEXT) == ""
    assert quote_spans([(0, 3, "A")], "") == ""


def test_words_of_scripts_without_blanks_are_counted_by_character() -> None:
    text = "我" * 20 + "北京" + "你" * 20
    assert quote_spans([(20, 22, "地")], text) == f"… {'我' * CONTEXT_WORDS}<地>北京</地>{'你' * CONTEXT_WORDS} …"


texts = st.text(st.characters(codec="utf-8", exclude_characters="<>…"), min_size=1, max_size=MAX_PART_CHARACTERS)


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(texts)
    offsets = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    pairs = draw(st.lists(offsets.filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=4))
    return text, [(min(pair), max(pair), label) for pair, label in zip(pairs, "ABCD", strict=False)]


@given(marked_texts())
def test_without_its_tags_a_quote_is_a_part_of_the_text(marked: tuple[str, list[Span]]) -> None:
    text, spans = marked
    first, last = min(start for start, _, _ in spans), max(end for _, end, _ in spans)
    alone, in_context = quote_spans(spans, text, in_context=False), quote_spans(spans, text)
    plain = [re.sub(r"</?[A-D]>|…", "", quote) for quote in (alone, in_context)]
    assert "".join(plain[0].split()) == "".join(text[first:last].split())
    assert "".join(plain[0].split()) in "".join(plain[1].split()) and alone in in_context
    assert "".join(plain[1].split()) in "".join(text.split())
    for _, _, label in spans:
        assert alone.count(f"<{label}>") == alone.count(f"</{label}>") == 1
        assert alone.index(f"<{label}>") < alone.index(f"</{label}>")


@given(st.integers(1, 50), st.integers(1, 20_000))
def test_a_quote_of_a_long_text_is_short(before: int, length: int) -> None:
    text = "word " * before + "x" * length + " word" * 4000
    quote = quote_spans([(5 * before, 5 * before + length, "A")], text)
    assert len(quote) < 400
