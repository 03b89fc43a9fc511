"""Choices as Label Studio stores them: unambiguous ones are read, and others never mean "no label applies"."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed_requests import any_json
from schemas import by_control, read_only

from ml_backend.core.types import UNREADABLE_CODES, Draft, Prediction, unknown_content
from ml_backend.kinds.choices.values import write_region_value
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_annotation, write_result

LABELS = '<Choice value="billing"/><Choice value="delivery"/><Choice value="login"/>'
TREE = (
    '<Choice value="money"><Choice value="billing"/><Choice value="other"/></Choice>'
    '<Choice value="service"><Choice value="delivery"/><Choice value="other"/></Choice>'
)
ALIASES = '<Choice value="billing: invoices" alias="K1"/><Choice value="delivery of parcels" alias="K2"/>'


def config(inner: str = LABELS, rest: str = "") -> str:
    return (
        '<View><Text name="text" value="$text"/><Number name="note" toName="text"/>'
        f'<Choices name="label" toName="text" {rest}>{inner}</Choices></View>'
    )


SINGLE, MULTIPLE = read_schema(config()), read_schema(config(rest='choice="multiple"'))
NESTED = read_schema(config(rest='choice="multiple" allowNested="true"'))
SINGLE_TREE = read_schema(config(TREE, 'allowNested="true"'))
TREE_OF_SEVERAL = read_schema(config(TREE, 'allowNested="true" choice="multiple"'))
NUMBERS = read_schema(config('<Choice value="0"/><Choice value="1"/>'))
ALIASED = read_schema(config(ALIASES))
CASES = read_schema(config('<Choice value="a"/><Choice value="A"/><Choice value="b"/>'))


def region(choices: Any, control: str = "label") -> dict[str, Any]:
    return {"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": choices}}


@pytest.mark.parametrize(
    ("schema", "choices", "labels"),
    [
        (SINGLE, ["billing"], ["billing"]),
        (SINGLE, "billing", ["billing"]),
        (SINGLE, ["Billing"], ["billing"]),
        (SINGLE, ["  BILLING "], ["billing"]),
        (SINGLE, [["billing"]], ["billing"]),
        (SINGLE, [["money", "billing"]], ["billing"]),
        (MULTIPLE, [["billing"], ["Login"]], ["billing", "login"]),
        (NESTED, [["billing"], ["login"]], ["billing", "login"]),
        (NESTED, ["billing"], ["billing"]),
        (NUMBERS, [1], ["1"]),
        (NUMBERS, 0, ["0"]),
        (NUMBERS, [1.0], ["1"]),
        (NUMBERS, ["1"], ["1"]),
        (SINGLE_TREE, [["money", "billing"]], ["money > billing"]),
        (SINGLE_TREE, [["Money", "Billing "]], ["money > billing"]),
        (SINGLE_TREE, ["delivery"], ["service > delivery"]),
        (SINGLE_TREE, ["service > other"], ["service > other"]),
        (TREE_OF_SEVERAL, [["money"], ["money", "billing"], ["money", "other"]], ["money > billing", "money > other"]),
        (ALIASED, ["K1"], ["billing: invoices"]),
        (ALIASED, ["k2"], ["delivery of parcels"]),
        (ALIASED, ["billing: invoices"], ["billing: invoices"]),
        (CASES, ["A"], ["A"]),
        (CASES, ["a"], ["a"]),
    ],
)
def test_a_choice_that_can_mean_only_one_label_is_read(schema: Any, choices: Any, labels: list[str]) -> None:
    labels_read, unread = read_only([region(choices)], schema)
    assert (list(dict.fromkeys(label for label in labels_read if label in schema.controls[0].labels)), unread) == (
        labels,
        "",
    )


@pytest.mark.parametrize(
    ("schema", "result", "code"),
    [
        (MULTIPLE, [region(["billing"], "sentiment")], "control"),
        (SINGLE, [region(["billing"], "sentiment")], "control"),
        (MULTIPLE, [region(["invoice"])], "label"),
        (MULTIPLE, [region([["money", "invoice"]])], "label"),
        (CASES, [region([" A"])], "label"),
        (SINGLE_TREE, [region(["other"])], "label"),
        (SINGLE_TREE, [region([["service", "billing"]])], "label"),
        (SINGLE_TREE, [region([["money"]])], "parent"),
        (TREE_OF_SEVERAL, [region(["money"])], "parent"),
        (MULTIPLE, [region([{"text": "billing"}])], "shape"),
        (MULTIPLE, [region(None)], "shape"),
        (MULTIPLE, [region([[]])], "shape"),
        (MULTIPLE, [{**region([]), "value": {"taxonomy": [["billing"]]}}], "shape"),
        (MULTIPLE, "billing", "shape"),
        (SINGLE, [], "empty"),
        (SINGLE, [region([])], "empty"),
        (SINGLE, [{"from_name": "note", "value": {"text": ["well"]}}], "empty"),
    ],
)
def test_a_result_that_cannot_be_read_has_a_code_and_no_label(schema: Any, result: Any, code: str) -> None:
    labels_read, unread = read_only(result, schema)
    assert unread == code and not {*labels_read} & {*schema.controls[0].labels}


def test_an_empty_annotation_with_several_choices_means_that_no_label_applies() -> None:
    note = {"from_name": "note", "value": {"text": ["well"]}}
    for result in ([], [region([])], [note], [{"type": "relation"}]):
        assert read_only(result, MULTIPLE) == ((), "")


def test_an_empty_annotation_of_a_control_that_may_be_hidden_is_not_read() -> None:
    hidden = read_schema(config(rest='choice="multiple" visibleWhen="choice-selected" whenTagName="first"'))
    assert hidden.controls[0].conditional
    assert read_only([], hidden) == ((), "empty")


def test_an_empty_annotation_of_a_required_control_is_not_read() -> None:
    assert read_only([], read_schema(config(rest='choice="multiple" required="true"'))) == ((), "empty")
    assert read_only([], read_schema(config(rest='choice="multiple"'))) == ((), "")


def test_a_skip_has_no_code() -> None:
    skip = {"id": 1, "task": 2, "was_cancelled": True, "result": []}
    annotation = read_annotation(skip, SINGLE, {})
    assert annotation is not None and annotation.cancelled and not annotation.labels


@pytest.mark.parametrize(
    ("schema", "labels", "written"),
    [
        (SINGLE, ["billing"], ["billing"]),
        (NESTED, ["billing", "login"], [["billing"], ["login"]]),
        (SINGLE_TREE, ["service > other"], [["service", "other"]]),
        (ALIASED, ["delivery of parcels"], ["K2"]),
    ],
)
def test_drafts_are_written_as_the_labelling_screen_selects_them(schema: Any, labels: list[str], written: Any) -> None:
    assert write_region_value(labels, schema.controls[0]) == {"type": "choices", "value": {"choices": written}}
    [drafted] = write_result(
        Prediction(1, 0.5, by_control(Draft(tuple(labels), 0.9, "learner"))), schema, unknown_content(1)
    )
    assert drafted["value"] == {"choices": written}
    assert read_only([drafted], schema) == (tuple(labels), "")


@given(choices=any_json, name=st.sampled_from(["label", "note", "other"]), nested=st.booleans())
def test_any_result_is_read_or_has_a_code(choices: Any, name: str, nested: bool) -> None:
    for schema in (SINGLE, MULTIPLE, SINGLE_TREE if nested else ALIASED):
        for result in ([region(choices, name)], choices):
            labels_read, unread = read_only(result, schema)
            assert unread in ("", *UNREADABLE_CODES)
            assert not unread or not {*labels_read} & {*schema.controls[0].labels}
