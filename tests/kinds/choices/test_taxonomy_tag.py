"""Taxonomies: the nodes of a tree are labels, and each implies its ancestors."""

from __future__ import annotations

from typing import Any

import pytest
from prediction_validation import validation_errors
from schemas import as_choices, read_only

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.schema import MAX_LABELS
from ml_backend.core.types import Draft, Prediction, unknown_content
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import write_result

TREE = (
    '<Choice value="Archaea" hint="one cell"/><Choice value="Eukarya" alias="E"><Choice value="Human" alias="h"/>'
    '<Choice value="Cat"><Choice value="Tiger"/></Choice></Choice>'
)


def config(rest: str = "", tree: str = TREE) -> str:
    return f'<View><Text name="text" value="$text"/><Taxonomy name="t" toName="text" {rest}>{tree}</Taxonomy></View>'


def region(taxonomy: Any) -> dict[str, Any]:
    return {"from_name": "t", "to_name": "text", "type": "taxonomy", "value": {"taxonomy": taxonomy}}


def test_the_labels_are_all_nodes_by_their_paths() -> None:
    control = as_choices(read_schema(config()).controls[0])
    assert control.labels == (
        "Archaea", "Eukarya", "Eukarya > Human", "Eukarya > Cat", "Eukarya > Cat > Tiger",
    )  # fmt: skip
    assert control.stored == (("Archaea",), ("E",), ("E", "h"), ("E", "Cat"), ("E", "Cat", "Tiger"))
    assert control.parents == (-1, -1, 1, 1, 3)
    assert control.hints == ("one cell", "", "", "", "")
    assert control.multiple and control.tag == "Taxonomy"


def test_only_leaves_are_labels_if_only_these_can_be_selected() -> None:
    control = as_choices(read_schema(config('leafsOnly="true"')).controls[0])
    assert control.labels == ("Archaea", "Eukarya > Human", "Eukarya > Cat > Tiger")
    assert control.parents == ()


def test_a_value_is_worded_by_its_deepest_paths() -> None:
    [control] = read_schema(config()).controls
    value = ("Eukarya", "Eukarya > Cat", "Eukarya > Cat > Tiger", "Archaea")
    assert kind_of(control).in_words(control, value) == ("Eukarya > Cat > Tiger", "Archaea")


@pytest.mark.parametrize(
    ("taxonomy", "labels"),
    [
        ([["E", "h"]], ["Eukarya", "Eukarya > Human"]),
        ([["E", "Cat", "Tiger"], ["Archaea"]], ["Eukarya", "Eukarya > Cat", "Eukarya > Cat > Tiger", "Archaea"]),
        ([["E"], ["E", "h"]], ["Eukarya", "Eukarya > Human"]),
        ([["E"]], ["Eukarya"]),
        ([["e", "H "]], ["Eukarya", "Eukarya > Human"]),
        ([], []),
    ],
)
def test_a_path_is_read_with_its_ancestors(taxonomy: Any, labels: list[str]) -> None:
    assert read_only([region(taxonomy)], read_schema(config())) == (tuple(labels), "")


@pytest.mark.parametrize(
    ("taxonomy", "rest", "code"),
    [
        ([["h", "E"]], "", "label"),
        ([["Bacteria"]], "", "label"),
        ([["E", "Cat", "Lion"]], "", "label"),
        ([["E"]], 'leafsOnly="true"', "parent"),
        ([[]], "", "shape"),
        ([{"path": ["E"]}], "", "shape"),
        (None, "", "shape"),
        ([], 'required="true"', "empty"),
    ],
)
def test_another_value_is_not_read(taxonomy: Any, rest: str, code: str) -> None:
    schema = read_schema(config(rest))
    labels, unread = read_only([region(taxonomy)], schema)
    assert unread == code and not {*labels} & {*schema.controls[0].labels}


@pytest.mark.parametrize("rest", ["", 'leafsOnly="true"'])
@pytest.mark.parametrize("path", [["Animals", "Other"], ["Other"]])
def test_a_path_is_not_read_as_another_path_with_the_same_end(rest: str, path: list[str]) -> None:
    tree = (
        '<Choice value="Plants"><Choice value="Other"/><Choice value="Tree"/></Choice>'
        '<Choice value="Animals"><Choice value="Dog"/></Choice>'
    )
    labels, unread = read_only([region([path])], read_schema(config(rest, tree)))
    assert unread == "label" and labels == (" > ".join(path),)


def test_a_path_is_not_read_as_a_label_of_a_flat_taxonomy() -> None:
    flat = read_schema(config(tree='<Choice value="Other"/><Choice value="Tree"/>'))
    assert read_only([region([["Animals", "Other"]])], flat) == (("Animals > Other",), "label")


@pytest.mark.parametrize(
    ("labels", "written"),
    [
        (["Eukarya", "Eukarya > Human"], [["E", "h"]]),
        (["Eukarya"], [["E"]]),
        (["Archaea", "Eukarya", "Eukarya > Cat", "Eukarya > Cat > Tiger"], [["Archaea"], ["E", "Cat", "Tiger"]]),
        (["Archaea", "Eukarya > Human"], [["Archaea"]]),
    ],
)
def test_a_draft_has_the_deepest_paths_and_none_without_its_ancestors(labels: list[str], written: Any) -> None:
    schema = read_schema(config())
    [drafted] = write_result(
        Prediction(1, 0.5, {schema.controls[0].name: Draft(tuple(labels), 0.9, "learner")}), schema, unknown_content(1)
    )
    assert (drafted["type"], drafted["value"]) == ("taxonomy", {"taxonomy": written})
    assert validation_errors(config(), [drafted]) == []
    read, unread = read_only([drafted], schema)
    assert {*read} <= {*labels} and unread == ""


@pytest.mark.parametrize(("rest", "limit"), [('maxUsages="2"', 2), ("", 0), ('maxUsages="few"', 0)])
def test_the_highest_number_of_labels_is_read(rest: str, limit: int) -> None:
    assert as_choices(read_schema(config(rest)).controls[0]).max_usages == limit


@pytest.mark.parametrize(
    ("rest", "tree", "message"),
    [
        ("", "", "too few labels"),
        ('value="$tree"', "", "takes its labels from the task or a server"),
        ('apiUrl="http://localhost/tree"', "", "takes its labels from the task or a server"),
        ('labeling="true"', TREE, "for each region"),
        ("", "".join(f'<Choice value="{n}"/>' for n in range(MAX_LABELS + 1)), f"more than {MAX_LABELS} labels"),
    ],
)
def test_a_taxonomy_that_cannot_be_learnt_is_refused_with_a_reason(rest: str, tree: str, message: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=message):
        read_schema(config(rest, tree))


def test_a_label_whose_name_is_like_a_path_keeps_a_name_of_its_own() -> None:
    tree = '<Choice value="A"><Choice value="B"/><Choice value="C"/></Choice><Choice value="A > B"/>'
    control = as_choices(read_schema(config(tree=tree)).controls[0])
    assert len({*control.labels}) == len(control.labels) == 4
