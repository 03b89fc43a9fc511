"""Finds and removes texts of deleted tasks in documents that quote them.

One search finds all texts (Aho and Corasick, "Efficient String Matching", 1975): its time depends on the length of the
document, and not on the number of texts.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

from ahocorasick import Automaton

PREFIX_CHARACTERS = 60
"""Number of characters at the beginning of a text that identify it, even if the quote ends after them."""
MIN_CHARACTERS_UNQUOTED = 20
"""A shorter text may be a label's name or a common phrase. It is removed where documents hold texts, and elsewhere only
between quotation marks."""
TEXT_KEYS = {"text", "texts", "examples", "records", "hard", "easy"}
"""Keys under which documents hold texts."""
LABEL_KEYS = {"labels", "label", "label_fields", "shares", "reply", "choices", "instead"}
"""Keys under which documents hold names of labels, which may be equal to texts."""
EXAMPLES, TEXT, MARKED_KEYS = "examples", "text", ("annotated", "drafted")
"""The key under which documents hold few-shot examples, pairs of a text and a reply that may quote the text; and the
keys of quotes in which parts of the text beside them, under the key TEXT, are marked."""
ELLIPSIS = "…"
"""The end of a text that was shortened."""
Quoting = Literal["anywhere", "in prose", "nowhere"]
"""Which strings of a document may quote a text: all strings; strings that are not under one of `TEXT_KEYS`; or no
string, because each is either a whole text or unrelated."""


class DeletedTexts:
    """Finds a set of texts in documents. Also finds shortened texts, texts whose white space was collapsed, and texts
    that are escaped in JSON."""

    def __init__(self, texts: Collection[str]) -> None:
        self._variants = {
            variant for text in texts for variant in (text, " ".join(text.split()), *_json_escaped(text)) if variant
        }
        self._sorted_variants = sorted(self._variants)
        quotes = {variant if len(variant) >= MIN_CHARACTERS_UNQUOTED else f'"{variant}"' for variant in self._variants}
        self._automaton = Automaton()
        for prefix, quotes_with_prefix in groupby(sorted(quotes), lambda quote: quote[:PREFIX_CHARACTERS]):
            self._automaton.add_word(prefix, (len(prefix), list(quotes_with_prefix)))
        self._automaton.make_automaton()

    def changes(self, document: Mapping[str, Any], quoting: Quoting) -> dict[str, Any]:
        """Returns the columns of a row that change when the texts are removed, with their new values."""
        cleaned = {name: self.without(value, name, quoting) for name, value in document.items()}
        return {name: value for name, value in cleaned.items() if value != document[name]}

    def without(self, value: Any, name: str, quoting: Quoting) -> Any:
        """Returns a JSON value without the texts. A string that is one of the texts becomes "", and so do the quotes
        beside it in which its parts are marked; a reply to it in a few-shot example becomes "{}".

        name  the key or the column of the value; lists pass it on to their items
        """
        if name in LABEL_KEYS:
            return value
        if isinstance(value, dict):
            cleaned = {key: self.without(inner, str(key), quoting) for key, inner in value.items()}
            is_erased = bool(value.get(TEXT)) and not cleaned[TEXT]
            return cleaned | dict.fromkeys(value.keys() & MARKED_KEYS, "") if is_erased else cleaned
        if isinstance(value, list | tuple):
            items = [self.without(inner, name, quoting) for inner in value]
            return ["", "{}"] if name == EXAMPLES and _is_example_of_erased(value, items) else items
        if not isinstance(value, str) or not value:
            return value
        if (name in TEXT_KEYS or len(value) >= MIN_CHARACTERS_UNQUOTED) and self._is_deleted(value):
            return ""
        may_quote = quoting == "anywhere" or (quoting == "in prose" and name not in TEXT_KEYS)
        return self._without_quotes(value, name, quoting) if may_quote else value

    def _is_deleted(self, value: str) -> bool:
        """Returns whether a string is one of the texts, whole or shortened."""
        if value in self._variants:
            return True
        if not value.endswith(ELLIPSIS):
            return False
        prefix = value.removesuffix(ELLIPSIS).rstrip()
        at = bisect_left(self._sorted_variants, prefix)
        longer = next((variant for variant in self._sorted_variants[at : at + 2] if variant != prefix), "")
        return bool(longer) and longer.startswith(prefix)

    def _without_quotes(self, value: str, name: str, quoting: Quoting) -> str:
        if value.startswith(("[", "{")):
            try:
                document = json.loads(value)
            except ValueError:
                return self._cut_quotes(value)
            cleaned = self.without(document, name, quoting)
            return value if cleaned == document else json.dumps(cleaned, ensure_ascii=False)
        return self._cut_quotes(value)

    def _cut_quotes(self, value: str) -> str:
        """Removes from a string each quote of a text, as far as it agrees with the text from the text's beginning."""
        while spans := list(self._quote_spans(value)):
            parts, end = [], 0
            for start, stop in spans:
                parts.append(value[end:start])
                end = stop
            value = "".join([*parts, value[end:]])  # search again: the parts together may form another quote
        return value

    def _quote_spans(self, value: str) -> Iterator[tuple[int, int]]:
        """Yields start and end of each quote in ascending order, without overlaps."""
        lengths: dict[int, int] = {}  # start of a quote -> its length
        for last, (length, quotes) in self._automaton.iter(value) if self._variants else ():
            start = last + 1 - length
            lengths[start] = max(lengths.get(start, 0), *(_common_length(quote, value, start) for quote in quotes))
        end = 0
        for start, length in sorted(lengths.items()):
            if start >= end:
                end = start + length
                yield start, end


def _is_example_of_erased(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Returns whether a list is a text that was removed and the JSON of a reply to it."""
    is_pair = len(after) == 2 and all(isinstance(item, str) for item in after)
    return is_pair and bool(before[0]) and not after[0] and after[1].startswith("{")


def _json_escaped(text: str) -> tuple[str, str]:
    """Returns a text as it appears in JSON, with and without escapes for characters outside ASCII."""
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _common_length(quote: str, value: str, start: int) -> int:
    """Returns the length of the longest prefix of `quote` that is in `value` at `start`."""
    low, high = 0, len(quote)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if value.startswith(quote[:middle], start) else (low, middle - 1)
    return low
