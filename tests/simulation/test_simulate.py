"""`apprentice simulate`: its files, paired runs, and sizes."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import MULTIPLE, config_with, text_about
from simulations import LABELS, Body, SimulationFolder, answer, export
from typer.testing import CliRunner

from ml_backend.cli import main as cli
from ml_backend.core.settings import Settings
from ml_backend.rendering.simulation_report import write_report
from ml_backend.rendering.simulation_text import intervals_cover_text
from ml_backend.simulation import replay, run
from ml_backend.simulation.learning_curves import COLUMNS
from ml_backend.simulation.task_encoder import ENCODED_AT_A_TIME


def test_curves_summary_and_report_are_written_and_the_verdict_is_last(
    main: Callable[..., Any], simulation: SimulationFolder
) -> None:
    before = os.umask(0o022)
    code, out, err = main(group="topic", seeds="3")
    os.umask(before)
    assert (code or 0, err) == (0, "")
    with (simulation.out / "curves.csv").open() as file:
        assert (
            next(csv.reader(file)) == COLUMNS == ["strategy", "seed", "labelled", "metric", "group", "value", "control"]
        )
    measurements = simulation.numbers()
    assert {strategy_summary.strategy for strategy_summary in measurements} == {"margin", "random"}
    assert {strategy_summary.seed for strategy_summary in measurements} == {0, 1, 2}
    assert {strategy_summary.labelled for strategy_summary in measurements} == {4, 8, 12}
    assert {strategy_summary.group for strategy_summary in measurements} == {"", "north", "south"}
    summary = json.loads((simulation.out / "summary.json").read_text())
    assert summary.keys() == {"strategies", "protocol"}
    assert summary["strategies"].keys() == {"margin", "random"}
    for strategy_summary in summary["strategies"].values():
        expected = {"final", "naulc", "labels_to_target", "seconds_per_round", "vs_random"}
        assert strategy_summary.keys() - {"groups"} == expected
        assert strategy_summary["final"].keys() == {"accuracy", "macro_f1", "worst_class_f1"}
        assert strategy_summary["naulc"].keys() == {"mean", "ci95"}
        assert strategy_summary["vs_random"].keys() == {"naulc_gain", "ci95", "p_value", "wins", "ties", "losses"}
    assert (summary["protocol"]["seeds"], summary["protocol"]["batch"], summary["protocol"]["budget"]) == (3, 4, 12)
    assert "<html" in (simulation.out / "report.html").read_text()
    *lines, last_line = out.strip().split("\n")
    assert last_line == f"The curves are in {simulation.out / 'report.html'}."
    assert "Too few repetitions (seeds) to say." in lines
    assert "repetition 1" not in out  # the progress bar needs a terminal
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in simulation.out.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(("curves.csv", "summary.json", "protocol.json", "report.html"), 0o644)


def test_a_group_that_some_lack_is_said_and_they_count_in_none(simulation: SimulationFolder) -> None:
    simulation(group="topic")
    assert any("10 of 30 tasks have no 'topic'" in message for message in simulation.messages)


def test_random_always_runs_and_each_strategy_once(simulation: SimulationFolder) -> None:
    simulation.run(strategies=["margin", "margin", "random"], seeds=1)
    assert simulation.runs() == [("margin", 0), ("random", 0)]


def test_seeds_are_paired(simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All strategies of a seed have the same first labels and the same test rows; other seeds have others."""
    splits: dict[int, list[tuple[Any, Any]]] = {}

    def spy(plan: Any, pool: replay.LabelledPool, test: replay.LabelledPool, strategy: str, seed: int) -> Any:
        splits.setdefault(seed, []).append((pool.vectors, test.vectors))
        return replay.simulate(plan, pool, test, strategy, seed)

    monkeypatch.setattr(run, "simulate", spy)
    simulation.run(strategies=["margin", "entropy"], seeds=3)
    for runs_of_seed in splits.values():
        assert len(runs_of_seed) == 3
        assert all(
            np.array_equal(pool, runs_of_seed[0][0]) and np.array_equal(test, runs_of_seed[0][1])
            for pool, test in runs_of_seed
        )
        everything = {row.tobytes() for row in np.concatenate(runs_of_seed[0])}
        assert (len(runs_of_seed[0][0]), len(runs_of_seed[0][1]), len(everything)) == (
            21,
            9,
            30,
        )  # no test row in the pool
    assert len({runs_of_seed[0][1].tobytes() for runs_of_seed in splits.values()}) == 3
    first = {
        (runs_of_seed.strategy, runs_of_seed.seed, runs_of_seed.metric): runs_of_seed.value
        for runs_of_seed in simulation.numbers()
        if runs_of_seed.labelled == 4
    }
    for (strategy, seed, metric), value in first.items():
        assert value == first["random", seed, metric], strategy


def test_a_test_file_is_the_test_set_of_all_seeds(
    simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(run, "simulate", lambda _, pool, test, *__: sizes.append((len(pool), len(test))) or ())
    simulation.run(test=simulation.write([*export(8, first=101), *export(3)], "test.json"))
    assert sizes == [(30, 11)] * 4
    assert any("3 of the texts are in" in message for message in simulation.messages)


def test_other_strategies_in_the_folder_make_the_correction_stronger(simulation: SimulationFolder) -> None:
    simulation.run(strategies=["entropy", "badge"], seeds=1)
    simulation.run(strategies=["margin"]).conclude()
    summary = json.loads((simulation.out / "summary.json").read_text())
    assert summary["strategies"].keys() == {"margin", "random"}
    assert summary["protocol"]["corrected_for"] == 3


def test_copies_of_a_text_are_on_one_side_of_the_split(
    simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = export(30)
    for row in range(0, 12, 2):
        tasks[row + 1]["data"] = tasks[row]["data"]
    simulation.write(tasks)
    splits = []
    monkeypatch.setattr(run, "simulate", lambda _, pool, test, *__: splits.append((pool, test)) or ())
    simulation.run(seeds=20)
    assert any("texts that occur more than once: 6, in 12 tasks" in message for message in simulation.messages)
    for pool, test in splits:
        assert {row.tobytes() for row in pool.vectors}.isdisjoint(row.tobytes() for row in test.vectors)
        assert len(pool) + len(test) == 30


@pytest.mark.parametrize(("n", "budget"), [(30, 10), (31, 11), (1500, 500)])
def test_without_a_budget_at_most_half_of_the_tasks_to_choose_from_are_labelled(
    simulation: SimulationFolder, n: int, budget: int
) -> None:
    simulation.write(export(n))
    simulation(budget=None)
    size = n - round(0.3 * n)
    (message,) = (message for message in simulation.messages if message.startswith("Tasks to choose from"))
    held_out = f"{n - size} are held out to test on, anew for each repetition"
    assert message == f"Tasks to choose from: {size}; {held_out}. Up to {budget} labels, 4 at a time"
    protocol = json.loads((simulation.out / "protocol.json").read_text())
    assert (protocol["budget"], protocol["pool"], protocol["test_rows"]) == (budget, size, n - size)
    simulation(budget=budget)  # the same budget as an option: the folder is accepted


def test_a_budget_of_everything_is_told_and_the_ends_are_not_compared(
    main: Callable[..., Any], simulation: SimulationFolder
) -> None:
    code, out, _ = main(budget="21", seeds="7")
    assert code in (0, None)
    assert "In the end all strategies have the same labels: a smaller --budget would compare how they end" in out
    assert "All 21 tasks to choose from were labelled in the end, where all strategies are alike" in out
    assert "weakest class ends" not in out
    assert "<h2>Labels needed</h2>" not in (simulation.out / "report.html").read_text()


@pytest.mark.parametrize("fixed", [True, False])
def test_the_sizes_of_test_part_and_groups_and_what_intervals_cover_are_kept_and_shown(
    simulation: SimulationFolder, fixed: bool
) -> None:
    test = simulation.write(export(12, first=101), "test.json") if fixed else None
    write_report(simulation.run(group="topic", test=test).conclude(), simulation.out)
    protocol = json.loads((simulation.out / "summary.json").read_text())["protocol"]
    rows = 4 if fixed else 3
    assert (protocol["test_rows"], protocol["test_rows_stay"]) == (12 if fixed else 9, fixed)
    assert protocol["groups"] == {name: {"tasks": 10, "test_rows": rows} for name in ("north", "south")}
    page = (simulation.out / "report.html").read_text()
    assert f"The intervals cover {intervals_cover_text(fixed)}." in page
    assert f"north: 10 tasks, {rows} test rows; south: 10 tasks, {rows} test rows" in page
    assert f"north ({rows})" in page


def test_progress_goes_up_to_the_end(simulation: SimulationFolder) -> None:
    simulation.write(export(600))
    simulation.run()
    encoded = [step for step in simulation.progress if step[0] == "texts encoded"]
    assert encoded == [("texts encoded", n, 600) for n in (ENCODED_AT_A_TIME, 600)]
    done = [now for what, now, _ in simulation.progress if what.endswith("labels")]
    assert done == sorted(done)
    assert simulation.progress[-1] == ("random, repetition 2: labels", 48, 48)


@pytest.mark.parametrize(
    ("n", "values", "measured"),
    [
        (30, {"budget": 500}, [4, 8, 12, 16, 20, 21]),
        (30, {"budget": 10, "initial": 0}, [4, 8, 10]),
        (30, {"budget": 500, "batch": 50, "initial": 5}, [5, 21]),
        (4, {"batch": 1, "budget": 9}, [1, 2, 3]),
    ],
)
def test_what_is_too_much_for_the_tasks_is_made_smaller(
    simulation: SimulationFolder, n: int, values: Body, measured: list[int]
) -> None:
    simulation.write(export(n))
    simulation.run(**values, seeds=1)
    assert sorted({measurement.labelled for measurement in simulation.numbers()}) == measured
    (message,) = (text for text in simulation.messages if text.startswith("Tasks to choose from"))
    assert ("since there are no more (asked for: " in message) == (values["budget"] > n)


def test_several_labels_may_hold(simulation: SimulationFolder) -> None:
    tasks = export(30)
    for row, task in enumerate(tasks):
        task["annotations"] = [answer(row + 1, *LABELS[: row % 3])]
    simulation.write(tasks)
    (simulation.folder / "config.xml").write_text(MULTIPLE)
    simulation.run(seeds=1).conclude()
    assert json.loads((simulation.out / "summary.json").read_text())["protocol"]["several_labels"] is True


@pytest.mark.parametrize("c", [77, 2])
def test_rare_classes_run_with_the_real_learner(
    tmp_path: Path, settings: Settings, fake_encoder: FakeEncoder, c: int
) -> None:
    """77 classes with one example each; two, of which one has a single example."""
    simulation = SimulationFolder(tmp_path, settings)
    labels = [f"class {n}" for n in range(c)]
    simulation.write(export(77, labels=labels if c == 77 else [labels[0], *labels[1:] * 76]))
    (tmp_path / "config.xml").write_text(config_with(*labels))
    simulation.run(strategies=["cluster-uncertainty"], seeds=2).conclude()
    assert all(0 <= measurement.value <= 1 for measurement in simulation.numbers())


def test_test_tasks_may_all_have_the_same_answer(main: Callable[..., Any], simulation: SimulationFolder) -> None:
    code, _, err = main(test=str(simulation.write(export(9, first=101, labels=["metal"]), "test.json")))
    assert (code or 0, err) == (0, "")


def test_half_labelled_tasks_are_counted_and_the_rest_is_used(
    main: Callable[..., Any], simulation: SimulationFolder
) -> None:
    tasks = export(40)
    for task in tasks[::4]:
        task["annotations"] = []
    tasks[1]["data"]["text"] = ""
    simulation.write(tasks)
    code, out, _ = main()
    assert code in (0, None)
    without = "10 not labelled (task 1, 5, 9, 13, 17 and 5 more), 1 without a text in 'text' (task 2)"
    assert f"left out of 40 tasks: {without}\n" in out
    assert json.loads((simulation.out / "summary.json").read_text())["protocol"]["tasks"] == 29


def test_odd_texts_and_groups_go_all_the_way(main: Callable[..., Any], simulation: SimulationFolder) -> None:
    tasks = export(30)
    for row, value in enumerate(("nul\0", "half \ud83d", 42, 1.5, True, 'line\nbreak, "quoted"', "[bold]x[/]")):
        tasks[row]["data"] = {"text": value, "topic": value}
    simulation.write(tasks)
    code, _, err = main(group="topic", seeds="1")
    assert (code or 0, err) == (0, "")
    assert (simulation.out / "report.html").stat().st_size > 1000


def test_the_command_is_there_before_what_takes_long_to_import() -> None:
    """So that Ctrl-C prints its message even during the first imports."""
    loaded = "import sys; import ml_backend.cli; print({'numpy', 'pydantic', 'torch'} & {*sys.modules})"
    root = Path(cli.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", loaded], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_help_explains_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    help_text = CliRunner().invoke(cli.app, ["simulate", "--help"]).stdout
    for option in ("tasks", "label-config", "test", "strategy", "budget", "batch", "seeds", "initial", "group", "out"):
        assert f"--{option} " in help_text
    assert help_text.count("[required]") == 3


def test_comparisons_of_two_texts_are_simulated(simulation: SimulationFolder) -> None:
    (simulation.folder / "config.xml").write_text(
        '<View><Text name="a" value="$text"/><Text name="b" value="$other"/>'
        '<Pairwise name="label" toName="a,b"/></View>'
    )
    tasks = export(40)
    for number, task in enumerate(tasks):
        side = ("left", "right")[number % 2]
        fruit, metal = text_about("fruit", number), text_about("metal", number)
        task["data"] = {"text": fruit, "other": metal} if side == "left" else {"text": metal, "other": fruit}
        [region] = task["annotations"][0]["result"]
        region |= {"type": "pairwise", "value": {"selected": side}}
    simulation.write(tasks)
    simulation.run(strategies=["margin"], seeds=1)
    accuracy = [row.value for row in simulation.numbers() if row.metric == "accuracy"]
    assert accuracy and max(accuracy) > 0.9
