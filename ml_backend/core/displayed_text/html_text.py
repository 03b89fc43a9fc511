"""Extracts the visible text of HTML, as a `HyperText` tag shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape

import numpy as np

from ml_backend.core.arrays import Ints

# each expression takes time in proportion to the length of any text; the HTML parser of the standard library does not
_INVISIBLE = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.IGNORECASE | re.DOTALL)
_INLINE_TAGS = "a abbr b bdi bdo cite code em font i kbd mark q s small span strong sub sup tt u var wbr"
_INLINE = re.compile(rf"</?(?:{_INLINE_TAGS.replace(' ', '|')})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>|<[!?][^<>]*>", re.IGNORECASE)
_REPLACED = ((_INVISIBLE, " "), (_INLINE, ""), (_TAG, " "))
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")  # what `unescape` looks for
_WORD = re.compile(r"\S+")


def visible_text(html: str) -> str:
    """The text that a reader sees, in one line. Text that is not HTML is returned as it is, with single blanks."""
    for pattern, replacement in _REPLACED:
        html = pattern.sub(replacement, html)
    return " ".join(unescape(html).split())


def visible_characters(html: str) -> tuple[str, Ints]:
    """The visible text, and for each of its characters (n,) the offset in the HTML of the character, of the character
    reference, or of the blanks or tags that it stands for."""
    text = html
    sources: Ints = np.arange(len(html))
    for pattern, replacement in _REPLACED:
        text, sources = _replace(text, sources, ((match, replacement) for match in pattern.finditer(text)))
    text, sources = unescape_characters(text, sources)
    text, begins, _ = single_blanks(text)
    return text, sources[begins]


def unescape_characters(text: str, sources: Ints, invalid: str = "") -> tuple[str, Ints]:
    """The text with the characters that character references stand for. `sources` (n,) are numbers of the characters;
    returns those of the characters of the new text (m,). `invalid`: what replaces references to no valid character"""
    references = _REFERENCE.finditer(text)
    return _replace(text, sources, ((match, unescape(match[0]) or invalid) for match in references))


def single_blanks(text: str) -> tuple[str, Ints, Ints]:
    """The text with single blanks and none at its ends; and for each of its characters (m,) the offset in the text at
    which it begins, and that at which it ends. A blank stands for all blanks between two words."""
    words = [word.span() for word in _WORD.finditer(text)]
    if not words:
        return "", np.zeros(0, np.int64), np.zeros(0, np.int64)
    begins = np.concatenate([np.arange(first, end + 1) for first, end in words])[:-1]
    return " ".join(text.split()), begins, np.append(begins[1:], words[-1][1])


def _replace(text: str, sources: Ints, replacements: Iterable[tuple[re.Match[str], str]]) -> tuple[str, Ints]:
    """Replaces matches in the text. A character of a replacement has the source of the match or, if the match ends with
    the same characters, that of the same character."""
    pieces: list[str] = []
    piece_sources: list[Ints] = []
    done = 0
    for match, new in replacements:
        start, end = match.span()
        kept = _common_ending(match[0], new)
        pieces += [text[done:start], new]
        piece_sources += [
            sources[done:start],
            np.full(len(new) - kept, sources[start]),
            sources[end - kept : end],
        ]
        done = end
    return "".join([*pieces, text[done:]]), np.concatenate([*piece_sources, sources[done:]])


def _common_ending(first: str, second: str) -> int:
    """The number of equal characters at the ends of two texts."""
    length = 0
    while length < min(len(first), len(second)) and first[-1 - length] == second[-1 - length]:
        length += 1
    return length
