"""Comparisons in the loop, beside another control over the same texts, and what a teacher is asked about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio, text_about
from round_fixtures import MakeRound, active
from schemas import as_choices

from ml_backend.core.arrays import PseudoLabels
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import compares_pair
from ml_backend.core.settings import Settings
from ml_backend.core.types import read_record, record_text
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.model.project_model import ProjectModel
from ml_backend.monitoring.monitor import read_monitor_input, run_monitor
from ml_backend.pool import feature_space
from ml_backend.storage import Store
from ml_backend.teacher import candidates, distillation
from ml_backend.teacher.evolution.evolution_run import check_texts_can_be_written
from ml_backend.teacher.project_context import ProjectContext, load_project_context
from ml_backend.teacher.teacher_labels import no_teacher_labels
from ml_backend.web.predictor import Predictor

CONFIG = (
    '<View><Text name="t1" value="$a"/><Text name="t2" value="$b"/><Pairwise name="fruit" toName="t1,t2"/>'
    '<Choices name="other" toName="t2"><Choice value="metal"/><Choice value="animal"/></Choices></View>'
)
SCHEMA = read_schema(CONFIG)
PAIR = SCHEMA.controls[1]


def add_pairs(server: FakeLabelStudio, n: int) -> dict[int, tuple[str, str]]:
    """Fills the project with pairs of a text about fruit and another one. Returns the right labels of each task."""
    server.label_config = CONFIG
    truth: dict[int, tuple[str, str]] = {}
    for number in range(n):
        side, other = ("left", "right")[number % 2], ("metal", "animal")[number // 2 % 2]
        texts = [text_about("fruit", number), text_about(other, number)]
        left, right = texts if side == "left" else texts[::-1]
        server.add_tasks([""], a=left, b=right)
        truth[max(server.tasks)] = (side, other)
    return truth


def annotate(server: FakeLabelStudio, task: int, side: str, other: str) -> None:
    server.annotate_with(
        task,
        [
            {"from_name": "fruit", "to_name": "fruit", "type": "pairwise", "value": {"selected": side}},
            {"from_name": "other", "to_name": "t2", "type": "choices", "value": {"choices": [other]}},
        ],
    )


@pytest.fixture
def compared(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> dict[int, tuple[str, str]]:
    """A project of 80 pairs whose second version has learners of both controls, fitted on 40 right labels."""
    truth = add_pairs(server, 80)
    run_round(make_round(server))
    for task in [*truth][:40]:
        annotate(server, task, *truth[task])
    run_round(make_round(server))
    return truth


def drafts_of(row: dict[str, Any]) -> dict[str, str]:
    values = {region["from_name"]: region["value"] for region in row["result"]}
    return {name: value.get("selected") or value["choices"][0] for name, value in values.items()}


def test_the_first_round_drafts_no_side(server: FakeLabelStudio, make_round: MakeRound, options: object) -> None:
    add_pairs(server, 40)
    run_round(make_round(server))
    rows = server.current_predictions()
    assert len(rows) == 12
    assert all(drafts_of(row).keys() == {"other"} for row in rows)


def test_both_controls_are_learnt_from_one_vector_space(
    compared: dict[int, tuple[str, str]], server: FakeLabelStudio, store: Store, fake_encoder: FakeEncoder
) -> None:
    models = project_model.load(store, 5, 2).by_control
    assert {name: (model.snapshot.space, compares_pair(model.snapshot.control)) for name, model in models.items()} == {
        "fruit": ("pairs-fake", True),
        "other": ("pairs-fake", False),
    }
    assert {name: model.tensors["weight"].shape[0] for name, model in models.items()} == {
        "fruit": fake_encoder.dim,
        "other": 2 * fake_encoder.dim,
    }
    rows = server.current_predictions()
    right = [drafts_of(row)["fruit"] == compared[row["task"]][0] for row in rows]
    assert len(rows) == 12 and sum(right) >= 10
    assert all(region["to_name"] in ("t1", "t2") for row in rows for region in row["result"])


def test_the_predictor_swaps_its_draft_with_the_texts(
    compared: dict[int, tuple[str, str]], store: Store, settings: Settings
) -> None:
    predictor = Predictor(settings, store)
    record = {"left": text_about("fruit", 200), "right": text_about("metal", 200)}
    swapped = {"left": record["right"], "right": record["left"]}
    straight, turned = (
        predictor.predict(5, CONFIG, [1], [record_text(sides)])[0].drafts["fruit"] for sides in (record, swapped)
    )
    assert (straight.value, turned.value) == (("left",), ("right",))
    assert straight.confidence == turned.confidence


def test_the_monitor_judges_learners_of_differences(
    compared: dict[int, tuple[str, str]], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    context = make_round(server)
    monitor_input = read_monitor_input(
        store, context.pool, context.aggregator, store.projects.ensure(5), PAIR, Settings().defaults
    )
    assert monitor_input is not None
    assert run_monitor(monitor_input)["labelled"] == 40


@pytest.fixture
def context(compared: object, settings: Settings, store: Store) -> ProjectContext:
    return load_project_context(settings, store, 5, "fruit")


def test_the_teacher_is_asked_for_no_descriptions_of_the_sides(context: ProjectContext, store: Store) -> None:
    assert candidates.description_questions(store, replace(context, schema=SCHEMA.only(PAIR)), "t") == []
    [(question, _)] = candidates.description_questions(store, context, "t")
    assert "metal" in question.instructions and "left" not in question.instructions


def test_the_teacher_is_asked_about_both_texts_at_once(context: ProjectContext, store: Store) -> None:
    [(question, _)] = candidates.label_questions(store, context, {}, "t", context.pool.tasks[:1])
    assert read_record(question.text).keys() == {"left", "right"}
    assert [(field.name, field.labels) for field in question.fields] == [
        ("other", ("metal", "animal")),
        ("fruit", ("left", "right")),
    ]


def test_the_teachers_labels_are_distilled_as_differences(
    context: ProjectContext, compared: dict[int, tuple[str, str]], fake_encoder: FakeEncoder
) -> None:
    rows = np.arange(40, 80)
    sides = [compared[task][0] for task in context.pool.tasks[rows].tolist()]
    targets = np.array([[side == "left", side == "right"] for side in sides], np.float32)
    taught = PseudoLabels(context.pool.encoded_vectors(rows), targets, np.ones(40, np.float32))
    collected = distillation.collect_distillation_input(context, "logistic", no_teacher_labels(PAIR), taught)
    assert not collected.phrases.texts, "the names of the sides mean nothing"
    priors = distillation.distil(collected, PAIR, context.encoder, seed=0)
    assert priors.keys() == {"labels"} and priors["labels"]["weight"].shape == (fake_encoder.dim, 2)
    assert len(distillation.pseudo_labels_of_names(PAIR, context.encoder).vectors) == 0


def test_a_prior_of_differences_is_loaded_for_a_comparison_only(context: ProjectContext, store: Store) -> None:
    taught = PseudoLabels(context.pool.encoded_vectors(np.arange(10)), np.eye(2, dtype=np.float32)[np.arange(10) % 2],
                          np.ones(10, np.float32))  # fmt: skip
    collected = distillation.collect_distillation_input(context, "logistic", no_teacher_labels(PAIR), taught)
    distillation.update_prior(store, context.project_row, collected, PAIR, context.encoder)
    project_row, space = store.projects.ensure(5), context.pool.space
    assert distillation.load_priors(store, project_row, "logistic", space, PAIR).tensors
    choices = replace(as_choices(PAIR), tag="Choices", antisymmetric=False)
    assert not distillation.load_priors(store, project_row, "logistic", space, choices).tensors


def test_a_teacher_writes_no_pairs(context: ProjectContext) -> None:
    with pytest.raises(ApprenticeError, match="are pairs of texts"):
        check_texts_can_be_written(context, "tasks")


def test_a_project_that_no_longer_compares_gets_vectors_of_its_texts(
    compared: object, server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    server.label_config = CONFIG.replace('<Pairwise name="fruit" toName="t1,t2"/>', "").replace(
        '<Text name="t1" value="$a"/>', ""
    )
    assert not feature_space.has_feature_space(store.projects.ensure(5), read_schema(server.label_config).input)
    run_round(make_round(server))
    model, _ = project_model.load_best(store, active(store), "fake")
    assert isinstance(model, ProjectModel) and {*model.by_control} == {"other"}


def test_equal_texts_come_last_and_are_not_learnt_from(
    compared: dict[int, tuple[str, str]], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    equal: list[int] = []
    for number in range(30):
        server.add_tasks([""], a=f"the same text {number}", b=f"the same text {number}")
        equal.append(max(server.tasks))
    for task in equal[:10]:
        annotate(server, task, "left", "metal")
    run_round(make_round(server))
    model = project_model.load(store, 5, active(store).controls["fruit"].learner or 0).by_control["fruit"]
    assert not {*model.snapshot.tasks.tolist()} & {*equal}
    accuracy = active(store).controls["fruit"].accuracy
    assert accuracy is not None and accuracy.n == 40
    first = [row["task"] for row in sorted(server.current_predictions(), key=lambda row: row["score"])][:6]
    assert not {*first} & {*equal}
