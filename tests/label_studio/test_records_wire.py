"""Records as Label Studio has them: which configurations are of records, and what becomes of odd ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from people import MIXED, TABLE

from ml_backend.domain import TaskSchema, read_record, record_text
from ml_backend.label_studio.config import UnsupportedConfig, read_schema
from ml_backend.label_studio.wire import MAX_FIELD, MAX_RECORD, MAX_VALUE, read_text

SCHEMA = read_schema(TABLE)


def read(record: Any, schema: TaskSchema = SCHEMA, **more: Any) -> str:
    return read_text({"id": 1, "data": {"record": record, **more}}, schema)


@pytest.mark.parametrize(
    ("config", "source", "text_field", "record_field"),
    [
        (TABLE, "record", "", "record"),
        (MIXED, "record", "note", "record"),
        (MIXED.replace('toName="record"', 'toName="note"'), "note", "note", "record"),
        (TABLE.replace("<View>", '<View><Text name="title" value="Look at this"/>'), "record", "", "record"),
    ],
)
def test_a_table_makes_a_task_a_record_and_a_text_that_shows_data_a_field_of_it(
    config: str, source: str, text_field: str, record_field: str
) -> None:
    found = read_schema(config)
    assert (found.source, found.text_field, found.record_field) == (source, text_field, record_field)
    assert found.is_record


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (TABLE.replace('"$record"', '"a record"'), "<Table name='record'> must take its value from the task"),
        (TABLE.replace('toName="record"', 'toName="nothing"'), "does not point at a <Text> or a <Table>"),
        (TABLE.replace("<Table", "<Image"), "does not point at a <Text> or a <Table>"),
    ],
)
def test_a_table_that_shows_no_data_is_refused(config: str, words: str) -> None:
    with pytest.raises(UnsupportedConfig, match=words):
        read_schema(config)


def test_fields_are_in_alphabetical_order_so_that_the_same_record_is_the_same_text() -> None:
    assert read({"b": 1, "a": "x"}) == read({"a": "x", "b": 1}) == '{"a": "x", "b": 1}'


@pytest.mark.parametrize(
    "record", ["none", "[1, 2]", 7, None, True, [1], [{"a": 1}], {}, {"a": None, "b": ""}, "{", ""]
)
def test_what_holds_no_values_is_a_task_without_a_record(record: Any) -> None:
    assert read(record) == ""


def test_a_record_may_be_json_itself() -> None:
    assert read('{"a": "1,234"}') == '{"a": "1,234"}'


def test_whatever_is_nested_is_its_json_and_nothing_is_endless() -> None:
    found = read_record(read({"a": {"b": [1, None]}, "c": "x" * 10**5, "d" * 200: 1, "e\0": "f\0"}))
    assert found["a"] == '{"b": [1, null]}' and len(found["c"]) == MAX_VALUE
    assert found["d" * MAX_FIELD] == 1 and found["e"] == "f "
    assert len(read_record(read({f"f{n}": n for n in range(1000)}))) == MAX_RECORD


def test_a_text_beside_a_record_is_in_it_under_its_own_name() -> None:
    mixed = read_schema(MIXED)
    assert read_record(read({"a": 1}, mixed, note="well")) == {"a": 1, "note": "well"}
    both = {"a": 1, "note (record)": 2, "note": "well"}
    assert read_record(read({"a": 1, "note": 2}, mixed, note="well")) == both, "neither is lost"
    assert read_record(read(None, mixed, note="well")) == {"note": "well"}
    assert read(None, mixed) == ""


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(record=st.dictionaries(st.text(), values) | values)
def test_any_record_is_a_text_that_says_the_same_when_it_is_read_again(record: Any) -> None:
    text = read(record)
    again = read_record(text)
    assert text == "" or record_text(again) == text
    text.encode()  # as any database takes it
    assert all(not isinstance(value, dict | list) for value in again.values())


def test_what_is_no_record_is_read_as_nothing() -> None:
    for text in ("", "a text", "[1]", "3", "{", json.dumps("x"), "[" * 10**5):
        assert read_record(text) == {}


def test_names_that_are_missing_or_too_long_stay_apart() -> None:
    found = read_record(read({"": 1, " ": 2, "x" * 90: 3, "x" * 91: 4}))
    assert sorted(found.values()) == [1, 2, 3, 4] and all(0 < len(name) <= MAX_FIELD for name in found)


def test_what_is_nested_too_deeply_is_missing() -> None:
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    assert read({"a": deep, "b": 1}) == '{"a": null, "b": 1}'
