"""`apprentice simulate` on tasks with labels for several controls: one queue, and results for each control."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_label_studio import text_about
from simulations import LABELS, Body, SimulationFolder
from two_controls import LABEL, MOOD, MOOD_WORDS, TWO_CONTROLS, Labels, regions

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings
from ml_backend.model import fitted_model
from ml_backend.rendering.simulation_report import write_report
from ml_backend.simulation import replay
from ml_backend.simulation.controls import MIN_LABELLED_TASKS, over_controls
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.run_directory import prepare_folder

MOODS = list(MOOD_WORDS)


def task(number: int, labels: Labels) -> Body:
    """A task about a label and, by other words, a mood, with an annotation of these labels."""
    text = f"{text_about(LABELS[number % 3], number)} {MOOD_WORDS[MOODS[number // 3 % 2]].split()[number % 4]}"
    annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "result": regions(labels)}
    return {"id": number, "data": {"text": text}, "annotations": [annotation]}


def export(n: int, n_moods: int) -> list[Body]:
    """n tasks with a label; the first `n_moods` have a mood, too."""
    return [
        task(i, {LABEL: LABELS[i % 3], **({MOOD: MOODS[i // 3 % 2]} if i <= n_moods else {})}) for i in range(1, n + 1)
    ]


@pytest.fixture
def simulation(simulation: SimulationFolder) -> SimulationFolder:
    """40 tasks with labels for both controls."""
    (simulation.folder / "config.xml").write_text(TWO_CONTROLS)
    simulation.write(export(40, 40))
    return simulation


def test_all_controls_are_learnt_in_the_same_runs_and_each_has_its_results(
    main: Callable[..., Any], simulation: SimulationFolder
) -> None:
    code, out, err = main()
    assert (code or 0, err) == (0, "")
    assert simulation.runs() == [("margin", 0), ("random", 0), ("margin", 1), ("random", 1)]
    assert {measurement.control for measurement in simulation.numbers()} == {LABEL, MOOD}
    summary = json.loads((simulation.out / "summary.json").read_text())
    assert summary.keys() == {"strategies", "protocol", "controls"}
    assert summary["protocol"]["over_controls"] == [LABEL, MOOD]
    assert summary["protocol"]["labels"] == {LABEL: 3, MOOD: 2}
    finals = [summary["controls"][control]["strategies"]["margin"]["final"] for control in (LABEL, MOOD)]
    joint = summary["strategies"]["margin"]["final"]
    assert joint["macro_f1"] == pytest.approx(np.mean([final["macro_f1"] for final in finals]))
    assert joint["worst_class_f1"] <= min(final["worst_class_f1"] for final in finals) + 1e-9
    assert f"means over the controls {LABEL}, {MOOD}" in out
    for control in (LABEL, MOOD):
        assert f"{control}: Too few repetitions (seeds) to say." in out


def test_the_report_has_a_section_for_each_control(simulation: SimulationFolder) -> None:
    write_report(simulation.run().conclude(), simulation.out)
    page = (simulation.out / "report.html").read_text()
    headings = ("<h2>All controls</h2>", f"<h2>Control {LABEL}</h2>", f"<h2>Control {MOOD}</h2>", "<h2>Protocol</h2>")
    places = [page.index(heading) for heading in headings]
    assert places == sorted(places)
    for start, end in pairwise(places):
        assert page[start:end].count("<h3>Macro-F1</h3>") == page[start:end].count("<h3>Summary</h3>") == 1


def test_a_named_control_is_replayed_alone(simulation: SimulationFolder) -> None:
    simulation.run(control=MOOD).conclude()
    assert {measurement.control for measurement in simulation.numbers()} == {MOOD}
    summary = json.loads((simulation.out / "summary.json").read_text())
    assert summary.keys() == {"strategies", "protocol"} and summary["protocol"]["labels"] == 2


def test_a_control_is_learnt_and_tested_on_the_tasks_with_a_label_for_it(
    simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.write(export(60, 30))
    tested: dict[str, set[int]] = {LABEL: set(), MOOD: set()}
    fitted: dict[int, set[int]] = {3: set(), 2: set()}
    measure, fit = replay._simulation_metrics, fitted_model.fit_model

    def spy_metrics(control: Any, learner: Any, targets: Any, test: replay.LabelledPool) -> Any:
        tested[control.name].add(len(test))
        assert np.isfinite(targets).all() and np.isfinite(test.targets[control.name]).all()
        return measure(control, learner, targets, test)

    def spy_fit(snapshot: Any, *others: Any) -> Any:
        fitted[len(snapshot.labels)].add(len(snapshot.tasks))
        assert np.isfinite(snapshot.targets).all()
        return fit(snapshot, *others)

    monkeypatch.setattr(replay, "_simulation_metrics", spy_metrics)
    monkeypatch.setattr(fitted_model, "fit_model", spy_fit)
    simulator = simulation.run(seeds=1)
    sizes = {
        control: result.summary["protocol"]["test_rows"] for control, result in simulator.conclude().by_control.items()
    }
    assert sizes == {LABEL: 18, MOOD: 9}
    assert f"Tasks with a label: 60 for {LABEL}, 30 for {MOOD}" in simulation.messages
    assert tested[LABEL] == {18} and 0 < max(tested[MOOD]) < 18
    assert fitted[3] == {4, 8, 12} and max(fitted[2]) < 12


def test_a_round_without_a_label_for_a_control_is_measured(simulation: SimulationFolder) -> None:
    simulation.write(export(90, MIN_LABELLED_TASKS))
    simulation.run(initial=1, seeds=1)
    accuracies = [
        measurement
        for measurement in simulation.numbers()
        if (measurement.metric, measurement.control) == ("accuracy", MOOD)
    ]
    assert [measurement.labelled for measurement in accuracies] == [1, 4, 8, 12] * 2


def test_the_first_notice_says_which_controls_are_learnt_and_why_others_are_not(simulation: SimulationFolder) -> None:
    tags = (
        '<Choices name="mood" toName="text"><Choice value="a"/><Choice value="b"/></Choices>'
        '<Rating name="stars" toName="nowhere"/></View>'
    )
    (simulation.folder / "config.xml").write_text(TWO_CONTROLS.replace("</View>", tags))
    simulation()
    assert simulation.messages[0] == (
        "The simulation learns <Choices name='label'>: one choice out of 3 over $text; not learnt: <Choices "
        "name='mood'> (another control has the same name), <Rating name='stars'> (it labels none of the tags that are "
        "read)"
    )
    with pytest.raises(ApprenticeError, match=r"no control 'stars' \(it labels none of the tags that are read\)"):
        simulation(control="stars")


def test_the_first_notice_is_about_the_control_that_is_named(simulation: SimulationFolder) -> None:
    simulation(control=MOOD)
    assert simulation.messages[0] == "The simulation learns <Choices name='mood'>: one choice out of 2 over $text"


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        (export(40, MIN_LABELLED_TASKS - 1), f"fewer than {MIN_LABELLED_TASKS} tasks are labelled for it"),
        ([task(i, {LABEL: LABELS[i % 3], MOOD: "calm"}) for i in range(1, 41)], "all of its answers are the same"),
    ],
)
def test_a_control_that_cannot_be_compared_is_left_out(
    simulation: SimulationFolder, tasks: list[Body], reason: str
) -> None:
    simulation.write(tasks)
    simulation.run(seeds=1).conclude()
    assert f"The control {MOOD} is left out: {reason}" in simulation.messages
    assert {measurement.control for measurement in simulation.numbers()} == {LABEL}
    assert "controls" not in json.loads((simulation.out / "summary.json").read_text())


@pytest.mark.parametrize("n_moods", [40, 5])
def test_each_file_is_read_once(simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch, n_moods: int) -> None:
    simulation.write(export(40, n_moods))
    names: list[str] = []
    read_text = Path.read_text

    def spy_read_text(path: Path, *args: Any, **kwargs: Any) -> str:
        names.append(path.name)
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", spy_read_text)
    simulation(test=simulation.write(export(9, 9), "test.json"))
    assert (names.count("tasks.json"), names.count("test.json")) == (1, 1)


def test_the_tasks_without_a_label_for_the_other_controls_are_left_out_with_a_control(
    simulation: SimulationFolder,
) -> None:
    simulation.write([*export(40, 5), task(41, {MOOD: "calm"})])
    summary = simulation.run(seeds=1).conclude().summary
    assert summary["protocol"]["tasks"] == 40
    assert any("left out of 41 tasks" in message and "(task 41)" in message for message in simulation.messages)


def test_a_control_without_a_test_task_is_left_out(simulation: SimulationFolder) -> None:
    simulation(test=simulation.write(export(9, 0), "test.json"))
    assert f"The control {MOOD} is left out: no test task is labelled for it" in simulation.messages


def test_without_a_control_that_can_be_compared_there_is_nothing_to_simulate(simulation: SimulationFolder) -> None:
    simulation.write([task(i, {LABEL: "fruit", MOOD: "calm"}) for i in range(1, 41)])
    with pytest.raises(ApprenticeError, match="leave nothing to compare in any control"):
        simulation()


@pytest.mark.parametrize(
    ("option", "values"), [("--teacher-arm", {"arms": ["teach"]}), ("--features", {"features": 1})]
)
def test_an_option_of_one_control_needs_its_name(
    simulation: SimulationFolder, option: str, values: dict[str, Any]
) -> None:
    with pytest.raises(ApprenticeError, match=f"{option} is about one control: name one of {LABEL}, {MOOD}"):
        simulation(**values)


def test_a_folder_holds_the_simulation_of_the_same_controls_and_weights(simulation: SimulationFolder) -> None:
    simulation()
    with pytest.raises(ApprenticeError, match="holds another simulation"):
        simulation(control=LABEL)
    simulation.settings.defaults = ProjectSettings(control_weights={MOOD: 0.0})
    with pytest.raises(ApprenticeError, match="control weights"):
        simulation()


def test_a_control_of_weight_zero_is_reported_and_does_not_count_in_the_recommendation(
    simulation: SimulationFolder,
) -> None:
    simulation.settings.defaults = ProjectSettings(control_weights={MOOD: 0.0})
    result = simulation.run(seeds=1).conclude()
    assert result.summary["protocol"]["over_controls"] == [LABEL]
    assert result.summary["strategies"] == result.by_control[LABEL].summary["strategies"]
    assert result.by_control.keys() == {LABEL, MOOD}


def test_a_metric_over_controls_is_the_mean_and_the_weakest_class_the_lowest() -> None:
    def measured(metric: str, value: float, control: str, seed: int = 0) -> Measurement:
        return Measurement("margin", seed, 4, metric, "", value, control)

    joint = over_controls(
        [
            measured("macro_f1", 0.5, LABEL), measured("macro_f1", 0.75, MOOD), measured("macro_f1", 0.0, "other"),
            measured("worst_class_f1", 0.5, LABEL), measured("worst_class_f1", 0.25, MOOD),
            measured("macro_f1", 0.5, LABEL, seed=1), measured("seconds", 2.0, ""),
        ],
        [LABEL, MOOD],
    )  # fmt: skip
    assert {(measurement.seed, measurement.metric): measurement.value for measurement in joint} == {
        (0, "macro_f1"): 0.625, (0, "worst_class_f1"): 0.25, (0, "seconds"): 2.0,
    }  # fmt: skip
    assert {measurement.control for measurement in joint} == {""}


def test_a_folder_of_another_simulation_names_what_differs_in_each_control(tmp_path: Path) -> None:
    earlier = {"labels": {"why": 2, "stars": 5}, "several_labels": {"why": False}, "groups": {"a": {"tasks": 1}}}
    prepare_folder(tmp_path, earlier)
    now = {"labels": {"why": 3, "stars": 5}, "several_labels": {"other": False}, "groups": {"a": {"tasks": 2}}}
    with pytest.raises(ApprenticeError) as error:
        prepare_folder(tmp_path, now)
    assert "(labels of 'why': 2, now 3; several labels: for other controls; groups: {" in str(error.value)
