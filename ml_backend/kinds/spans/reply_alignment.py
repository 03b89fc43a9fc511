"""Finds the characters that a span of a teacher's reply means.

Language models cannot count characters (arXiv 2601.16946). Therefore a reply says which text is marked, which of its
occurrences, and which words are before it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from unicodedata import category

from ml_backend.kinds.spans.text_forms import TextForm, exact, fold, folded, normalize_marked, normalized

Way = Literal["occurrence", "before", "normalized", "case", "trimmed"]
"""How a span was found: literally, and it is the occurrence with the number of the reply, or the only one; literally,
and it is the only occurrence after the words before it; after normalization; as the only text with the same letters in
upper or lower case, or the only one after the words before it; or after the punctuation around it was removed."""

MAX_INEXACT_LENGTH = 300
"""Characters of a marked text. A longer text is only found literally."""
MAX_BEFORE_LENGTH = 100
"""Characters, from the last, of the words before a span."""


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """The characters of a text from `start` to before `end`. `is_certain`: False if others may be meant as well"""

    start: int
    end: int
    way: Way
    is_certain: bool = True


class SpanFinder:
    """Finds the spans of one reply in the text that it is about, each in time proportional to the text's length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._exact = exact(text)
        self._undecided = Counter[str]()

    @cached_property
    def _normalized(self) -> TextForm:
        return normalized(self._text)

    @cached_property
    def _folded(self) -> TextForm:
        return folded(self._normalized)

    def find(self, marked: str, occurrence: int | None = None, before: str = "") -> FoundSpan | None:
        """Finds a marked text; None if it is not found.

        occurrence  its number among the occurrences, from 1, None if it is not known
        before      up to three words before it, "" if they are not known. They count more than `occurrence` if only one
                    occurrence follows them, because language models are bad at counting

        If the reply does not tell which occurrence it means, then it is the first that was not found yet.
        """
        before = " ".join(before[-MAX_BEFORE_LENGTH:].split())
        if found := self._located(self._exact, marked, occurrence, before):
            return found
        if len(marked) > MAX_INEXACT_LENGTH:
            return None
        before, plain = normalize_marked(before), normalize_marked(marked)
        trimmed = plain.strip("".join(character for character in {*plain} - {*"@#"} if category(character)[0] in "PSZ"))
        return (
            self._located(self._normalized, plain, occurrence, before, "normalized")
            or self._folded_span(plain, before, "case")
            or self._located(self._normalized, trimmed, occurrence, before, "trimmed")
            or self._folded_span(trimmed, before, "trimmed")
        )

    def occurrence_of(self, start: int, end: int) -> int:
        """The number with which `find` finds a span of the text; 1 if there are too many."""
        starts = self._exact.occurrences(self._text[start:end])
        return starts.index(start) + 1 if start in starts else 1

    def _located(
        self, form: TextForm, marked: str, occurrence: int | None, before: str, way: Way | None = None
    ) -> FoundSpan | None:
        starts = form.occurrences(marked) if marked else []
        if not starts:
            return None
        numbered = starts[occurrence - 1] if occurrence is not None and 1 <= occurrence <= len(starts) else None
        if len(starts) > 1 and (numbered is None or not form.is_after(before, numbered)):
            following = form.after(before, marked)
            if following is not None:
                return FoundSpan(*form.span(following, marked), way or "before")
        is_certain = numbered is not None or len(starts) == 1
        start = starts[self._undecided[marked] % len(starts)] if numbered is None else numbered
        self._undecided[marked] += not is_certain
        return FoundSpan(*form.span(start, marked), way or "occurrence", is_certain)

    def _folded_span(self, marked: str, before: str, way: Way) -> FoundSpan | None:
        """The only occurrence in the folded form, or the only one after the words before it."""
        marked = fold(marked)
        if not marked:
            return None
        start = self._folded.only(marked)
        start = self._folded.after(fold(before), marked) if start is None else start
        return None if start is None else FoundSpan(*self._folded.span(start, marked), way)
