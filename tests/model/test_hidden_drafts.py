"""Drafts of controls that may stay hidden: annotators submit no label that they were not shown."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from plugin_overrides import OverridePlugins

from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema, ShowCondition, ShowWhen
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.hidden_drafts import without_hidden
from ml_backend.model.pre_annotation import DraftedTasks, make_drafts

TOPIC = (
    '<Choices name="topic" toName="text"><Choice value="Fruit"/><Choice value="Metal" alias="M"/>'
    '<Choice value="Animal"/></Choices>'
)
TREE = (
    '<Taxonomy name="topic" toName="text"><Choice value="Food"><Choice value="Fruit"/></Choice>'
    '<Choice value="Metal"/></Taxonomy>'
)
KIND = '<Choices name="kind" toName="text"><Choice value="Apple"/><Choice value="Pear"/></Choices>'
STARS = '<Rating name="stars" toName="text"/>'
FOUR = {"stars": ("4",)}


def config_of(*tags: str) -> str:
    return f'<View><Text name="text" value="$text"/>{"".join(tags)}</View>'


def when(inner: str, condition: str, choices: str = "", control: str = "topic") -> str:
    named = f' whenTagName="{control}"' if control else ""
    of_choices = f' whenChoiceValue="{choices}"' if choices else ""
    return f'<View visibleWhen="{condition}"{named}{of_choices}>{inner}</View>'


def kept(config: str, drafts: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The controls that keep their drafts."""
    made = {name: Draft(value, 0.9, "learner") for name, value in drafts.items()}
    return {*without_hidden(made, read_schema(config))}


@pytest.mark.parametrize(
    ("condition", "choices", "control", "topic", "is_shown"),
    [
        ("choice-selected", "Fruit", "topic", ("Fruit",), True),
        ("choice-selected", "Fruit", "topic", ("Metal",), False),
        ("choice-selected", "Fruit,Metal", "topic", ("Metal",), True),
        ("choice-selected", "M", "topic", ("Metal",), True),
        ("choice-selected", "", "topic", ("Metal",), True),
        ("choice-selected", "", "topic", (), False),
        ("choice-selected", "Fruit", "", ("Metal",), True),
        ("choice-unselected", "Fruit", "topic", ("Fruit",), False),
        ("choice-unselected", "Fruit", "topic", ("Metal",), True),
        ("choice-unselected", "", "topic", ("Metal",), False),
        ("choice-unselected", "Fruit", "topic", (), True),
        ("region-selected", "", "", ("Fruit",), False),
        ("no-region-selected", "", "", ("Fruit",), True),
    ],
)
def test_a_rating_that_the_other_drafts_hide_has_no_draft(
    condition: str, choices: str, control: str, topic: tuple[str, ...], is_shown: bool
) -> None:
    config = config_of(TOPIC, when(STARS, condition, choices, control))
    assert ("stars" in kept(config, {"topic": topic, **FOUR} if topic else FOUR)) == is_shown


@pytest.mark.parametrize(
    ("condition", "has_draft"), [("choice-selected", True), ("choice-unselected", False), ("region-selected", False)]
)
def test_hidden_choices_keep_a_draft_that_the_labelling_screen_leaves_out(condition: str, has_draft: bool) -> None:
    topic = "Metal" if condition == "choice-selected" else "Fruit"
    config = config_of(TOPIC, when(KIND, condition, "Fruit"))
    assert kept(config, {"topic": (topic,), "kind": ("Apple",)}) == {"topic", *(["kind"] if has_draft else [])}


def test_the_deepest_labels_of_a_taxonomy_count() -> None:
    drafts = {"topic": ("Food", "Food > Fruit"), **FOUR}
    assert "stars" in kept(config_of(TREE, when(STARS, "choice-selected", "Fruit")), drafts)
    assert "stars" not in kept(config_of(TREE, when(STARS, "choice-selected", "Food")), drafts)


def test_the_choices_of_a_hidden_control_do_not_count() -> None:
    mood = '<Choices name="mood" toName="text"><Choice value="calm"/><Choice value="wild"/></Choices>'
    config = config_of(mood, when(TOPIC, "choice-selected", "calm", "mood"), when(STARS, "choice-unselected", "Fruit"))
    drafts = {"topic": ("Fruit",), **FOUR}
    assert "stars" in kept(config, {"mood": ("wild",), **drafts})
    assert "stars" not in kept(config, {"mood": ("calm",), **drafts})


def test_a_control_in_two_views_is_shown_if_both_are() -> None:
    config = config_of(TOPIC, when(when(STARS, "choice-unselected", "Animal"), "choice-unselected", "Fruit"))
    shown = {topic for topic in ("Fruit", "Metal", "Animal") if "stars" in kept(config, {"topic": (topic,), **FOUR})}
    assert shown == {"Metal"}


def test_the_choices_of_a_control_that_is_not_learnt_count_as_not_chosen() -> None:
    listed = '<Choices name="topic" toName="text" value="$topics"/>'
    assert "stars" not in kept(config_of(listed, KIND, when(STARS, "choice-selected", "Fruit")), FOUR)
    assert "stars" in kept(config_of(listed, KIND, when(STARS, "choice-unselected", "Fruit")), FOUR)


def test_conditions_in_a_circle_end() -> None:
    config = config_of(
        when(TOPIC, "choice-unselected", "Apple", "kind"), when(KIND, "choice-unselected", "Fruit", "topic")
    )
    assert kept(config, {"topic": ("Fruit",), "kind": ("Apple",)}) == set()


@pytest.mark.parametrize(("topic", "is_shown"), [("Fruit", True), ("", False)])
def test_the_work_does_not_explode_with_the_number_of_conditions(topic: str, is_shown: bool) -> None:
    names = [f"detail {n}" for n in range(12)]
    details = [when(KIND.replace('"kind"', f'"{name}"'), "choice-selected", control="") for name in names]
    config = config_of(TOPIC, *details, when(STARS, "choice-selected", control=names[0]))
    drafts = {"topic": (topic,)} if topic else {}
    drafts |= {**dict.fromkeys(names, ("Apple",)), **FOUR}
    assert ("stars" in kept(config, drafts)) == is_shown


def shown_by_all_paths(asked: str, schema: ProjectSchema, drafted: set[str], hidden: frozenset[str]) -> bool:
    """Whether a control is shown, by following each path of conditions until it returns to a control on it. `hidden`:
    the controls on the path"""
    hidden |= {asked}
    [control] = [control for control in schema.controls if control.name == asked]
    return all(
        any(
            shown_by_all_paths(other.name, schema, drafted, hidden)
            for other in schema.controls
            if other.name in drafted - hidden and condition.control in ("", other.name) and other.tag == "Choices"
        )
        == (condition.when == "choice-selected")
        for condition in control.shown_if
    )


@pytest.mark.parametrize(
    ("whens", "names_control"), [(("choice-selected", "choice-unselected"), True), (("choice-selected",), False)]
)
def test_a_control_is_shown_if_following_all_paths_of_conditions_shows_it(
    whens: tuple[ShowWhen, ...], names_control: bool
) -> None:
    rng = random.Random(1)
    names = ["a", "b", "c", "d"]
    for _ in range(500):
        choices = [
            ChoicesSchema(name, "text", shown_if=tuple(
                ShowCondition(rng.choice(whens), rng.choice(names) if names_control or rng.random() < 0.5 else "")
                for _ in range(rng.choice([0, 1, 2]))
            ))
            for name in names
        ]  # fmt: skip
        probes = [
            ChoicesSchema(f"stars {name}", "text", tag="Rating", shown_if=(ShowCondition("choice-selected", name),))
            for name in names
        ]
        schema = ProjectSchema(InputSpec("text"), (*choices, *probes))
        drafted = {name for name in names if rng.random() < 0.8}
        drafts = {control.name: Draft(("x",), 0.9, "learner") for control in probes}
        drafts |= {name: Draft(("x",), 0.9, "learner") for name in drafted}
        expected = {f"stars {name}" for name in drafted if shown_by_all_paths(name, schema, drafted, frozenset())}
        assert {name for name in without_hidden(drafts, schema) if name.startswith("stars")} == expected, choices


def test_drafts_are_made_for_the_controls_that_they_show(override_plugins: OverridePlugins) -> None:
    override_plugins({"encoder.fake": FakeEncoder})
    schema = read_schema(config_of(TOPIC, when(STARS, "choice-selected", "Fruit")))
    texts = ["one", "another"]
    teacher = {
        "topic": np.array([[1, 0, 0], [0, 1, 0]], np.float32),
        "stars": np.eye(5, dtype=np.float32)[[3, 3]],
    }
    tasks = DraftedTasks(texts, FakeEncoder().encode(texts), teacher)
    drafts = make_drafts(Settings(encoder="fake"), schema, {}, tasks)
    assert [{name: draft.value for name, draft in of_task.items()} for of_task in drafts] == [
        {"topic": ("Fruit",), "stars": ("4",)}, {"topic": ("Metal",)},
    ]  # fmt: skip
