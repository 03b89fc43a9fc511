"""Ratings: the numbers of the stars are labels in an order."""

from __future__ import annotations

from typing import Any

import pytest
from fake_encoder import FakeEncoder
from prediction_validation import validation_errors
from schemas import as_choices, by_control, read_only

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.types import Draft, Prediction, unknown_content
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import write_result
from plugins.teachers.similarity import Similarity


def config(rest: str = "") -> str:
    return f'<View><Text name="text" value="$text"/><Rating name="stars" toName="text" {rest}/></View>'


def region(rating: Any) -> dict[str, Any]:
    return {"from_name": "stars", "to_name": "text", "type": "rating", "value": {"rating": rating}}


@pytest.mark.parametrize(
    ("rest", "count"),
    [
        ("", 5),
        ('maxRating="7"', 7),
        ('maxrating="3"', 3),
        ('maxRating="99999999999999999999"', 100),
    ],
)
def test_the_labels_are_the_numbers_of_the_stars_in_their_order(rest: str, count: int) -> None:
    control = as_choices(read_schema(config(rest)).controls[0])
    assert control.labels == tuple(str(n) for n in range(1, count + 1))
    assert control.ordered and not control.multiple and control.tag == "Rating"


def test_a_rating_of_one_star_cannot_be_learnt() -> None:
    with pytest.raises(UnsupportedConfigError, match="too few labels"):
        read_schema(config('maxRating="1"'))


@pytest.mark.parametrize("max_rating", ["many", "-2", "0", "3.5"])
def test_a_rating_whose_drafts_label_studio_would_refuse_is_not_learnt(max_rating: str) -> None:
    """Measured on Label Studio 1.23: it refuses all drafts of such a control, or those of a number that it has not."""
    with pytest.raises(UnsupportedConfigError, match="'stars'> cannot be learnt: its maxRating is not a whole number"):
        read_schema(config(f'maxRating="{max_rating}"'))


def test_a_rating_that_points_at_no_tag_is_named_as_not_learnt() -> None:
    rest = '<Choices name="c" toName="text"><Choice value="x"/><Choice value="y"/></Choices></View>'
    schema = read_schema(config().replace('name="stars" toName="text"', 'name="stars"').replace("</View>", rest))
    assert [(control.name, control.code) for control in schema.unlearnt] == [("stars", "source")]


@pytest.mark.parametrize(("rating", "label"), [(1, "1"), (5, "5"), (4.0, "4"), ("3", "3")])
def test_a_whole_number_in_the_range_is_read(rating: Any, label: str) -> None:
    assert read_only([region(rating)], read_schema(config())) == ((label,), "")


@pytest.mark.parametrize(
    ("rating", "code"),
    [(0, "empty"), ("0", "empty"), (6, "label"), (-1, "label"), (3.5, "label"), (True, "label"), (None, "shape")],
)
def test_another_value_is_not_read(rating: Any, code: str) -> None:
    labels, unread = read_only([region(rating)], read_schema(config()))
    assert unread == code and not {*labels} & {*"12345"}


def test_a_task_without_a_rating_is_not_learnt_from() -> None:
    assert read_only([], read_schema(config())) == ((), "empty")


def test_a_draft_is_written_as_label_studio_stores_a_rating() -> None:
    schema = read_schema(config())
    [drafted] = write_result(
        Prediction(1, 0.5, by_control(Draft(("4",), 0.9, "learner"), "stars")), schema, unknown_content(1)
    )
    assert (drafted["type"], drafted["value"]) == ("rating", {"rating": 4})
    assert read_only([drafted], schema) == (("4",), "")
    assert validation_errors(config(), [drafted]) == []


def test_numbers_are_not_drafted_from_their_names() -> None:
    [control] = read_schema(config()).controls
    texts = ["five stars", "one star"]
    assert (
        kind_of(control).cold_start(control, Similarity(FakeEncoder().encode), texts, FakeEncoder().encode(texts))
        is None
    )
