"""Writes a text anew with some of its words replaced. The rest stays as it is: blanks, punctuation, letter case."""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.arrays import Ints


def rewritten(text: str, starts: Ints, ends: Ints, replacements: Sequence[str | None]) -> str:
    """The text with its words replaced.

    starts, ends  (w,) the first character of each word, and the character behind it
    replacements  (w,) None for a word that stays, "" for one that is deleted with the blank before it
    """
    parts: list[str] = []
    deleted_gap, position = "", 0
    for start, end, replacement in zip(starts.tolist(), ends.tolist(), replacements, strict=True):
        gap, position = text[position:start], end
        if not parts:
            gap = text[: starts[0]]
        elif deleted_gap.count("\n") > gap.count("\n"):
            gap = deleted_gap
        written = text[start:end] if replacement is None else replacement
        if written:
            parts += [gap, written]
        deleted_gap = "" if written else gap
    if parts and _is_capitalised(text[starts[0] : ends[0]]):
        parts[1] = parts[1][:1].upper() + parts[1][1:]
    return "".join([*parts, text[position:]])


def _is_capitalised(word: str) -> bool:
    """Whether a word begins with a capital letter, as at the beginning of a sentence."""
    return word[:1].isupper() and (len(word) == 1 or not word.isupper())


def like(word: str, phrase: str) -> str:
    """A phrase in the letter case of the word in whose place it stands."""
    if len(word) > 1 and word.isupper():
        return phrase.upper()
    return phrase[:1].upper() + phrase[1:] if word[:1].isupper() else phrase


def unlike(word: str, phrase: str) -> str:
    """The inverse of `like`: a phrase without the letter case of the word in whose place it stands."""
    if len(word) > 1 and word.isupper() and phrase.isupper():
        return phrase.lower()
    return phrase[:1].lower() + phrase[1:] if word[:1].isupper() else phrase
