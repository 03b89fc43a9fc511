"""Label Studio's JSON is read and written, and malformed JSON never raises."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_label_studio import SINGLE
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from malformed_requests import any_json
from schemas import by_control, chosen, labelled, text_schema

from ml_backend.core.types import (
    MAX_TEXT_CHARACTERS,
    Annotation,
    Draft,
    Prediction,
    TaskContent,
    content_key,
    unknown_content,
)
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import (
    read_annotation,
    read_id,
    read_project_id,
    read_task_content,
    read_tasks,
    read_text,
    read_timestamp,
    write_predictions,
)

SCHEMA = read_schema(SINGLE)
Capture = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1, 1), ("17", 17), (2**63 - 1, 2**63 - 1), (0, None), (-3, None), (2**63, None), (True, None), (1.0, None),
        ("-1", None), ("1.5", None), ("٣", None), ("9" * 30, None), ("", None), (None, None), ([1], None), ({}, None),
    ],
)  # fmt: skip
def test_an_id_is_a_positive_integer_that_a_database_can_store(value: object, read: int | None) -> None:
    assert read_id(value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [(5, 5), ("5", 5), ("5.1795307863", 5), (2**31, None), ("x.5", None), (".5", None), (None, None), (5.1, None)],
)
def test_a_project_is_named_by_number_or_by_number_and_time(value: object, read: int | None) -> None:
    assert read_project_id(value) == read


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-22T08:00:00", "2026-11-22T08:00:00.000000Z"),
        ("2026-11-22 08:00:00.25", "2026-11-22T08:00:00.250000Z"),
        ("2026-11-22T08:00:00Z", "2026-11-22T08:00:00.000000Z"),
        ("2026-11-22T08:00:00+02:00", "2026-11-22T06:00:00.000000Z"),
        ("yesterday", ""), (None, ""), (17, ""),
    ],
)  # fmt: skip
def test_a_time_without_a_zone_is_utc_whatever_the_zone_of_this_machine(
    value: object, moment: str, far_from_greenwich: None
) -> None:
    assert read_timestamp(value) == moment


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ({"data": {"text": "hello"}}, "hello"),
        ({"data": {"text": 5}}, "5"),
        ({"data": {"text": False}}, "False"),
        ({"data": {"text": None}}, ""),
        ({"data": {"text": ["a"]}}, ""),
        ({"data": {"other": "a"}}, ""),
        ({"data": "hello"}, ""),
        ({}, ""),
        ("hello", ""),
        (None, ""),
        ({"data": {"text": "a\0b"}}, "a b"),
        ({"data": {"text": "a\ud800b"}}, "a?b"),
    ],
)
def test_the_text_of_a_task(task: object, text: str) -> None:
    assert read_text(task, SCHEMA.input) == text


def test_the_short_plain_values_of_a_task_are_its_fields() -> None:
    data = {
        "text": "the text itself", "region": "north", "age": 7, "old": True, "share": 0.5,
        "nested": {"a": 1}, "list": [1], "nothing": None, "empty": "", "long": "x" * 65, "y" * 65: "long name",
    }  # fmt: skip
    example = read_task_content({"id": 1, "data": data}, read_schema(SINGLE).input)
    assert example is not None
    assert example.fields == {"region": "north", "age": "7", "old": "True", "share": "0.5"}


def test_the_first_fields_by_name_are_kept() -> None:
    data = {"text": "t", **{f"field {n:03}": n for n in reversed(range(500))}}
    example = read_task_content({"id": 1, "data": data}, read_schema(SINGLE).input)
    assert example is not None and list(example.fields) == [f"field {n:03}" for n in range(20)]


def test_a_very_long_text_is_cut() -> None:
    example = read_task_content({"id": 1, "data": {"text": "x" * (MAX_TEXT_CHARACTERS + 5)}}, SCHEMA.input)
    assert example is not None
    assert len(example.text) == MAX_TEXT_CHARACTERS
    assert example.key == content_key(example.text)


def test_an_annotation_is_read_as_label_studio_sends_it(capture: Capture) -> None:
    body = capture("10_annotation_created")["requests_to_ml"][0]["json"]
    schema = read_schema(body["project"]["label_config"])
    assert read_annotation(body["annotation"], schema, {}) == Annotation(
        3, 13, 1, labelled("neg"), updated_at="2026-11-22T00:37:45.957599Z", lead_time=3.2
    )
    skipped = read_annotation(capture("13_")["requests_to_ml"][0]["json"]["annotation"], schema, {})
    assert skipped == Annotation(4, 14, 1, cancelled=True, updated_at="2026-11-22T00:37:46.945440Z")


def test_the_task_list_of_the_data_manager_is_read(capture: Capture) -> None:
    answer = capture("07_dm_list")["ls_response"]
    examples, annotations = read_tasks(answer["tasks"], SCHEMA)
    assert [example.task for example in examples] == [task["id"] for task in answer["tasks"]]
    assert [example.text for example in examples] == [task["data"]["text"] for task in answer["tasks"]]
    assert [read.id for read in annotations] == [
        a["id"] for task in answer["tasks"] for a in task.get("annotations", [])
    ]


def annotation(**values: Any) -> dict[str, Any]:
    region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["fruit"]}}
    return {"id": 1, "task": 2, "completed_by": 3, "result": [region], "updated_at": "2026", **values}


def test_only_regions_of_the_control_count_and_a_choice_once() -> None:
    region = annotation()["result"][0]
    other = {**region, "from_name": "mood", "value": {"choices": ["sad"]}}
    read = read_annotation(annotation(result=[other, region, region, {"id": "relation"}, "x", None]), SCHEMA, {})
    assert read is not None
    assert chosen(read) == ("fruit",)


def test_the_annotator_and_the_task_may_be_objects_or_missing() -> None:
    full = read_annotation(annotation(completed_by={"id": 9}, task={"id": 8}), SCHEMA, {})
    bare = read_annotation(annotation(completed_by=None, task=None), SCHEMA, {}, 7)
    assert full is not None
    assert bare is not None
    assert (full.annotator, full.task) == (9, 8)
    assert (bare.annotator, bare.task) == (None, 7)
    assert read_annotation(annotation(task=None), SCHEMA, {}) is None
    assert read_annotation(annotation(id=None), SCHEMA, {}) is None


@pytest.mark.parametrize("lead_time", [-1, float("nan"), float("inf"), "3", None, [1], 10**400])
def test_an_impossible_lead_time_is_none(lead_time: object) -> None:
    read = read_annotation(annotation(lead_time=lead_time), SCHEMA, {})
    assert read is not None
    assert read.lead_time is None


fields = st.sampled_from([*sorted(annotation()), "lead_time", "was_cancelled", "ground_truth"])


@given(values=st.dictionaries(fields, any_json, min_size=1, max_size=3), text=any_json)
@hypothesis_settings(max_examples=1000)
def test_a_malformed_annotation_is_left_out_or_can_be_stored(values: dict[str, Any], text: Any) -> None:
    task = {"id": 2, "data": {"text": text}, "annotations": [annotation(**values)]}
    assert_storable(*read_tasks([task], SCHEMA))


@given(value=any_json)
@hypothesis_settings(max_examples=500)
def test_malformed_json_is_left_out_and_the_rest_can_be_stored(value: Any) -> None:
    read_id(value)
    read_project_id(value)
    example = read_task_content(value, SCHEMA.input)
    read = read_annotation(value, SCHEMA, {}, 1)
    examples, annotations = read_tasks(value if isinstance(value, list) else [value], SCHEMA)
    assert_storable([*([example] if example else []), *examples], [*([read] if read else []), *annotations])


def assert_storable(examples: list[TaskContent], annotations: list[Annotation]) -> None:
    for example in examples:
        assert 0 < example.task < 2**63
        example.text.encode()  # no lone surrogates
        assert "\0" not in example.text
    for answer in annotations:
        assert 0 < answer.id < 2**63
        assert 0 < answer.task < 2**63
        assert answer.annotator is None or 0 < answer.annotator < 2**31
        answer.updated_at.encode()
        assert "\0" not in answer.updated_at
        assert len(answer.updated_at) <= 40


def test_a_prediction_is_written_as_label_studio_takes_it(capture: Capture) -> None:
    prediction = Prediction(
        16, 0.12, by_control(Draft(("pos",), 0.87654321, "learner")), "cluster 3, uncertainty 0.20 (v1)"
    )
    schema = text_schema(("pos", "neg", "neu"))
    [row] = write_predictions([prediction], schema, "v1", [unknown_content(1)])
    taken = capture("25_prediction_create")["ls_response"]
    assert row.keys() <= taken.keys()
    assert (row["task"], row["score"], row["model_version"]) == (16, 0.12, "v1")
    [region] = row["result"]
    assert {name: region[name] for name in taken["result"][0]} == taken["result"][0]
    assert region["score"] == 0.8765
    assert region["meta"] == {"text": ["cluster 3, uncertainty 0.20 (v1)"]}


def test_a_prediction_is_valid_to_label_studios_own_checker() -> None:
    from label_studio_sdk.label_interface.interface import LabelInterface

    rows = write_predictions(
        [Prediction(1, 0.5, by_control(Draft(("fruit",), 0.5, "teacher")), "why")], SCHEMA, "v1", [unknown_content(1)]
    )
    for row in rows:
        assert LabelInterface(SINGLE).validate_prediction(row)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("draft", [None, Draft((), 0.9, "learner")])
def test_a_prediction_without_choices_has_no_region(draft: Draft | None) -> None:
    [row] = write_predictions([Prediction(1, 0.5, by_control(draft))], SCHEMA, "v1", [unknown_content(1)])
    assert row["result"] == []


@given(score=st.floats(allow_nan=False), confidence=st.floats(0, 1))
def test_any_score_is_written_as_one_that_label_studio_keeps(score: float, confidence: float) -> None:
    draft = Draft(("fruit",), float(np.float32(confidence)), "learner")
    [row] = write_predictions([Prediction(1, score, by_control(draft))], SCHEMA, "v1", [unknown_content(1)])
    assert 0 <= row["score"] <= 1
    assert json.loads(json.dumps(row, allow_nan=False)) == row
