"""Rounds of a project with two controls: each has its own learner, gate, accuracy and drafts, in one queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_label_studio import SINGLE, FakeLabelStudio
from plugin_overrides import OverridePlugins
from projects import set_up
from recording_plugins import RecordingStrategy
from round_fixtures import MakeRound, active, queue
from two_controls import (
    LABEL,
    MOOD,
    MOOD_TAG,
    TWO_CONTROLS,
    Labels,
    add_moody_tasks,
    drafts_of,
    label_open_tasks,
    label_tasks,
    learn_both_controls,
)

from ml_backend.core import registry
from ml_backend.core.schema import ControlSchema
from ml_backend.evaluation.promotion_gate import GateDecision
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.kinds.choices.uncertainty import MEASURES
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop import training
from ml_backend.loop.preparation import prepare
from ml_backend.loop.queue_builder import RankingContext, rank
from ml_backend.loop.rollback import roll_back
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(label_config=TWO_CONTROLS)


@pytest.fixture
def moody(server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store) -> dict[int, Labels]:
    """A project of 90 tasks whose second version has learners of both controls, fitted on 30 right annotations."""
    return learn_both_controls(server, lambda: run_round(make_round(server)))


def learners(store: Store) -> dict[str, int | None]:
    """The number of the version that each control's learner was fitted for."""
    return {name: control.learner for name, control in active(store).controls.items()}


def reject_candidates_of(monkeypatch: pytest.MonkeyPatch, rejected: str) -> None:
    """Makes the promotion gate reject the candidates of one control."""
    promote = training.promote

    def promote_other(context: Any, inputs: Any, control: ControlSchema, *others: Any) -> training.Promotion:
        with monkeypatch.context() as patch:
            if control.name == rejected:
                patch.setattr(training, "decide_promotion", lambda *_: GateDecision(False))
            return promote(context, inputs, control, *others)

    monkeypatch.setattr(training, "promote", promote_other)


def test_each_control_has_a_learner_and_right_drafts_in_one_prediction(
    server: FakeLabelStudio, moody: dict[int, Labels], store: Store
) -> None:
    version = active(store)
    assert (version.learner, version.labelled, learners(store)) == (2, 30, {LABEL: 2, MOOD: 2})
    assert all(control.accuracy and control.accuracy.n == 30 for control in version.controls.values())
    drafts = drafts_of(server)
    assert len(drafts) == len(server.current_predictions()) == 12
    for control in (LABEL, MOOD):
        right = sum(labels[control] == moody[task][control] for task, labels in drafts.items())
        assert right >= 9, control


def test_a_control_without_new_labels_keeps_its_learner_in_the_artifact_of_the_next_version(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    accuracies = {name: control.accuracy for name, control in active(store).controls.items()}
    label_open_tasks(server, moody, 10, controls=[MOOD])
    run_round(make_round(server))
    version = active(store)
    assert learners(store) == {LABEL: 2, MOOD: 3}
    assert {name: control.labelled for name, control in version.controls.items()} == {LABEL: 30, MOOD: 40}
    assert version.labelled == 40
    assert version.controls[LABEL].accuracy == accuracies[LABEL]
    models = project_model.load(store, 5, 3).by_control
    assert {name: (model.number, len(model.snapshot.tasks)) for name, model in models.items()} == {
        LABEL: (2, 30), MOOD: (3, 40),
    }  # fmt: skip


def test_the_gate_decides_for_each_control(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    accuracy = active(store).controls[LABEL].accuracy
    reject_candidates_of(monkeypatch, LABEL)
    for number in (3, 4):
        label_open_tasks(server, moody, 10)
        run_round(make_round(server))
        assert learners(store) == {LABEL: 2, MOOD: number}
        assert active(store).controls[LABEL].accuracy == accuracy, "that of the version that fitted the learner"
        assert f"{LABEL}: kept the earlier learner" in remarks_text(active(store).remarks)
    models = project_model.load(store, 5, 4).by_control
    assert {name: model.number for name, model in models.items()} == {LABEL: 2, MOOD: 4}


def test_no_artifact_is_written_if_the_gate_rejects_the_candidates_of_all_controls(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(training, "decide_promotion", lambda *_: GateDecision(False))
    label_open_tasks(server, moody, 10)
    run_round(make_round(server))
    assert (active(store).number, active(store).learner, learners(store)) == (3, 2, {LABEL: 2, MOOD: 2})
    assert store.versions.learners(5) == [2]


def test_a_control_of_weight_0_is_learnt_and_drafted_and_does_not_count_in_the_queue(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store,
    override_plugins: OverridePlugins,
) -> None:  # fmt: skip
    options(queue_size=12, audit_share=0.0, control_weights={MOOD: 0.0})
    strategy = RecordingStrategy(registry.acquisition("margin"))
    override_plugins({"acquisition.cluster-uncertainty": lambda: strategy})
    truth = add_moody_tasks(server, 90)
    label_tasks(server, truth, [*truth][:30])
    run_round(make_round(server))
    models = project_model.load(store, 5, 1).by_control
    assert learners(store) == {LABEL: 1, MOOD: 1}
    assert {*map(len, drafts_of(server).values())} == {2}
    pool, selection = strategy.selections[-1]
    [label] = read_schema(store.projects.ensure(5).label_config).selected_controls(LABEL)
    alone = ChoicePredictions(models[LABEL].predict(label, pool.vectors), multiple=False)
    assert pool.predictions is not None
    for measure in MEASURES:
        uncertainty = pool.predictions.uncertainty(measure, selection.rows)
        assert np.array_equal(uncertainty, alone.uncertainty(measure, selection.rows))


def test_the_same_inputs_give_the_same_queue(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    context = make_round(server)
    inputs = prepare(context)
    ranking_context = RankingContext.of(context, inputs, inputs.serving, 2, active(store).name)
    first, second = (rank(store, context.pool, ranking_context) for _ in range(2))
    assert first == second
    assert [prediction.task for prediction in first] == queue(server)


def test_a_rollback_serves_the_earlier_learners_of_all_controls(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    set_up(store, 5, connection={"ml": 1})
    accuracies = {name: control.accuracy for name, control in active(store).controls.items()}
    label_open_tasks(server, moody, 15)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 3, MOOD: 3}
    roll_back(store, 5, "2")
    run_round(make_round(server))
    assert (active(store).learner, learners(store)) == (2, {LABEL: 2, MOOD: 2})
    assert {name: control.accuracy for name, control in active(store).controls.items()} == accuracies
    assert {*map(len, drafts_of(server).values())} == {2}


def test_a_control_that_was_not_shown_has_no_label(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    hidden = MOOD_TAG.replace('choice="single"', 'choice="multiple" visibleWhen="choice-selected" whenTagName="label"')
    server.label_config = SINGLE.replace("</View>", hidden)
    truth = add_moody_tasks(server, 60)
    label_open_tasks(server, truth, 20)
    label_open_tasks(server, truth, 10, controls=[LABEL])
    run_round(make_round(server))
    version = active(store)
    assert {name: control.labelled for name, control in version.controls.items()} == {LABEL: 30, MOOD: 20}
    assert version.labelled == 30 and learners(store) == {LABEL: 1, MOOD: 1}


def test_a_control_that_is_always_shown_and_was_left_empty_has_no_label_if_it_takes_one(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    label_open_tasks(server, moody, 5, controls=[LABEL])
    server.annotate(queue(server)[-1], skip=True)
    run_round(make_round(server))
    assert {name: control.labelled for name, control in active(store).controls.items()} == {LABEL: 35, MOOD: 30}
    lines = dict(status_lines(read_status(store, 5)))
    assert lines["labelled"].startswith("35,")
    assert "not used" not in lines, "a control may be left empty beside another one"
    assert "5 annotated but not used" in dict(status_lines(read_status(store, 5), MOOD))["labelled"]


def test_an_added_control_is_drafted_at_once_and_learnt_when_it_is_annotated(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    server.label_config = SINGLE
    truth = add_moody_tasks(server, 90)
    label_open_tasks(server, truth, 20, controls=[LABEL])
    run_round(make_round(server))
    server.label_config = TWO_CONTROLS
    run_round(make_round(server))
    assert learners(store) == {LABEL: 1, MOOD: None}
    assert {*map(len, drafts_of(server).values())} == {2}
    label_open_tasks(server, truth, 10)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 3, MOOD: 3}
    assert {name: control.labelled for name, control in active(store).controls.items()} == {LABEL: 30, MOOD: 10}


def test_a_renamed_control_starts_again_and_the_other_one_keeps_its_learner(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    server.label_config = TWO_CONTROLS.replace(MOOD, "temper")
    run_round(make_round(server))
    assert learners(store) == {LABEL: 2, "temper": None}
    assert active(store).controls["temper"].labelled == 0
    assert {tuple(sorted(labels)) for labels in drafts_of(server).values()} == {(LABEL, "temper")}


def test_a_removed_control_has_no_drafts_and_comes_back_with_its_labels(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    server.label_config = SINGLE
    run_round(make_round(server))
    assert learners(store) == {LABEL: 2}
    assert {tuple(labels) for labels in drafts_of(server).values()} == {(LABEL,)}
    server.label_config = TWO_CONTROLS
    run_round(make_round(server))
    assert active(store).controls[MOOD].labelled == 30
    assert active(store).controls[MOOD].learner is not None


def test_the_comparison_with_random_order_of_a_removed_control_does_not_count(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], moody: dict[int, Labels], store: Store
) -> None:
    options(acquisition_fallback=True)
    store.monitor.put(5, MOOD, {"comparison": {"verdict": "not winning", "acquisition": active(store).acquisition}})
    run_round(make_round(server))
    assert active(store).acquisition == "random"
    server.label_config = SINGLE
    run_round(make_round(server))
    assert active(store).acquisition == "cluster-uncertainty"
