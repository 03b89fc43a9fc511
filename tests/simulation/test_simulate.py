"""`apprentice simulate`: what it writes, that runs are paired, and that it goes on where it was."""

from __future__ import annotations

import csv
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import MULTIPLE, config_with
from simulations import LABELS, Bench, Body, answer, export
from typer.testing import CliRunner

from ml_backend.cli import main as cli
from ml_backend.cli import simulate
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Floats
from ml_backend.simulation import replay, run
from ml_backend.simulation.learning_curves import COLUMNS


def test_curves_summary_and_report_are_written_and_the_verdict_is_last(main: Callable[..., Any], bench: Bench) -> None:
    before = os.umask(0o022)
    code, out, err = main(group="topic", seeds="3")
    os.umask(before)
    assert (code or 0, err) == (0, "")
    with (bench.out / "curves.csv").open() as file:
        assert next(csv.reader(file)) == COLUMNS == ["strategy", "seed", "labelled", "metric", "group", "value"]
    found = bench.numbers()
    assert {each.strategy for each in found} == {"margin", "random"}
    assert {each.seed for each in found} == {0, 1, 2}
    assert {each.labelled for each in found} == {4, 8, 12}
    assert {each.group for each in found} == {"", "north", "south"}
    summary = json.loads((bench.out / "summary.json").read_text())
    assert summary.keys() == {"strategies", "protocol"}
    assert summary["strategies"].keys() == {"margin", "random"}
    for each in summary["strategies"].values():
        expected = {"final", "naulc", "labels_to_target", "seconds_per_round", "vs_random"}
        assert each.keys() - {"groups"} == expected
        assert each["final"].keys() == {"accuracy", "macro_f1", "worst_class_f1"}
        assert each["naulc"].keys() == {"mean", "ci95"}
        assert each["vs_random"].keys() == {"naulc_gain", "ci95", "p_value", "wins", "ties", "losses"}
    assert (summary["protocol"]["seeds"], summary["protocol"]["batch"], summary["protocol"]["budget"]) == (3, 4, 12)
    assert "<html" in (bench.out / "report.html").read_text()
    *verdict, where = out.strip().split("\n")
    assert where == f"The curves are in {bench.out / 'report.html'}."
    assert "Too few repetitions (seeds) to say." in verdict
    assert "repetition 1" not in out  # the bar is for a terminal
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in bench.out.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(("curves.csv", "summary.json", "protocol.json", "report.html"), 0o644)


def test_a_group_that_some_lack_is_said_and_they_count_in_none(bench: Bench) -> None:
    bench(group="topic")
    assert any("10 of 30 tasks have no 'topic'" in each for each in bench.said)


def test_random_always_runs_and_each_strategy_once(bench: Bench) -> None:
    bench.run(strategies=["margin", "margin", "random"], seeds=1)
    assert bench.runs() == [("margin", 0), ("random", 0)]


def test_seeds_are_paired(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All strategies of a seed have the same first labels and the same test rows; other seeds have others."""
    splits: dict[int, list[tuple[Any, Any]]] = {}

    def spy(plan: Any, pool: replay.LabelledPool, test: replay.LabelledPool, strategy: str, seed: int) -> Any:
        splits.setdefault(seed, []).append((pool.vectors, test.vectors))
        return replay.simulate(plan, pool, test, strategy, seed)

    monkeypatch.setattr(run, "simulate", spy)
    bench.run(strategies=["margin", "entropy"], seeds=3)
    for each in splits.values():
        assert len(each) == 3
        assert all(np.array_equal(pool, each[0][0]) and np.array_equal(test, each[0][1]) for pool, test in each)
        everything = {row.tobytes() for row in np.concatenate(each[0])}
        assert (len(each[0][0]), len(each[0][1]), len(everything)) == (21, 9, 30)  # no test row in the pool
    assert len({each[0][1].tobytes() for each in splits.values()}) == 3
    first = {(each.strategy, each.seed, each.metric): each.value for each in bench.numbers() if each.labelled == 4}
    for (strategy, seed, metric), value in first.items():
        assert value == first["random", seed, metric], strategy


def test_a_test_file_is_the_test_set_of_all_seeds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(run, "simulate", lambda _, pool, test, *__: sizes.append((len(pool), len(test))) or ())
    bench.run(test=bench.write([*export(8, first=101), *export(3)], "test.json"))
    assert sizes == [(30, 11)] * 4
    assert any("3 of the texts are in" in each for each in bench.said)


def test_interrupted_anywhere_it_goes_on_and_ends_with_the_same_numbers(
    main: Callable[..., Any], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(out=bench.folder / "whole")
    steps = 0

    def stumble(*given: Any) -> Any:
        nonlocal steps
        for measurement in replay.simulate(*given):
            steps += 1
            if steps in (9, 40, 41):
                raise KeyboardInterrupt
            yield measurement

    monkeypatch.setattr(run, "simulate", stumble)
    code, out, err = main()
    assert (code, err) == (130, "")
    assert "the same command goes on from here" in out
    assert "There is nothing to compare yet" in out
    assert not bench.runs()
    code, out, err = main()
    assert (code, err, bench.runs()) == (130, "", [("margin", 0), ("random", 0)])
    assert "Too few repetitions" in out
    assert out.strip().endswith("report.html.")
    code, out, err = main()
    assert (code, bench.runs()) == (130, [("margin", 0), ("random", 0)])
    code, out, err = main()
    assert (code or 0, err) == (0, "")
    assert bench.numbers() == bench.numbers(bench.folder / "whole")


def test_interrupted_while_texts_are_encoded_it_says_so_and_keeps_the_vectors(
    main: Callable[..., Any], quick: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK", 8)
    encode = quick.encode

    def stumble(texts: Sequence[str]) -> Floats:
        if len(quick.encoded) == 16:
            raise KeyboardInterrupt
        return encode(texts)

    monkeypatch.setattr(quick, "encode", stumble)
    code, out, err = main()
    assert (code, err) == (130, "")
    assert out.endswith("Interrupted: the same command goes on from here.\n")
    monkeypatch.setattr(quick, "encode", encode)
    assert main()[0] in (0, None)
    assert sum(text not in LABELS for text in quick.encoded) == 30


def test_a_file_cut_off_anywhere_is_completed(bench: Bench) -> None:
    """As a process that is killed, or a disk that is full, may leave it."""
    bench.run()
    whole, numbers = (bench.out / "curves.csv").read_bytes(), bench.numbers()
    for end in (0, 5, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)):
        (bench.out / "curves.csv").write_bytes(whole[:end])
        bench.run()
        assert bench.numbers() == numbers


def test_more_seeds_and_strategies_may_be_added_and_nothing_is_run_twice(bench: Bench, quick: FakeEncoder) -> None:
    bench.run(seeds=1)
    bench.run(seeds=2)
    bench.run(seeds=2, strategies=["entropy", "margin"])
    finished = [("margin", 0), ("random", 0), ("margin", 1), ("random", 1), ("entropy", 0), ("entropy", 1)]
    assert bench.runs() == finished
    before = (bench.out / "curves.csv").read_bytes()
    again = bench.run(seeds=2, strategies=["entropy", "margin"])
    assert (bench.out / "curves.csv").read_bytes() == before
    assert sum(text not in LABELS for text in quick.encoded) == 30
    again.conclude()
    assert json.loads((bench.out / "summary.json").read_text())["strategies"].keys() == {"entropy", "margin", "random"}
    bench(seeds=1).conclude()  # of less than there is
    summary = json.loads((bench.out / "summary.json").read_text())
    assert summary["strategies"].keys() == {"margin", "random"}
    assert summary["protocol"]["paired_seeds"] == 1
    other = bench.folder / "at once"
    bench.run(out=other, strategies=["entropy", "margin"])
    assert sorted(map(repr, bench.numbers())) == sorted(map(repr, bench.numbers(other)))


def test_other_strategies_in_the_folder_make_the_correction_stronger(bench: Bench) -> None:
    bench.run(strategies=["entropy", "badge"], seeds=1)
    bench.run(strategies=["margin"]).conclude()
    summary = json.loads((bench.out / "summary.json").read_text())
    assert summary["strategies"].keys() == {"margin", "random"}
    assert summary["protocol"]["corrected_for"] == 3


def test_copies_of_a_text_are_on_one_side_of_the_split(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = export(30)
    for place in range(0, 12, 2):
        tasks[place + 1]["data"] = tasks[place]["data"]
    bench.write(tasks)
    splits = []
    monkeypatch.setattr(run, "simulate", lambda _, pool, test, *__: splits.append((pool, test)) or ())
    bench.run(seeds=20)
    assert any("texts that occur more than once: 6, in 12 tasks" in each for each in bench.said)
    for pool, test in splits:
        assert {row.tobytes() for row in pool.vectors}.isdisjoint(row.tobytes() for row in test.vectors)
        assert len(pool) + len(test) == 30


@pytest.mark.parametrize(("n", "budget"), [(30, 10), (31, 11), (1500, 500)])
def test_without_a_budget_at_most_half_of_the_tasks_to_choose_from_are_labelled(
    bench: Bench, n: int, budget: int
) -> None:
    bench.write(export(n))
    bench(budget=None)
    size = n - round(0.3 * n)
    (told,) = (each for each in bench.said if each.startswith("Tasks to choose from"))
    held = f"{n - size} are held out to test on, anew for each repetition"
    assert told == f"Tasks to choose from: {size}; {held}. Up to {budget} labels, 4 at a time"
    protocol = json.loads((bench.out / "protocol.json").read_text())
    assert (protocol["budget"], protocol["pool"], protocol["test_rows"]) == (budget, size, n - size)
    bench(budget=budget)  # the same, now asked for: the folder goes on


def test_a_budget_of_everything_is_told_and_the_ends_are_not_compared(main: Callable[..., Any], bench: Bench) -> None:
    code, out, _ = main(budget="21", seeds="7")
    assert code in (0, None)
    assert "In the end all strategies have the same labels: a smaller --budget would compare how they end" in out
    assert "All 21 tasks to choose from were labelled in the end, where all strategies are alike" in out
    assert "weakest class ends" not in out
    assert "<h2>Labels needed</h2>" not in (bench.out / "report.html").read_text()


@pytest.mark.parametrize("fixed", [True, False])
def test_the_sizes_of_test_part_and_groups_and_what_intervals_cover_are_kept_and_shown(
    bench: Bench, fixed: bool
) -> None:
    test = bench.write(export(12, first=101), "test.json") if fixed else None
    bench.run(group="topic", test=test).conclude()
    protocol = json.loads((bench.out / "summary.json").read_text())["protocol"]
    rows = 4 if fixed else 3
    assert (protocol["test_rows"], protocol["test_rows_stay"]) == (12 if fixed else 9, fixed)
    assert protocol["groups"] == {name: {"tasks": 10, "test_rows": rows} for name in ("north", "south")}
    page = (bench.out / "report.html").read_text()
    assert f"The intervals cover {protocol['intervals_cover']}." in page
    assert f"north: 10 tasks, {rows} test rows; south: 10 tasks, {rows} test rows" in page
    assert f"north ({rows})" in page


def test_progress_goes_up_to_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHUNK", 13)
    bench.run()
    encoded = [step for step in bench.progress if step[0] == "texts encoded"]
    assert encoded == [("texts encoded", n, 30) for n in (13, 26, 30)]
    done = [now for what, now, _ in bench.progress if what.endswith("labels")]
    assert done == sorted(done)
    assert bench.progress[-1] == ("random, repetition 2: labels", 48, 48)


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
    bench: Bench, n: int, values: Body, measured: list[int]
) -> None:
    bench.write(export(n))
    bench.run(**values, seeds=1)
    assert sorted({each.labelled for each in bench.numbers()}) == measured
    (told,) = (each for each in bench.said if each.startswith("Tasks to choose from"))
    assert ("since there are no more (asked for: " in told) == (values["budget"] > n)


def test_several_labels_may_hold(bench: Bench) -> None:
    tasks = export(30)
    for place, each in enumerate(tasks):
        each["annotations"] = [answer(place + 1, *LABELS[: place % 3])]
    bench.write(tasks)
    (bench.folder / "config.xml").write_text(MULTIPLE)
    bench.run(seeds=1).conclude()
    assert json.loads((bench.out / "summary.json").read_text())["protocol"]["several_labels"] is True


@pytest.mark.parametrize("c", [77, 2])
def test_rare_classes_run_with_the_real_learner(
    tmp_path: Path, settings: Settings, fake_encoder: FakeEncoder, c: int
) -> None:
    """77 classes with one example each; two, of which one has a single example."""
    bench = Bench(tmp_path, settings)
    labels = [f"class {n}" for n in range(c)]
    bench.write(export(77, labels=labels if c == 77 else [labels[0], *labels[1:] * 76]))
    (tmp_path / "config.xml").write_text(config_with(*labels))
    bench.run(strategies=["cluster-uncertainty"], seeds=2).conclude()
    assert all(0 <= each.value <= 1 for each in bench.numbers())


def test_test_tasks_may_all_have_the_same_answer(main: Callable[..., Any], bench: Bench) -> None:
    code, _, err = main(test=str(bench.write(export(9, first=101, labels=["metal"]), "test.json")))
    assert (code or 0, err) == (0, "")


def test_half_labelled_tasks_are_counted_and_the_rest_is_used(main: Callable[..., Any], bench: Bench) -> None:
    tasks = export(40)
    for each in tasks[::4]:
        each["annotations"] = []
    tasks[1]["data"]["text"] = ""
    bench.write(tasks)
    code, out, _ = main()
    assert code in (0, None)
    without = "10 not labelled (task 1, 5, 9, 13, 17 and 5 more), 1 without a text in 'text' (task 2)"
    assert f"left out of 40 tasks: {without}\n" in out
    assert json.loads((bench.out / "summary.json").read_text())["protocol"]["tasks"] == 29


def test_odd_texts_and_groups_go_all_the_way(main: Callable[..., Any], bench: Bench) -> None:
    tasks = export(30)
    for place, value in enumerate(("nul\0", "half \ud83d", 42, 1.5, True, 'line\nbreak, "quoted"', "[bold]x[/]")):
        tasks[place]["data"] = {"text": value, "topic": value}
    bench.write(tasks)
    code, _, err = main(group="topic", seeds="1")
    assert (code or 0, err) == (0, "")
    assert (bench.out / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("error", [ApprenticeError("[/] the strategy gave up"), OSError(errno.ENOSPC, "No space left")])
def test_what_is_finished_is_kept_and_told_when_a_run_fails(
    main: Callable[..., Any], bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = run.append_run

    def fail(path: Path, run: Any) -> None:
        if len(bench.runs()) == 2:
            raise error
        add(path, run)

    monkeypatch.setattr(run, "append_run", fail)
    code, out, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert ("gave up" if isinstance(error, ApprenticeError) else f"{bench.out} cannot be used: No space left") in err
    assert bench.runs() == [("margin", 0), ("random", 0)]
    assert out.strip().endswith(f"The curves are in {bench.out / 'report.html'}.")
    assert json.loads((bench.out / "summary.json").read_text())["protocol"]["paired_seeds"] == 1


def test_a_report_that_the_disk_does_not_take_leaves_the_earlier_one(
    main: Callable[..., Any], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    main()
    before = (bench.out / "report.html").read_bytes()
    sync = os.fsync

    def full(file: int) -> None:
        if os.fstat(file).st_size > 1_000_000:  # nothing else of it is as large
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = main(seeds="3")
    remedy = "free some space and repeat the command, which goes on from what is finished"
    assert (code, err) == (1, f"error: The folder {bench.out} cannot be used: No space left on device; {remedy}\n")
    assert (bench.out / "report.html").read_bytes() == before


def test_ctrl_c_at_once_is_one_line(main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "read_settings", interrupt)
    assert main() == (130, "Interrupted: the same command goes on from here.\n", "")
    monkeypatch.delitem(sys.modules, "ml_backend.core.exceptions")
    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_spec=interrupt)])  # while libraries are read
    assert main() == (130, "", "Interrupted.\n")


def test_the_command_is_there_before_what_takes_long_to_import() -> None:
    """So that Ctrl-C finds somebody who can tell it."""
    loaded = "import sys; import ml_backend.cli; print({'numpy', 'pydantic', 'torch'} & {*sys.modules})"
    root = Path(cli.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", loaded], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_help_explains_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = CliRunner().invoke(cli.app, ["simulate", "--help"]).stdout
    for option in ("tasks", "label-config", "test", "strategy", "budget", "batch", "seeds", "initial", "group", "out"):
        assert f"--{option} " in said
    assert said.count("[required]") == 3
