"""The characters of the visible text of HTML are found where a browser displays them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.displayed_text.html_nodes import read_nodes
from ml_backend.core.displayed_text.html_text import visible_characters, visible_text
from ml_backend.core.displayed_text.located_html import locate_html

CAPTURE = Path(__file__).with_name("hypertext_nodes.json")
CAPTURED = json.loads(CAPTURE.read_text())
"""HTML, and the path, the position and the text of each text node that Chromium had of it in Label Studio 1.23.2."""
any_html = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<b>", "</b>", "<br>", "<table>", "<tr>", "<td>", "</table>", "<li>", "<!--", "-->", "<script>",
         "</script>", "<style>", "</style>", "<title>", "<a href='", "'>", "&amp;", "&lt", "&#1;", "&NotEqualTilde;",
         "R&D", " ", "\r\n", "\n", "x", "y z", "é", "e\u0301", "😀", "ไทย", "<", ">", '"', "=", "<pre>", "\xa0"]
    ), max_size=12,
).map("".join) | st.text(max_size=30)  # fmt: skip


def positions_of(nodes: Any) -> list[tuple[int, str]]:
    return [(start + i, text) for _, start, characters in nodes for i, text in enumerate(characters)]


@pytest.mark.parametrize("inline", [False, True])
def test_the_text_nodes_are_those_that_a_browser_has(inline: bool) -> None:
    known_paths = unknown = 0
    for captured in CAPTURED:
        if captured["inline"] != inline or "&#1;" in captured["html"]:
            continue
        read = read_nodes(captured["html"], inline=inline)
        if read is None:
            unknown += 1
            continue
        nodes = [[node.key, node.start, node.text] for node in read.nodes]
        assert positions_of(nodes) == positions_of(captured["nodes"]), captured["html"]
        if all(path for path, *_ in nodes):
            assert nodes == captured["nodes"], captured["html"]
            known_paths += 1
    assert known_paths > 2 * unknown > 0


@given(any_html)
def test_the_characters_are_those_of_the_visible_text(html: str) -> None:
    text, sources = visible_characters(html)
    assert text == visible_text(html)
    assert len(sources) == len(text) and all(sources[:-1] <= sources[1:])


@given(any_html, st.booleans())
def test_each_character_is_displayed_at_its_position(html: str, inline: bool) -> None:
    located, read = locate_html(html, inline=inline), read_nodes(html, inline=inline)
    displayed = {} if read is None else dict(positions_of([(node.key, node.start, node.text) for node in read.nodes]))
    assert all(located.begins <= located.ends) and all(located.ends[:-1] <= located.ends[1:])
    for character, begin, end in zip(located.text, located.begins.tolist(), located.ends.tolist(), strict=True):
        at = [displayed[position] for position in range(begin, end) if position in displayed]
        assert begin == end or character in at or (character == " " and at and at[0].isspace() and at[-1].isspace())


@given(any_html, st.booleans())
def test_html_without_tables_and_heads_is_displayed_as_a_whole(html: str, inline: bool) -> None:
    unusual = ("<table", "<tr", "<td", "<title", "<style", "<script", "<!--", "<a", "<", ">")
    if any(name in html.replace("<b>", "").replace("</b>", "").replace("<p>", "").lower() for name in unusual):
        return
    located = locate_html(html, inline=inline)
    assert all(b < e for c, b, e in zip(located.text, located.begins, located.ends, strict=True) if c != " ")


characters = st.text("ab &<é😀ไ\n ", min_size=1, max_size=4)
element = st.recursive(
    characters.map(lambda text: escape(text).replace("\n", "\r\n")) | st.just("<br>"),
    lambda inner: st.builds(
        lambda name, content: f"<{name} title='>'>{''.join(content)}</{name}>",
        st.sampled_from(["div", "section", "span", "b", "i", "em", "blockquote"]), st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(element, max_size=4).map("".join), st.booleans())
def test_well_formed_html_is_read_as_lxml_reads_it(content: str, inline: bool) -> None:
    html = f"<div>{content}</div>"
    parsed = lxml.html.fragment_fromstring(html.replace("\r\n", "\n"))
    read = read_nodes(html, inline=inline)
    assert read is not None
    position = 0
    expected = []
    for path, text in lxml_texts(parsed, "/div[1]"):
        if text:
            expected.append((path, position, text))
        position += len(text) if text else 1
    assert [(node.key, node.start, node.text) for node in read.nodes] == expected


def lxml_texts(parent: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the text of each text node, and "" for each <br>."""
    counts = Counter[str]()
    for element, text in [(None, parent.text), *((child, child.tail) for child in parent)]:
        if element is not None:
            counts[element.tag] += 1
            child_path = f"{path}/{element.tag}[{counts[element.tag]}]"
            if element.tag == "br":
                yield child_path, ""
            else:
                yield from lxml_texts(element, child_path)
        if text:
            counts["text()"] += 1
            yield f"{path}/text()[{counts['text()']}]", text


def test_nothing_is_displayed_where_a_browser_moves_texts() -> None:
    located = locate_html("<table>stray<tr><td>cell</td></tr></table>")
    assert located.text == "stray cell"
    assert located.positions(0, 5) is None and located.span(0, 4) is None


def test_a_path_is_unknown_where_a_browser_moves_elements() -> None:
    located = locate_html("<p><span><div>x</div>y</span>z</p>")
    assert located.offsets(*(located.positions(0, 1) or ())) == ("", 0, "", 1)
    assert located.positions(0, 1) == (0, 1)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    ["<a ", "a<b ", "<!--", "<script ", "<![", "</", "&lt;", "<p>x</p>", "<div>", "<b>x", "<table>", "<ul><li>", "</p>",
     "<p><b>", '<a href="', "a<!---->", "<p =", "\r\n", "<style>", "<table><tr>x"],
)  # fmt: skip
def test_hostile_html_is_read_in_little_time(piece: str) -> None:
    html = (piece * 70_000)[:200_000]
    located = locate_html(html)
    assert located.text == visible_text(html)
