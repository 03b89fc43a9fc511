"""Cues: what a teacher or a person wrote, checked, and turned into texts that stand for labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml_backend.domain import ApprenticeError, TaskSchema
from ml_backend.teaching.cues import MOST_CUES, checked, descriptions, from_reply, phrases
from ml_backend.teaching.questions import describe

SCHEMA = TaskSchema(("fruit", "metal", "animal"), False, "c", "t", "text")
TOLD: dict[str, Any] = {
    "fruit": {"description": "grows on trees", "cues": [["an apple", 10], ["the apple of his eye", -5, "animal"]]},
    "metal": {"description": "", "cues": [["made of iron", 8], ["not a metal", -10], ["says nothing", 0]]},
}


def test_names_descriptions_and_cues_are_texts_of_their_label_weighted_by_the_score() -> None:
    found = phrases(TOLD, SCHEMA)
    rows = dict(zip(found.texts, zip(found.targets.tolist(), found.weights.tolist(), strict=True), strict=True))
    assert rows["grows on trees"] == rows["fruit"] == ([1, 0, 0], 1.0) and "animal" in rows
    assert rows["made of iron"] == ([0, 1, 0], pytest.approx(0.8))
    assert rows["the apple of his eye"] == ([0, 0, 1], 0.5), "it speaks for the label that is named instead"
    assert rows["not a metal"] == ([0.5, 0, 0.5], 1.0)
    assert "says nothing" not in rows


def test_with_several_choices_what_speaks_against_a_label_says_nothing_of_the_others() -> None:
    found = phrases({"metal": {"cues": [["not a metal", -10]]}}, replace(SCHEMA, multiple=True))
    assert found.targets[found.texts.index("not a metal")].tolist() == [0.5, 0, 0.5]


def test_no_cues_are_no_texts() -> None:
    found = phrases({}, SCHEMA)
    assert found.texts == () and found.targets.shape == (0, 3) and found.weights.shape == (0,)


def test_a_hint_of_the_project_comes_before_the_teachers_description() -> None:
    hinted = replace(SCHEMA, hints=("an edible one", "", ""))
    assert descriptions(TOLD, hinted) == {"fruit": "an edible one"}
    assert descriptions(TOLD, SCHEMA) == {"fruit": "grows on trees"}
    assert descriptions(None, SCHEMA) == {}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ([], "JSON object"),
        ({"stone": {}}, "stone"),
        ({"fruit": "sweet"}, "fruit"),
        ({"fruit": {"description": 3}}, "fruit"),
        ({"fruit": {"cues": "sweet"}}, "fruit"),
        ({"fruit": {"cues": [["sweet"]]}}, "fruit"),
        ({"fruit": {"cues": [["sweet", 11]]}}, "fruit"),
        ({"fruit": {"cues": [["sweet", "5"]]}}, "fruit"),
        ({"fruit": {"cues": [["sweet", 5, "metal"]]}}, "fruit"),
        ({"fruit": {"cues": [["sweet", -5, "stone"]]}}, "fruit"),
    ],
)
def test_what_is_wrong_is_told_with_its_label(wrong: Any, named: str) -> None:
    with pytest.raises(ApprenticeError, match=named):
        checked(wrong, SCHEMA)


def test_blanks_are_tidied_and_empty_or_too_many_cues_left_out() -> None:
    many = [[f"cue {n}", 1] for n in range(MOST_CUES + 5)]
    found = checked({"fruit": {"description": " sweet ", "cues": [["  an \n apple ", 3], [" ", 5], *many]}}, SCHEMA)
    assert found["fruit"]["description"] == "sweet"
    assert found["fruit"]["cues"][:2] == [["an apple", 3], ["cue 0", 1]]
    assert len(found["fruit"]["cues"]) == MOST_CUES


def test_a_reply_that_fits_the_question_is_read() -> None:
    import jsonschema

    cues = [{"phrase": "an apple", "score": 9, "instead": ""}, {"phrase": "gold", "score": -4, "instead": "metal"}]
    reply = {"labels": [{"label": "fruit", "description": "sweet", "cues": cues}]}
    asked = describe(SCHEMA, ["a text"], "scripted")
    jsonschema.validate(reply, asked.reply)
    found = from_reply(reply, SCHEMA)
    assert found == {"fruit": {"description": "sweet", "cues": [["an apple", 9], ["gold", -4, "metal"]]}}
    assert np.isfinite(phrases(found, SCHEMA).weights).all()
