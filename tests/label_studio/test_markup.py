"""HTML is read as its words, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.label_studio.markup import words_of


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<p>Smokes <b>20</b> a day</p>", "Smokes 20 a day"),
        ("<table><tr><td>age</td><td>61</td></tr></table>", "age 61"),
        ("AT&amp;T &lt;3", "AT&T <3"),
        ("one<br/>two<!-- three -->", "one two"),
        ("<style>p {color: red}</style><script>no()</script>seen", "seen"),
        ("no HTML, 1 < 2", "no HTML, 1 < 2"),
        ("<p>never closed", "never closed"),
        ("<script>for ever", ""),
        ("", ""),
    ],
)
def test_html_is_read_as_a_reader_sees_it(html: str, words: str) -> None:
    assert words_of(html) == words


@given(st.text(alphabet=st.sampled_from("<>/!-&;\"'= abscript\n"), max_size=60))
def test_whatever_it_is_it_is_read_in_one_line(html: str) -> None:
    found = words_of(html)
    assert "\n" not in found and found == found.strip()
