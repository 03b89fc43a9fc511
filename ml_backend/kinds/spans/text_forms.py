"""Forms of a text in which a marked text is found although a language model has not copied it exactly: normalized, so
that characters that look alike are equal; and folded, so that also upper and lower case are equal, and blanks do not
count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import unescape
from unicodedata import category, combining, normalize

from ml_backend.core.words import word_offsets

MAX_OCCURRENCES = 50_000
"""Occurrences of all marked texts in one form that are looked at, so that a reply takes a bounded time."""
MAX_CONTEXT_LENGTH = 500
"""Characters, with all blanks, in which the words before a span are looked for."""
MAX_UNIT_LENGTH = 32
"""Characters of a letter with its accents: an accent beyond them counts as a letter, so that the time is linear."""

_UNIT = re.compile(r"&(?:#\w{1,8}|[A-Za-z]\w{1,30});|\s+|.", re.DOTALL)
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4\u0060\u02bc\u2039\u203a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\ufe58\ufe63\uff0d", "-"),
    }
)
"""Quotation marks and dashes, and those that stand for them."""


@dataclass(frozen=True)
class TextForm:
    """A form of `text`, of which character i stands for the characters from starts[i] to before ends[i] of the text."""

    text: str
    characters: str
    starts: Sequence[int]
    ends: Sequence[int]
    _occurrences: dict[str, list[int]] = field(default_factory=dict)
    _budget: Iterator[int] = field(default_factory=lambda: iter(range(MAX_OCCURRENCES)))

    def occurrences(self, marked: str) -> list[int]:
        """Where `marked` begins in `characters`: first the occurrences that consist of whole words, because a teacher
        that counts occurrences does not look into words. Each in the order of the text."""
        if marked not in self._occurrences:
            found, at = [], self.characters.find(marked)
            while at >= 0 and next(self._budget, None) is not None:
                if self._is_divided(at) and self._is_divided(at + len(marked)):
                    found.append(at)
                at = self.characters.find(marked, at + 1)
            if len(found) > 1:
                found.sort(key=lambda at: not self._is_whole(at, marked))
            self._occurrences[marked] = found
        return self._occurrences[marked]

    def is_after(self, before: str, start: int) -> bool:
        """Whether the words `before`, with one blank between them, are those before character `start`."""
        return " ".join(self.characters[max(start - MAX_CONTEXT_LENGTH, 0) : start].split()).endswith(before)

    def after(self, before: str, marked: str) -> int | None:
        """The only occurrence of `marked` that follows the words `before`; None if there is none, or several."""
        for joined in (f"{before} {marked}", before + marked) if before else ():
            at = self.characters.find(joined)
            if at >= 0 and at == self.characters.rfind(joined):
                start = at + len(joined) - len(marked)
                return start if start in self.occurrences(marked) else None
        return None

    def only(self, marked: str) -> int | None:
        """The only occurrence of `marked`, or the only one that consists of whole words."""
        starts = self.occurrences(marked)
        whole = [at for at in starts[:2] if self._is_whole(at, marked)]
        return starts[0] if len(starts) == 1 or len(whole) == 1 else None

    def span(self, start: int, marked: str) -> tuple[int, int]:
        """The characters of the text that an occurrence of `marked` stands for."""
        return self.starts[start], self.ends[start + len(marked) - 1]

    def _is_divided(self, i: int) -> bool:
        """Whether characters i - 1 and i stand for different characters of the text."""
        return i in (0, len(self.starts)) or self.starts[i] != self.starts[i - 1]

    def _is_whole(self, start: int, marked: str) -> bool:
        first, end = self.span(start, marked)
        starts, ends = self._words
        is_name = first > 0 and self.text[first - 1] in "@#"  # of a user or a topic
        return first in starts and end in ends and not is_name

    @cached_property
    def _words(self) -> tuple[frozenset[int], frozenset[int]]:
        """Where words of the text begin, and where they end."""
        starts, ends = word_offsets(self.text)
        return frozenset(starts.tolist()), frozenset(ends.tolist())


def exact(text: str) -> TextForm:
    """The form that equals the text."""
    return TextForm(text, text, range(len(text)), range(1, len(text) + 1))


def normalized(text: str) -> TextForm:
    """The form with compatibility decomposition (NFKD: what is equal in it is so in NFKC, too), with one quotation mark
    of each kind and one dash, with each run of blanks as one blank, with the characters that HTML entities mean, and
    without invisible characters. A letter and its accents stand for all their characters together."""
    return _joined(text, _units(text))


def normalize_marked(marked: str) -> str:
    """The characters of a marked text in its normalized form, without blanks around them."""
    return "".join(characters for characters, _, _ in _units(marked.strip()))


def _units(text: str) -> list[tuple[str, int, int]]:
    """The parts of the text that are normalized as a whole: their normalized characters, and where each part begins and
    ends."""
    units: list[tuple[str, int, int]] = []
    for match in _UNIT.finditer(text):
        plain, start, end = _plain(match[0]), *match.span()
        if units and plain and _belongs_to(units[-1][0], plain):
            previous, start, _ = units.pop()
            plain = plain if plain == " " else normalize("NFKD", previous + plain)
        if plain:
            units.append((plain, start, end))
    return units


def folded(form: TextForm) -> TextForm:
    """A form without upper case and without blanks."""
    return _joined(form.text, zip(map(fold, form.characters), form.starts, form.ends, strict=True))


def fold(characters: str) -> str:
    """Characters of a normalized form in its folded form."""
    return characters.casefold().replace(" ", "")


def _joined(text: str, units: Iterable[tuple[str, int, int]]) -> TextForm:
    """A form of the text from parts with the characters that each stands for."""
    characters = [(character, start, end) for part, start, end in units for character in part]
    return TextForm(
        text,
        "".join(character for character, _, _ in characters),
        [start for _, start, _ in characters],
        [end for _, _, end in characters],
    )


def _belongs_to(previous: str, plain: str) -> bool:
    """Whether normalized characters form a unit with those before them: blanks, or a letter and its accents."""
    return plain == previous == " " or (combining(plain[0]) > 0 and len(previous) < MAX_UNIT_LENGTH)


@lru_cache(10_000)
def _plain(unit: str) -> str:
    """The normalized form of a run of blanks, of an entity, or of a character."""
    if unit.isspace():
        return " "
    plain = normalize("NFKD", (unescape(unit) if unit[0] == "&" else unit).translate(_ALIKE)).translate(_ALIKE)
    return "".join(" " if character.isspace() else character for character in plain if category(character) != "Cf")
