"""Comparisons of two texts: their values are read and written; they are not learnt yet."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from prediction_validation import validation_errors
from schemas import read_only

from ml_backend.core.schema import InputSpec, ProjectSchema
from ml_backend.kinds.choices.tags import CONTROL_TAGS
from ml_backend.kinds.choices.values import write_region_value
from ml_backend.label_studio.label_config import read_schema

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


def test_a_comparison_is_named_as_not_learnt() -> None:
    choices = '<Choices name="c" toName="t1"><Choice value="x"/><Choice value="y"/></Choices>'
    [comparison] = read_schema(CONFIG.replace("</View>", f"{choices}</View>")).unlearnt
    assert (comparison.name, comparison.tag, comparison.code) == ("pw", "Pairwise", "tag")
