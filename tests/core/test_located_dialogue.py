"""The characters of the text of a dialogue are found in its messages."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from malformed_requests import any_json

from ml_backend.core.displayed_text.located_dialogue import locate_dialogue
from ml_backend.core.displayed_text.located_text import from_utf16, utf16_offsets
from ml_backend.core.displayed_text.object_lists import dialogue_text
from ml_backend.core.schema import DialogueField

DIALOGUE = DialogueField("d", "author", "text")
message_text = st.text("ab é😀ไ\r\n\t", max_size=8)
messages = st.lists(
    st.fixed_dictionaries({}, optional={"author": st.sampled_from(["Ann", "", 7]), "text": message_text}) | any_json,
    max_size=5,
)


@given(messages, st.booleans())
def test_each_character_is_at_its_place_in_its_message(value: Any, is_sorted: bool) -> None:
    located = locate_dialogue(value, DIALOGUE, is_sorted=is_sorted)
    assert located.text == dialogue_text(value, DIALOGUE)
    assert len(located.begins) == len(located.ends) == len(located.text)
    characters = {block.start + i: text for block in located.blocks for i, text in enumerate(block.text)}
    for character, begin, end in zip(located.text, located.begins.tolist(), located.ends.tolist(), strict=True):
        displayed = "".join(characters[position] for position in range(begin, end))
        assert displayed in (character, "") or (character == " " and displayed.isspace())


def test_only_the_texts_of_messages_are_displayed() -> None:
    located = locate_dialogue([{"author": "Ann", "text": " Hi  there"}, {"author": "Bob", "text": "Yes"}], DIALOGUE)
    assert located.text == "Ann: Hi there\nBob: Yes"
    displayed = "".join(c if b < e else "-" for c, b, e in zip(located.text, located.begins, located.ends, strict=True))
    assert displayed == "-----Hi there------Yes"
    assert located.offsets(*(located.positions(8, 13) or ())) == ("0", 5, "0", 10)


def test_messages_may_be_displayed_in_the_order_of_their_times() -> None:
    value = [{"text": "c"}, {"text": "b", "start": 2}, {"text": "a", "start": 1.5}, {"text": "d", "start": "x"}]
    located = locate_dialogue(value, DIALOGUE, is_sorted=True)
    assert {block.text: block.key for block in located.blocks} == {"a": "0", "b": "1", "c": "2", "d": "3"}


def test_a_long_dialogue_is_located_as_far_as_it_is_read() -> None:
    value = [{"author": "Ann", "text": "word " * 9000}] * 3000
    located = locate_dialogue(value, DIALOGUE)
    assert located.text == dialogue_text(value, DIALOGUE) and len(located.ends) == len(located.text)


@given(st.text(max_size=12))
def test_utf16_units_are_counted_as_browsers_do(text: str) -> None:
    lengths = [len(text[:n].encode("utf-16-le", "surrogatepass")) // 2 for n in range(len(text) + 1)]
    assert utf16_offsets(text).tolist() == lengths
    for units in range(lengths[-1] + 2):
        assert from_utf16(text, units) == (lengths.index(units) if units in lengths else None)
