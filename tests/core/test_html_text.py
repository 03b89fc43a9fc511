"""The visible text of any HTML is extracted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.displayed_text.html_text import visible_text


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<p>Smokes <b>20</b> a day</p>", "Smokes 20 a day"),
        ("<table><tr><td>age</td><td>61</td></tr></table>", "age 61"),
        ("AT&amp;T &lt;3", "AT&T <3"),
        ("one<br/>two<!-- three -->", "one two"),
        ("<style>p {color: red}</style><script>no()</script>seen", "seen"),
        ("H<sub>2</sub>O, un<em class='x'>believ</em>able, <b>1</b>,234", "H2O, unbelievable, 1,234"),
        ("Hello <b>x</b>, world", "Hello x, world"),
        ("no HTML, 1 < 2 and a<b ", "no HTML, 1 < 2 and a<b"),
        ("hello <3", "hello <3"),
        ("see <![1] the chart", "see <![1] the chart"),
        ("<!DOCTYPE html><?xml version='1'?><big>x</big>", "x"),
        ("<p>never closed", "never closed"),
        ("before <script>for ever", "before"),
        ("before <!-- for ever", "before"),
        ("", ""),
    ],
)
def test_html_is_read_as_a_reader_sees_it(html: str, words: str) -> None:
    assert visible_text(html) == words


@given(st.text(alphabet=st.sampled_from("<>/!?-&;\"'=[] abscript\n"), max_size=60))
def test_the_visible_text_has_one_line(html: str) -> None:
    text = visible_text(html)
    assert "\n" not in text and text == text.strip()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["<a ", "a<b ", "<!--", "<script ", "<![", "</", "&lt;", "<p>x</p>"])
def test_hostile_html_is_read_in_little_time(piece: str) -> None:
    assert isinstance(visible_text(piece * 50_000), str)  # where time grows with the square, it takes hours
