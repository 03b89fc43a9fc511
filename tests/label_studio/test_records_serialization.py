"""Records in Label Studio's JSON: which configurations have records, and how malformed records are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patient_records import MIXED, TABLE

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import MAX_FIELD_CHARACTERS, MAX_RECORD_FIELDS, read_record, record_text
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import MAX_TABLE_VALUE_CHARACTERS, read_task_content, read_text
from ml_backend.label_studio.sync import _task_signature
from ml_backend.pool.feature_space import field_type_overrides, question_field

SCHEMA = read_schema(TABLE)
_CHOICES = '<Choices name="ill" toName="age"><Choice value="no"/><Choice value="yes"/></Choices>'
CARD = (
    '<View><Text name="age" value="$age"/><HyperText name="note" value="$note"/><Text name="city" value="$home.city"/>'
    f'<Text name="file" value="$file" valueType="url"/>{_CHOICES}</View>'
)
TEMPLATE = f'<View><Text name="card" value="Age: $age, from $home.city."/>{_CHOICES.replace("age", "card")}</View>'


def read(record: Any, schema: ProjectSchema = SCHEMA, **more: Any) -> str:
    return read_text({"id": 1, "data": {"record": record, **more}}, schema.input)


@pytest.mark.parametrize(
    ("config", "source", "record_field", "fields"),
    [
        (TABLE, "record", "record", ()),
        (MIXED, "record", "record", ("note",)),
        (MIXED.replace('toName="record"', 'toName="note"'), "note", "record", ("note",)),
        (TABLE.replace("<View>", '<View><Text name="title" value="Look at this"/>'), "record", "record", ()),
        (CARD, "age", "", ("age", "note", "home.city")),
        (CARD.replace('toName="age"', 'toName="note"'), "note", "", ("note", "age", "home.city")),
        (TEMPLATE, "card", "", ("age", "home.city")),
    ],
)
def test_a_table_or_several_fields_in_texts_make_a_task_a_record(
    config: str, source: str, record_field: str, fields: tuple[str, ...]
) -> None:
    schema = read_schema(config)
    assert (schema.controls[0].source, schema.input.record_field, schema.input.fields) == (source, record_field, fields)
    assert schema.input.is_record and schema.input.text_field == ""


def test_fields_of_several_tags_make_the_record() -> None:
    card = read_schema(CARD)
    data = {"age": 61, "note": "<p>Smokes <b>20</b> a day</p><script>no()</script>", "home": {"city": "Oslo"}, "x": 1}
    record = {"age": 61, "note": "Smokes 20 a day", "home.city": "Oslo"}
    assert read_record(read_text({"id": 1, "data": data}, card.input)) == record
    assert read_record(read_text({"id": 1, "data": {"home.city": "<b>", "age": [1]}}, card.input)) == {
        "age": "[1]", "home.city": "<b>", "note": None,
    }  # fmt: skip
    for nothing in ({}, {"age": None, "note": ""}, {"x": 1}, {"home": "Oslo"}, {"home": {"city": None}}):
        assert read_text({"id": 1, "data": nothing}, card.input) == ""
    example = read_task_content({"id": 1, "data": data}, card.input)
    assert example is not None and example.fields == {"x": "1"}, "a field that makes groups is not in the record"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (TABLE.replace('"$record"', '"a record"'), "<Table name='record'> must take its value from the task"),
        (
            TABLE.replace('toName="record"', 'toName="nothing"'),
            "does not point at a <Text>, <HyperText>, <Paragraphs>, <Chat>, <List> or <Table>",
        ),
        (
            TABLE.replace("<Table", "<Image"),
            "does not point at a <Text>, <HyperText>, <Paragraphs>, <Chat>, <List> or <Table>",
        ),
        (CARD.replace('"$age"', '"the age"'), "<Text name='age'> must take its value from the task"),
        (CARD.replace('"$age"', '"$ages[0].years"'), "<Text name='age'> must take its value from the task"),
    ],
)
def test_a_table_that_shows_no_data_is_refused(config: str, words: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=words):
        read_schema(config)


def test_configurations_that_read_tasks_differently_have_different_signatures() -> None:
    shown = [
        '<Text name="x" value="$a"/>',
        '<HyperText name="x" value="$a"/>',
        '<Table name="x" value="$a"/>',
        '<Text name="x" value="$a"/><Text name="y" value="$b"/>',
        '<Text name="x" value="$a"/><HyperText name="y" value="$b"/>',
        '<Text name="x" value="$b"/><Table name="y" value="$a"/>',
        '<Table name="x" value="$a"/><Text name="y" value="$b"/>',
    ]
    choices = _CHOICES.replace('toName="age"', 'toName="x"')
    read = [_task_signature(read_schema(f"<View>{tags}{choices}</View>")) for tags in shown]
    assert len({*read[:6]}) == 6 and read[5] == read[6], "whatever the order of the tags"
    assert read[0] == "ill x a" and read[2] == "ill x  a", "as ever: else every project would be read again"


def test_long_texts_are_kept_whole_beside_a_table_and_by_themselves() -> None:
    for config in (MIXED, CARD):
        text = read_text(
            {"id": 1, "data": {"record": {"note": "x" * 9000}, "note": "y" * 9000}}, read_schema(config).input
        )
        record = read_record(text)
        assert record["note"] == "y" * 9000
        assert len(record.get("note (record)", "x" * MAX_TABLE_VALUE_CHARACTERS)) == MAX_TABLE_VALUE_CHARACTERS


def test_a_long_name_is_always_shortened_in_the_same_way() -> None:
    name = "a" * 90
    schema = read_schema(CARD.replace("$age", f"${name}"))
    record = read_record(read_text({"id": 1, "data": {name: 1, "note": "x"}}, schema.input))
    assert question_field(schema.input) == "a" * MAX_FIELD_CHARACTERS and record[question_field(schema.input)] == 1
    mixed = read_schema(MIXED.replace("$note", f"${name}"))
    assert field_type_overrides(mixed.input, ProjectSettings(), {}) == {"a" * MAX_FIELD_CHARACTERS: "text"}


def test_fields_are_in_alphabetical_order_so_that_the_same_record_is_the_same_text() -> None:
    assert read({"b": 1, "a": "x"}) == read({"a": "x", "b": 1}) == '{"a": "x", "b": 1}'


@pytest.mark.parametrize(
    "record", ["none", "[1, 2]", 7, None, True, [1], [{"a": 1}], {}, {"a": None, "b": ""}, "{", ""]
)
def test_a_record_without_values_is_empty(record: Any) -> None:
    assert read(record) == ""


def test_a_record_may_be_json_itself() -> None:
    assert read('{"a": "1,234"}') == '{"a": "1,234"}'


def test_nested_values_become_json_and_long_values_are_shortened() -> None:
    record = read_record(read({"a": {"b": [1, None]}, "c": "x" * 10**5, "d" * 200: 1, "e\0": "f\0"}))
    assert record["a"] == '{"b": [1, null]}' and len(record["c"]) == MAX_TABLE_VALUE_CHARACTERS
    assert record["d" * MAX_FIELD_CHARACTERS] == 1 and record["e"] == "f "
    assert len(read_record(read({f"f{n}": n for n in range(1000)}))) == MAX_RECORD_FIELDS


def test_a_text_beside_a_record_is_a_field_of_the_record() -> None:
    mixed = read_schema(MIXED)
    assert read_record(read({"a": 1}, mixed, note="well")) == {"a": 1, "note": "well"}
    both = {"a": 1, "note (record)": 2, "note": "well"}
    assert read_record(read({"a": 1, "note": 2}, mixed, note="well")) == both, "neither is lost"
    assert read_record(read(None, mixed, note="well")) == {"note": "well"}
    assert read(None, mixed) == ""


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(record=st.dictionaries(st.text(), values) | values)
def test_any_record_is_read_back_from_its_text(record: Any) -> None:
    text = read(record)
    again = read_record(text)
    assert text == "" or record_text(again) == text
    text.encode()  # as any database takes it
    assert all(not isinstance(value, dict | list) for value in again.values())


def test_a_value_that_is_no_record_has_no_fields() -> None:
    for text in ("", "a text", "[1]", "3", "{", json.dumps("x"), "[" * 10**5):
        assert read_record(text) == {}


def test_fields_without_a_name_or_with_a_long_name_get_different_names() -> None:
    record = read_record(read({"": 1, " ": 2, "x" * 90: 3, "x" * 91: 4}))
    assert sorted(record.values()) == [1, 2, 3, 4] and all(0 < len(name) <= MAX_FIELD_CHARACTERS for name in record)


def test_a_value_nested_too_deeply_is_missing() -> None:
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    assert read({"a": deep, "b": 1}) == '{"a": null, "b": 1}'
