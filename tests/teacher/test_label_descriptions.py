"""Cues: what a teacher or a person wrote, checked, and turned into texts that stand for labels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from schemas import as_choices, first_of

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.storage import Store
from ml_backend.teacher.descriptions.description_prompts import description_question
from ml_backend.teacher.descriptions.label_descriptions import (
    MAX_CUES,
    adopt_reply,
    checked,
    descriptions,
    from_reply,
    label_descriptions_from_text,
    label_descriptions_to_text,
    label_phrases,
)

SCHEMA = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal", "animal")),))
CUES: dict[str, Any] = {
    "fruit": {"description": "grows on trees", "cues": [["an apple", 10], ["the apple of his eye", -5, "animal"]]},
    "metal": {"description": "", "cues": [["made of iron", 8], ["not a metal", -10], ["says nothing", 0]]},
}


def test_names_descriptions_and_cues_are_texts_of_their_label_weighted_by_the_score() -> None:
    phrases = label_phrases(CUES, SCHEMA.controls[0])
    rows = dict(
        zip(
            phrases.texts,
            zip(phrases.targets.tolist(), phrases.weights.tolist(), strict=True),
            strict=True,
        )
    )
    assert rows["grows on trees"] == rows["fruit"] == ([1, 0, 0], 1.0) and "animal" in rows
    assert rows["made of iron"] == ([0, 1, 0], pytest.approx(0.8))
    assert rows["the apple of his eye"] == ([0, 0, 1], 0.5), "it speaks for the label that is named instead"
    assert rows["not a metal"] == ([0.5, 0, 0.5], 1.0)
    assert "says nothing" not in rows


def test_with_several_choices_a_cue_against_a_label_is_neutral_for_the_others() -> None:
    control = replace(as_choices(SCHEMA.controls[0]), multiple=True)
    phrases = label_phrases({"metal": {"cues": [["not a metal", -10]]}}, control)
    assert phrases.targets[phrases.texts.index("not a metal")].tolist() == [0.5, 0, 0.5]


def test_a_removed_label_is_ignored_in_cues() -> None:
    left = replace(SCHEMA, controls=(replace(SCHEMA.controls[0], labels=("fruit", "metal")),))
    phrases = label_phrases(CUES, left.controls[0])
    assert phrases.targets[phrases.texts.index("the apple of his eye")].tolist() == [0, 1], "of all others alike"
    assert "animal" not in phrases.texts


def test_without_cues_the_labels_have_their_names_and_hints() -> None:
    phrases = label_phrases(
        {}, replace(SCHEMA.controls[0], labels=("fresh_fruit", "metal"), hints=("grows on trees", ""))
    )
    assert phrases.texts == ("fresh fruit", "grows on trees", "metal")
    assert phrases.targets.tolist() == [[1, 0], [1, 0], [0, 1]] and phrases.weights.tolist() == [1, 1, 1]


def test_a_hint_of_the_label_configuration_takes_precedence_over_the_teachers_description() -> None:
    hinted = replace(SCHEMA, controls=(replace(SCHEMA.controls[0], hints=("an edible one", "", "")),))
    assert descriptions(CUES, hinted.controls[0]) == {"fruit": "an edible one"}
    assert descriptions(CUES, SCHEMA.controls[0]) == {"fruit": "grows on trees"}
    assert descriptions(None, SCHEMA.controls[0]) == {}


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
def test_the_error_for_invalid_cues_names_the_label(wrong: Any, named: str) -> None:
    with pytest.raises(ApprenticeError, match=named):
        checked(wrong, SCHEMA.controls[0])


def test_white_space_is_normalised_and_empty_or_too_many_cues_are_left_out() -> None:
    many = [[f"cue {n}", 1] for n in range(MAX_CUES + 5)]
    cues = checked(
        {"fruit": {"description": " sweet ", "cues": [["  an \n apple ", 3], [" ", 5], *many]}}, SCHEMA.controls[0]
    )
    assert cues["fruit"]["description"] == "sweet"
    assert cues["fruit"]["cues"][:2] == [["an apple", 3], ["cue 0", 1]]
    assert len(cues["fruit"]["cues"]) == MAX_CUES


def test_a_reply_that_fits_the_question_is_read() -> None:
    import jsonschema

    listed = [{"phrase": "an apple", "score": 9, "instead": ""}, {"phrase": "gold", "score": -4, "instead": "metal"}]
    reply = {"labels": [{"label": "fruit", "description": "sweet", "cues": listed}]}
    asked = description_question(SCHEMA.controls[0], ["a text"], "scripted")
    jsonschema.validate(reply, asked.reply)
    cues = from_reply(reply, SCHEMA.controls[0])
    assert cues == {"fruit": {"description": "sweet", "cues": [["an apple", 9], ["gold", -4, "metal"]]}}
    assert np.isfinite(label_phrases(cues, SCHEMA.controls[0]).weights).all()


def test_cues_written_as_text_are_parsed_unchanged_and_every_label_is_listed() -> None:
    text = label_descriptions_to_text(CUES, SCHEMA.controls[0])
    assert [*json.loads(text)] == ["fruit", "metal", "animal"]
    assert '      ["the apple of his eye", -5, "animal"]\n' in text, "a cue a line"
    assert label_descriptions_from_text(text, SCHEMA.controls[0]) == CUES, "what says nothing of a label is left out"
    assert label_descriptions_from_text(label_descriptions_to_text({}, SCHEMA.controls[0]), SCHEMA.controls[0]) == {}


def test_the_error_for_invalid_json_names_the_place() -> None:
    with pytest.raises(ApprenticeError, match=r"not JSON: .* at line 2, column 12"):
        label_descriptions_from_text('{\n  "fruit": oops\n}', SCHEMA.controls[0])


def test_other_phrases_or_scores_have_another_digest() -> None:
    cue: dict[str, Any] = {"fruit": {"description": "", "cues": [["an apple", 5]]}}
    others = [[["an appl", 5]], [["an apple", 6]], [["an apple", 5], ["a pear", 5]]]
    digests = {
        label_phrases({"fruit": {"description": "", "cues": cues}}, SCHEMA.controls[0]).digest for cues in others
    }
    assert len(digests | {label_phrases(cue, SCHEMA.controls[0]).digest}) == 4
    assert label_phrases(cue, SCHEMA.controls[0]).digest == label_phrases(dict(cue), SCHEMA.controls[0]).digest


def test_a_teachers_cues_are_adopted_only_while_there_are_none(store: Store) -> None:
    reply = {"labels": [{"label": "fruit", "description": "sweet", "cues": []}]}
    adopt_reply(store, 5, reply, SCHEMA.controls[0])
    assert store.projects.get(5) is None, "a project that nobody knows is not made"
    store.projects.ensure(5)
    adopt_reply(store, 5, reply, SCHEMA.controls[0])
    adopt_reply(store, 5, {"labels": [{"label": "metal", "description": "hard", "cues": []}]}, SCHEMA.controls[0])
    assert first_of(store.projects.ensure(5).label_descriptions) == {"fruit": {"description": "sweet", "cues": []}}
