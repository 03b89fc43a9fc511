"""Cuts texts into words, in whatever script they are written.

A word is a run of letters, marks and digits; a URL, an e-mail address, a @name or a #tag is one word. Scripts that put
no blanks between words are cut into single characters, as are punctuation and emoji. A character is what a reader takes
for one: an extended grapheme cluster (Unicode Standard Annex 29), so that no accent and no part of an emoji stands
alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import regex

_WITHOUT_BLANKS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_LETTERS = rf"(?:(?![{_WITHOUT_BLANKS}])[\p{{L}}\p{{N}}_][\p{{M}}\u200d]*+)++"
_ADDRESS = r"https?://\S++|www\.\S++|[\w.+-]{1,64}+@[\w-]{1,64}+\.[\w.-]++"
_WORD = regex.compile(rf"{_ADDRESS}|[@#]?{_LETTERS}|(?=\S)\X")


def count_words(text: str) -> int:
    """The number of words of a text."""
    return sum(1 for _ in _WORD.finditer(text))


def words_of(text: str) -> list[str]:
    """The words of a text, in their order."""
    return [text[start:end] for start, end in zip(*word_offsets(text), strict=True)]


def word_offsets(text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(w,) the first character of each word, and (w,) the character behind it."""
    # a character that stands before others takes a blank behind it with it
    words = ((match.start(), match.group()) for match in _WORD.finditer(text))
    spans = [(start, start + len(word.rstrip() or word)) for start, word in words]
    offsets = np.array(spans, np.int64).reshape(-1, 2)
    return offsets[:, 0], offsets[:, 1]
