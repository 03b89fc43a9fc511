"""A rollback of one control: its earlier learner serves and is held, and the other control goes on learning."""

from __future__ import annotations

import pytest
from fake_label_studio import FakeLabelStudio
from projects import set_up
from round_fixtures import MakeRound, active
from two_controls import LABEL, MOOD, TWO_CONTROLS, Labels, drafts_of, label_open_tasks, learn_both_controls

from ml_backend.core.exceptions import ApprenticeError, UnknownVersionError
from ml_backend.loop.rollback import LATEST, roll_back
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.rollback_text import rollback_sentence
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(label_config=TWO_CONTROLS)


@pytest.fixture
def moody(server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store) -> dict[int, Labels]:
    """A connected project whose versions 2 and 3 have learners of both controls, fitted on 30 and 45 annotations."""
    set_up(store, 5, connection={"ml": 1})
    truth = learn_both_controls(server, lambda: run_round(make_round(server)))
    label_open_tasks(server, truth, 15)
    run_round(make_round(server))
    return truth


def learners(store: Store) -> dict[str, int | None]:
    """The number of the version that each control's learner was fitted for."""
    return {name: control.learner for name, control in active(store).controls.items()}


def test_the_earlier_learner_of_the_control_serves_and_the_others_stay(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    accuracies = {number: store.versions.get(5, number).controls for number in (2, 3)}  # type: ignore[union-attr]
    held = roll_back(store, 5, "2", LABEL)
    assert held is not None and held.number == 2
    assert f"the learner of {LABEL} of {held.name} serves again" in rollback_sentence(5, held, LABEL)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 2, MOOD: 3}
    assert active(store).controls[LABEL].accuracy == accuracies[2][LABEL].accuracy
    assert active(store).controls[MOOD].accuracy == accuracies[3][MOOD].accuracy
    models = project_model.load(store, 5, active(store).learner or 0).by_control
    assert {name: (model.number, len(model.snapshot.tasks)) for name, model in models.items()} == {
        LABEL: (2, 30), MOOD: (3, 45),
    }  # fmt: skip
    assert {*map(len, drafts_of(server).values())} == {2}


def test_the_rollback_causes_one_new_version(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    roll_back(store, 5, "2", LABEL)
    assert run_round(make_round(server)) is not None
    assert run_round(make_round(server)) is None, "nothing has changed since"


def test_the_other_control_goes_on_learning_until_all_do(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    roll_back(store, 5, "2", LABEL)
    for number in (4, 5):
        label_open_tasks(server, moody, 10)
        run_round(make_round(server))
        assert learners(store) == {LABEL: 2, MOOD: number}
    assert roll_back(store, 5, LATEST, LABEL) is None
    run_round(make_round(server))
    assert learners(store) == {LABEL: 6, MOOD: 5}


@pytest.fixture
def artifacts_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the versions whose artifacts have been read."""
    numbers: list[int] = []
    original_load = project_model.load

    def load(store: Store, project: int, number: int) -> project_model.ProjectModel:
        numbers.append(number)
        return original_load(store, project, number)

    monkeypatch.setattr(project_model, "load", load)
    return numbers


@pytest.mark.parametrize("controls", [[LABEL], [LABEL, MOOD]])
def test_the_artifact_of_the_active_version_alone_is_read_if_it_has_the_held_models(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store, artifacts_read: list[int],
    controls: list[str],
) -> None:  # fmt: skip
    for number, control in enumerate(controls, 2):
        roll_back(store, 5, str(number), control)
    run_round(make_round(server))
    assert {*artifacts_read} == {2, 3}, "the artifact with the models of both versions is written in this round"
    for number in (5, 6):
        artifacts_read.clear()
        newest = active(store).learner
        label_open_tasks(server, moody, 10)
        run_round(make_round(server))
        assert {*artifacts_read} == {newest}
        assert active(store).number == number and learners(store)[LABEL] == 2


def test_the_held_model_serves_if_the_artifact_of_the_active_version_is_damaged(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    roll_back(store, 5, "2", LABEL)
    run_round(make_round(server))
    assert active(store).learner == 4
    store.versions.drop_artifact(5, 4)
    label_open_tasks(server, moody, 10)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 2, MOOD: 5}
    assert project_model.load(store, 5, active(store).learner or 0).by_control[LABEL].number == 2


def test_each_control_can_be_held_at_another_version(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    label_open_tasks(server, moody, 10)
    run_round(make_round(server))
    roll_back(store, 5, "2", LABEL)
    roll_back(store, 5, "3", MOOD)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 2, MOOD: 3}
    assert run_round(make_round(server)) is None, "nothing has changed since"
    status = read_status(store, 5)
    assert status.held == {LABEL: 2, MOOD: 3}
    line = dict(status_lines(status))["active version"]
    assert line.endswith(f"(held by a rollback: {LABEL} of version 2, {MOOD} of version 3)")
    roll_back(store, 5, LATEST, MOOD)
    assert read_status(store, 5).held == {LABEL: 2}
    roll_back(store, 5, LATEST)
    assert read_status(store, 5).held == {}


def test_a_rollback_of_all_controls_replaces_one_of_a_control(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    roll_back(store, 5, "2", LABEL)
    run_round(make_round(server))
    roll_back(store, 5, "3")
    run_round(make_round(server))
    assert (active(store).learner, learners(store)) == (3, {LABEL: 3, MOOD: 3})


def test_without_a_version_the_learner_before_the_serving_one_of_the_control_is_held(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    label_open_tasks(server, moody, 10, controls=[MOOD])
    run_round(make_round(server))
    assert learners(store) == {LABEL: 3, MOOD: 4}
    for control, expected in ((LABEL, 2), (MOOD, 3)):
        held = roll_back(store, 5, control=control)
        assert held is not None and held.number == expected, control


def test_without_a_version_the_version_that_the_learner_was_fitted_in_is_held(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    label_open_tasks(server, moody, 10, controls=[MOOD])
    run_round(make_round(server))
    label_open_tasks(server, moody, 10)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 5, MOOD: 5}
    held = roll_back(store, 5, control=LABEL)
    assert held is not None and held.number == 3, "version 4 serves the same learner"


@pytest.mark.parametrize("to", ["2", None])
def test_a_rollback_to_a_version_without_a_learner_of_the_control_is_refused(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, to: str | None
) -> None:
    set_up(store, 5, connection={"ml": 1})
    truth = learn_both_controls(server, lambda: run_round(make_round(server)))
    server.label_config = TWO_CONTROLS.replace(MOOD, "temper")
    label_open_tasks(server, truth, 10, controls=[LABEL])
    run_round(make_round(server))
    with pytest.raises(UnknownVersionError, match=r"no .*learner of the control 'temper'"):
        roll_back(store, 5, to, "temper")
    with pytest.raises(ApprenticeError, match="learns no control 'mood'"):
        roll_back(store, 5, to, MOOD)
    assert store.projects.require(5).pinned == {}


def test_a_rollback_of_a_control_that_is_renamed_does_not_count(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    roll_back(store, 5, "2", MOOD)
    run_round(make_round(server))
    assert learners(store) == {LABEL: 3, MOOD: 2}
    server.label_config = TWO_CONTROLS.replace(MOOD, "temper")
    label_open_tasks(server, moody, 10, controls=[LABEL])
    run_round(make_round(server))
    assert learners(store) == {LABEL: 5, "temper": None}
    assert read_status(store, 5).held == {}


def test_a_rollback_of_all_controls_does_not_hold_one_that_was_added_later(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    set_up(store, 5, connection={"ml": 1})
    truth = learn_both_controls(server, lambda: run_round(make_round(server)))
    server.label_config = TWO_CONTROLS.replace(MOOD, "temper")
    run_round(make_round(server))
    roll_back(store, 5, "2")
    labels = {task: {LABEL: of_task[LABEL], "temper": of_task[MOOD]} for task, of_task in truth.items()}
    label_open_tasks(server, labels, 10, controls=[LABEL, "temper"])
    run_round(make_round(server))
    assert learners(store) == {LABEL: 2, "temper": 4}


def test_a_rollback_to_learners_of_removed_controls_is_refused(
    server: FakeLabelStudio, make_round: MakeRound, moody: dict[int, Labels], store: Store
) -> None:
    server.label_config = TWO_CONTROLS.replace(MOOD, "temper").replace('name="label"', 'name="topic"')
    run_round(make_round(server))
    with pytest.raises(UnknownVersionError, match="renamed or removed"):
        roll_back(store, 5, "2")
