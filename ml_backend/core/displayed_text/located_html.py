"""Finds the characters of the visible text of HTML on the labelling screen."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ml_backend.core.displayed_text.html_nodes import HtmlNodes, read_nodes
from ml_backend.core.displayed_text.html_text import visible_characters
from ml_backend.core.displayed_text.located_text import LocatedText


@lru_cache(maxsize=2)
def locate_html(html: str, *, inline: bool = False) -> LocatedText:
    """The `visible_text` and where Label Studio 1.23 displays its characters: the positions are those of its
    `globalOffsets`, and the keys of the blocks are its paths. Nothing is displayed where that is not known. `inline`:
    as in `read_nodes`"""
    text, sources = visible_characters(html)
    read = read_nodes(html, inline=inline) or HtmlNodes((), np.zeros(0, np.int64))
    displayed = "".join(node.text for node in read.nodes)
    positions = np.concatenate([sources[:0], *(node.start + np.arange(len(node.text)) for node in read.nodes)])
    blanks, displayed_blanks = (np.array([*map(str.isspace, characters)], np.bool_) for characters in (text, displayed))
    visible = np.array([node.is_visible for node in read.nodes for _ in node.text], np.bool_)
    # a blank is displayed by all blanks between the characters before and after it
    lows, highs = sources.copy(), sources + 1
    lows[blanks] = sources[np.flatnonzero(blanks) - 1] + 1
    highs[blanks] = sources[np.flatnonzero(blanks) + 1]
    begins, ends = np.zeros((2, len(text)), np.int64)
    for characters, displaying in ((blanks, displayed_blanks & visible), (~blanks, ~displayed_blanks & visible)):
        first, end = (np.searchsorted(read.sources[displaying], bounds[characters]) for bounds in (lows, highs))
        rows = np.flatnonzero(characters)[first < end]
        begins[rows] = positions[displaying][first[first < end]]
        ends[rows] = positions[displaying][end[first < end] - 1] + 1
    is_displayed = begins < ends
    ends = np.maximum.accumulate(ends)
    return LocatedText(text, np.where(is_displayed, begins, ends), ends, read.nodes)
