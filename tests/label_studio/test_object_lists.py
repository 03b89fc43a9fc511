"""Dialogues and lists are read as texts that keep their structure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed_requests import any_json

from ml_backend.core.displayed_text.object_lists import MAX_LIST_CHARACTERS
from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.schema import DialogueField
from ml_backend.core.types import read_record
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_text

CHOICES = '<Choices name="c" toName="d"><Choice value="x"/><Choice value="y"/></Choices>'
DIALOGUE = [{"author": "Ann", "text": "Hello\n there"}, {"author": "Bob", "text": "Hi"}]


def config(tag: str, *others: str) -> str:
    return f"<View>{tag}{''.join(others)}{CHOICES}</View>"


PARAGRAPHS = config('<Paragraphs name="d" value="$d" layout="dialogue"/>')
CHAT = config('<Chat name="d" value="$d"/>')
LIST = config('<List name="d" value="$d" title="Results"/>')


def text_of(label_config: str, value: Any) -> str:
    return read_text({"id": 1, "data": {"d": value}}, read_schema(label_config).input)


def test_a_dialogue_has_a_line_for_each_message() -> None:
    assert text_of(PARAGRAPHS, DIALOGUE) == "Ann: Hello there\nBob: Hi"


def test_a_dialogue_may_name_the_keys_of_its_messages() -> None:
    label_config = config('<Paragraphs name="d" value="$d" nameKey="role" textkey="content"/>')
    assert read_schema(label_config).input.dialogues == (DialogueField("d", "role", "content"),)
    assert text_of(label_config, [{"role": "user", "content": "Hi"}]) == "user: Hi"


def test_a_chat_is_a_dialogue() -> None:
    assert text_of(CHAT, [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": 7}]) == (
        "user: Hi\nassistant: 7"
    )


def test_the_items_of_a_list_are_numbered() -> None:
    items = [
        {"id": "a", "title": "First", "body": "the first"},
        {"title": "Second"},
        {"body": "the third", "html": "<b>the</b> <i>shown</i>"},
    ]
    assert text_of(LIST, items) == "1. First: the first\n2. Second\n3. the shown"


@pytest.mark.parametrize("label_config", [PARAGRAPHS, CHAT, LIST])
@pytest.mark.parametrize(
    "value", [None, "", "https://example.com/d.json", 5, {}, {"text": "Hi"}, [], ["Hi"], [[]], "[1"]
)
def test_a_value_of_another_shape_is_no_text(label_config: str, value: Any) -> None:
    assert text_of(label_config, value) == ""


def test_a_message_without_an_author_or_a_text_is_read_as_far_as_it_goes() -> None:
    messages = [{"text": "Hi"}, {"author": "Ann"}, {"author": None, "text": "Hello"}, {"author": "Bob", "text": ["x"]}]
    assert text_of(PARAGRAPHS, messages) == "Hi\nHello"


def test_a_list_may_be_json_text() -> None:
    assert text_of(PARAGRAPHS, json.dumps(DIALOGUE)) == text_of(PARAGRAPHS, DIALOGUE)
    assert text_of(PARAGRAPHS, "[" * 100_000) == ""


@given(value=st.one_of(any_json, st.lists(st.dictionaries(st.sampled_from(["author", "text", "title"]), any_json))))
def test_any_value_is_read_the_same_each_time(value: Any) -> None:
    for label_config in (PARAGRAPHS, CHAT, LIST):
        text = text_of(label_config, value)
        assert text == text_of(label_config, value)
        assert len(text) <= MAX_LIST_CHARACTERS


def test_a_long_dialogue_is_cut_off() -> None:
    long = [{"author": "Ann", "text": "word " * 9000}] * 3000
    assert len(text_of(PARAGRAPHS, long)) == MAX_LIST_CHARACTERS


def test_a_dialogue_beside_texts_is_a_field_of_a_record() -> None:
    schema = read_schema(config('<Paragraphs name="d" value="$d"/>', '<Text name="t" value="$reply"/>'))
    assert schema.input.fields == ("d", "reply")
    record = read_record(read_text({"data": {"d": DIALOGUE, "reply": "Bye"}}, schema.input))
    assert record == {"d": "Ann: Hello there\nBob: Hi", "reply": "Bye"}


@pytest.mark.parametrize(
    "tag",
    [
        '<Paragraphs name="d" value="$d" valueType="url"/>',
        '<Paragraphs name="d" value="$d" valuetype="url"/>',
        '<Paragraphs name="d" value="with $d"/>',
        '<List name="d" value="$d[0]"/>',
    ],
)
def test_a_dialogue_that_is_not_in_the_tasks_is_refused(tag: str) -> None:
    with pytest.raises(UnsupportedConfigError, match="must take its value from the task"):
        read_schema(config(tag))
