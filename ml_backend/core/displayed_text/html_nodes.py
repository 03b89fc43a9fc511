"""Finds the text nodes of HTML, as Label Studio 1.23 shows it in a browser.

Label Studio removes comments, scripts and frames (with sanitize-html, which uses htmlparser2), closes what is left
open, and has the browser parse the result. The rules here are those of both parsers, as far as they decide which
characters are displayed and in which order; docs/labelling-spans.md says what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.displayed_text.html_text import unescape_characters
from ml_backend.core.displayed_text.html_tree import HtmlTree, TextNode

# each alternative matches once it has begun, so that the time is in proportion to the length of any text
_TOKEN = re.compile(
    r"<!(?=--)(?:.*?-->|.*)|<!\[CDATA\[(?:.*?\]\]>|.*)|<[!?][^>]*+>?"
    r"|</\s*+(?!>)(?P<closed>[a-z][^\s>]*+)?[^>]*+>?"
    r"""|<(?P<opened>[a-z][^\s/>]*+)(?:[^=>]|=\s*+(?:"[^"]*+"?|'[^']*+'?)?+)*+>?""",
    re.IGNORECASE | re.DOTALL,
)
_RAW = ("script", "style", "title")
_RAW_ENDS = {name: re.compile(rf"</{name}(?=[\s>])", re.IGNORECASE) for name in _RAW}
_LINE_BREAK = re.compile(r"\r\n?")


@dataclass(frozen=True, slots=True)
class HtmlNodes:
    """The text nodes of displayed HTML.

    nodes      in their order
    sources    (m,) for each character of the nodes its offset in the HTML, or that of its character reference
    """

    nodes: tuple[TextNode, ...]
    sources: Ints


def read_nodes(html: str, *, inline: bool = False) -> HtmlNodes | None:
    """The text nodes, None if a browser moves text to other places, as it does with text in tables outside of cells.
    `inline`: whether the HTML is a part of the labelling screen instead of a document of its own"""
    tree = HtmlTree(inline)
    sources: list[Ints] = [np.zeros(0, np.int64)]
    for first, end, is_raw, opened, closed in _tokens(html):
        if opened:
            tree.open(opened)
        elif closed:
            tree.close(closed)
        elif first < end:
            text, offsets = _characters(html, first, end, is_raw)
            kept = tree.add_text(text)
            sources.append(offsets[len(text) - kept :])
    return HtmlNodes(tuple(tree.nodes), np.concatenate(sources)) if tree.is_ordered else None


def _characters(html: str, first: int, end: int, is_raw: bool) -> tuple[str, Ints]:
    text = html[first:end]
    offsets: Ints = np.arange(first, end)
    if "&" in text and not is_raw:
        text, offsets = unescape_characters(text, offsets, invalid="\ufffd")
    if "\r" in text:
        starts = np.array([match.start() for match in _LINE_BREAK.finditer(text) if match[0] == "\r\n"], np.int64)
        return _LINE_BREAK.sub("\n", text), np.delete(offsets, starts)
    return text, offsets


def _tokens(html: str) -> Iterator[tuple[int, int, bool, str, str]]:
    """Yields the texts and tags: the offsets of a text, and whether it has no character references; or the name of an
    opened, or of a closed element."""
    done = 0
    while match := _TOKEN.search(html, done):
        yield done, match.start(), False, "", ""
        done = match.end()
        opened, closed = ((match[name] or "").lower() for name in ("opened", "closed"))
        yield done, done, False, opened, closed
        if opened in _RAW:
            raw_end = _RAW_ENDS[opened].search(html, done)
            end = raw_end.start() if raw_end else len(html)
            yield done, end, opened != "title", "", ""
            done = end
    yield done, len(html), False, "", ""
