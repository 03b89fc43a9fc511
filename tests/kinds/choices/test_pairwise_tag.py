"""Comparisons of two texts: their configuration is read, and their values are read and written."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from prediction_validation import validation_errors
from schemas import read_only

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.schema import InputSpec, ProjectSchema
from ml_backend.core.types import read_record
from ml_backend.kinds.choices.tags import CONTROL_TAGS
from ml_backend.kinds.choices.values import write_region_value
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_text

PAIR = '<Pairwise name="pw" toName="t1,t2" leftChoiceValue="A"/>'
TEXTS = '<Text name="t1" value="$a"/><Text name="t2" value="$b"/>'
CONFIG = f"<View>{PAIR}{TEXTS}</View>"
CONTROL = CONTROL_TAGS["Pairwise"].read_schema(etree.fromstring(PAIR), "pw", "t1")
SCHEMA = ProjectSchema(InputSpec(fields=("a", "b")), (CONTROL,))


def region(selected: Any) -> dict[str, Any]:
    return {"from_name": "pw", "to_name": "pw", "type": "pairwise", "value": {"selected": selected}}


def test_the_labels_are_the_sides() -> None:
    assert CONTROL.labels == ("left", "right")
    assert CONTROL.antisymmetric and not CONTROL.multiple


@pytest.mark.parametrize(
    ("selected", "labels", "unread"),
    [
        ("left", ("left",), ""),
        ("right", ("right",), ""),
        ("A", ("A",), "label"),
        ("none", ("none",), "label"),
        (None, (), "shape"),
    ],
)
def test_the_selected_side_is_read(selected: Any, labels: tuple[str, ...], unread: str) -> None:
    assert read_only([region(selected)], SCHEMA) == (labels, unread)


def test_a_comparison_without_a_selected_side_is_not_learnt_from() -> None:
    assert read_only([], SCHEMA) == ((), "empty")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_draft_is_written_as_label_studio_accepts_it(side: str) -> None:
    drafted = {"from_name": "pw", "to_name": CONTROL.source, **write_region_value([side], CONTROL)}
    assert drafted["value"] == {"selected": side}
    assert validation_errors(CONFIG, [drafted]) == []


def test_the_compared_texts_are_read_in_the_order_of_to_name() -> None:
    schema = read_schema(CONFIG.replace("t1,t2", "t2,t1"))
    assert schema.controls[0].source == "t2"
    assert schema.input.pair == (("b",), ("a",)) and not schema.input.is_record
    task = {"data": {"a": "first", "b": "second", "id": 3}}
    assert read_record(read_text(task, schema.input)) == {"left": "second", "right": "first"}
    assert read_record(read_text({"data": {"b": "second"}}, schema.input)) == {"left": "second", "right": ""}
    assert read_text({"data": {"a": " ", "b": None}}, schema.input) == ""


def test_what_else_annotators_see_is_read_beside_the_compared_texts() -> None:
    more = '<Text name="p" value="$prompt"/><HyperText name="h" value="Left: $left"/>'
    schema = read_schema(CONFIG.replace("</View>", f"{more}</View>"))
    task = {"data": {"a": "first", "b": "second", "prompt": "Which?", "left": "<p>margin</p>"}}
    assert read_record(read_text(task, schema.input)) == {
        "left": "first", "right": "second", "prompt": "Which?", "left (context)": "margin",
    }  # fmt: skip


def test_a_text_that_is_compared_with_itself_is_read_as_a_text() -> None:
    schema = read_schema(CONFIG.replace("$b", "$a"))
    assert read_text({"data": {"a": "alone"}}, schema.input) == "alone"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (CONFIG.replace("t1,t2", "t1"), "does not point at two of"),
        (CONFIG.replace('<Text name="t2"', '<Image name="t2"'), "does not point at two of"),
        (CONFIG.replace("$b", "a fixed text"), "must take its value from the task"),
    ],
)
def test_without_two_texts_nothing_is_compared(config: str, problem: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=problem):
        read_schema(config)


def test_only_comparisons_of_the_same_texts_are_learnt() -> None:
    others = '<Text name="t3" value="$c"/><Pairwise name="again" toName="t1,t2"/><Pairwise name="x" toName="t2,t3"/>'
    schema = read_schema(CONFIG.replace("</View>", f"{others}</View>"))
    assert [control.name for control in schema.controls] == ["pw", "again"]
    assert [(control.name, control.code) for control in schema.unlearnt] == [("x", "pair")]


def test_a_comparison_that_the_setting_leaves_out_makes_no_pairs() -> None:
    choices = '<Choices name="c" toName="t1"><Choice value="x"/><Choice value="y"/></Choices>'
    config = CONFIG.replace("</View>", f"{choices}</View>")
    assert [control.name for control in read_schema(config).controls] == ["c", "pw"]
    assert read_schema(config, "c").input.pair == ()


def test_a_comparison_of_one_text_is_not_learnt() -> None:
    choices = '<Choices name="c" toName="a"><Choice value="x"/><Choice value="y"/></Choices>'
    schema = read_schema(f'<View><Text name="a" value="$a"/><Pairwise name="better" toName="a"/>{choices}</View>')
    assert [control.reason for control in schema.unlearnt] == ["it does not label two of the tags that are read"]
