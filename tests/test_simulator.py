"""`apprentice simulate`: what it writes, that it goes on where it was, and that bad input is one sentence."""

from __future__ import annotations

import csv
import errno
import json
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import MULTIPLE, SINGLE, WORDS, config_with, text_about
from typer.testing import CliRunner

from ml_backend import cli, registry, simulator
from ml_backend.domain import ApprenticeError, Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation import simulation
from ml_backend.evaluation.curves import COLUMNS, Measurement, read_csv
from ml_backend.settings import Settings
from ml_backend.simulator import Request, Simulator

LABELS = list(WORDS)
Body = dict[str, Any]


class Means:
    """Quick to fit, so that a test may simulate a lot: the label whose mean vector is nearest."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        tensors: Tensors = {"means": train.targets.T @ train.vectors / len(train.targets)}
        found = self.predict(tensors, train.vectors)
        return Fit(tensors, found, None if train.earlier is None else found)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        strength = np.exp(9 * vectors @ tensors["means"].T)
        return np.asarray(strength / strength.sum(axis=1, keepdims=True), np.float32)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, fake_encoder: FakeEncoder) -> FakeEncoder:
    monkeypatch.setattr(registry, "learner", lambda _name: Means())
    monkeypatch.setattr(simulation, "CLUSTERS", 4)
    return fake_encoder


def export(n: int, first: int = 1, labels: Sequence[str] = LABELS) -> list[Body]:
    """n tasks about the labels in turn, each answered."""
    return [
        {
            "id": number,
            "data": {"text": text_about(LABELS[number % 3], number), "topic": ["north", "south", None][number % 3]},
            "annotations": [answer(number, labels[number % len(labels)])],
        }
        for number in range(first, first + n)
    ]


def answer(number: int, *choices: str) -> Body:
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}]
    return {"id": number, "completed_by": 1, "was_cancelled": False, "result": result}


class Bench:
    """A folder with an export and its configuration, and simulations of them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.out = folder, settings, folder / "report"
        self.said: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.write(export(30))
        (folder / "config.xml").write_text(SINGLE)

    def write(self, tasks: Any, name: str = "tasks.json") -> Path:
        (self.folder / name).write_text(json.dumps(tasks))
        return self.folder / name

    def __call__(self, **values: Any) -> Simulator:
        files = {"tasks": self.folder / "tasks.json", "label_config": self.folder / "config.xml", "out": self.out}
        small = {"strategies": ["margin"], "budget": 12, "batch": 4, "seeds": 2}
        request = Request(**{**files, **small, **values})
        return Simulator(self.settings, request, self.said.append, lambda *step: self.progress.append(step))

    def run(self, **values: Any) -> Simulator:
        made = self(**values)
        made.run()
        return made

    def runs(self, out: Path | None = None) -> list[tuple[str, int]]:
        """The complete runs in the order in which they were made."""
        return list(dict.fromkeys((each.strategy, each.seed) for each in read_csv((out or self.out) / "curves.csv")))

    def numbers(self, out: Path | None = None) -> list[Measurement]:
        """All that was measured but the time."""
        return [each for each in read_csv((out or self.out) / "curves.csv") if each.metric != "seconds"]


@pytest.fixture
def bench(tmp_path: Path, settings: Settings, quick: FakeEncoder) -> Bench:
    return Bench(tmp_path, settings)


@pytest.fixture
def main(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `apprentice simulate` as a shell would; returns exit code, standard output and standard error."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(bench.settings.data_dir))
    monkeypatch.setattr(cli, "_cap_threads", lambda _n: None)
    files = {"--tasks": "tasks.json", "--label-config": "config.xml", "--out": "report"}
    small = {"--budget": "12", "--batch": "4", "--seeds": "2", "--strategy": "margin"}

    def call(**options: str) -> tuple[object, str, str]:
        given = {**{name: str(bench.folder / file) for name, file in files.items()}, **small}
        given |= {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        words = [word for option in given.items() for word in option]
        monkeypatch.setattr(sys, "argv", ["apprentice", "simulate", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return call


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

    def spy(plan: Any, pool: simulation.Gold, test: simulation.Gold, strategy: str, seed: int) -> Any:
        splits.setdefault(seed, []).append((pool.vectors, test.vectors))
        return simulation.simulate(plan, pool, test, strategy, seed)

    monkeypatch.setattr(simulator, "simulate", spy)
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
    monkeypatch.setattr(simulator, "simulate", lambda _, pool, test, *__: sizes.append((len(pool), len(test))) or ())
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
        for measurement in simulation.simulate(*given):
            steps += 1
            if steps in (9, 40, 41):
                raise KeyboardInterrupt
            yield measurement

    monkeypatch.setattr(simulator, "simulate", stumble)
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
    monkeypatch.setattr(simulator, "CHUNK", 8)
    encode = quick.encode

    def stumble(texts: Sequence[str]) -> Floats:
        if len(quick.encoded) == 16:
            raise KeyboardInterrupt
        return encode(texts)

    monkeypatch.setattr(quick, "encode", stumble)
    assert main() == (130, "Interrupted: the same command goes on from here.\n", "")
    monkeypatch.setattr(quick, "encode", encode)
    assert main()[0] in (0, None)
    assert len(quick.encoded) == 30


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
    assert len(quick.encoded) == 30
    again.conclude()
    assert json.loads((bench.out / "summary.json").read_text())["strategies"].keys() == {"entropy", "margin", "random"}
    bench(seeds=1).conclude()  # of less than there is
    summary = json.loads((bench.out / "summary.json").read_text())
    assert summary["strategies"].keys() == {"margin", "random"}
    assert summary["protocol"]["paired_seeds"] == 1
    other = bench.folder / "at once"
    bench.run(out=other, strategies=["entropy", "margin"])
    assert sorted(map(repr, bench.numbers())) == sorted(map(repr, bench.numbers(other)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch": 3}, "labels at the start: 4, now 3; batch: 4, now 3"),
        ({"budget": 13}, "budget: 12, now 13"),
        ({"initial": 2}, "labels at the start: 4, now 2"),
        ({"group": "topic"}, 'group: "", now "topic"'),
    ],
)
def test_another_request_in_the_same_folder_is_refused(bench: Bench, change: Body, told: str) -> None:
    bench.run(seeds=1)
    before = (bench.out / "curves.csv").read_bytes()
    with pytest.raises(ApprenticeError) as error:
        bench(**change)
    assert f"{bench.out} holds another simulation ({told}" in str(error.value)
    assert str(error.value).endswith("): choose another folder with --out, or delete it")
    assert (bench.out / "curves.csv").read_bytes() == before


def test_other_tasks_labels_or_settings_in_the_same_folder_are_refused(bench: Bench) -> None:
    bench.run(seeds=1)
    changed = export(30)
    changed[4]["annotations"] = [answer(5, "fruit")]
    bench.write(changed)
    with pytest.raises(ApprenticeError, match="digest of the tasks"):
        bench()
    bench.write(export(31))
    with pytest.raises(ApprenticeError, match="tasks: 30, now 31"):
        bench()
    bench.write(export(30))
    (bench.folder / "config.xml").write_text(config_with(*LABELS, "wood"))
    with pytest.raises(ApprenticeError, match="labels: 3, now 4"):
        bench()
    (bench.folder / "config.xml").write_text(SINGLE)
    bench.settings.defaults = bench.settings.defaults.model_copy(update={"balance": 0.5})
    with pytest.raises(ApprenticeError, match=r"balance: 0\.0, now 0\.5"):
        bench()


@pytest.mark.parametrize("protocol", [None, b"", b"[1]", b"{}"])
def test_curves_of_nobody_knows_what_are_not_gone_on_with(bench: Bench, protocol: bytes | None) -> None:
    bench.run(seeds=1)
    file = bench.out / "protocol.json"
    file.unlink() if protocol is None else file.write_bytes(protocol)
    with pytest.raises(ApprenticeError, match=r"protocol\.json does not say which"):
        bench()


def test_progress_goes_up_to_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "CHUNK", 13)
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
    told = [each for each in bench.said if "tasks to choose from" in each]
    assert len(told) == (values["budget"] > n)


@pytest.mark.parametrize("values", [{"batch": 25, "budget": 500}, {"initial": 12}, {"initial": 99}, {"batch": 12}])
def test_where_no_strategy_has_a_choice_there_is_nothing_to_simulate(bench: Bench, values: Body) -> None:
    with pytest.raises(ApprenticeError, match="no strategy has a choice"):
        bench(**values)
    assert not bench.out.exists()


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


def spoilt(place: int, **values: Any) -> list[Body]:
    tasks = export(30)
    tasks[place] |= values
    return tasks


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([], "empty list"),
        ({}, "not a list of tasks"),
        ([{"id": 1, "text": "a", "label": "fruit"}], "JSON-MIN"),
        ([{**task, "annotations": []} for task in export(30)], "30 without an answer to 'label'"),
        (export(30, labels=["metal"]), "All answers in {tasks} are 'metal'"),
        (export(1), "too few tasks with a text and an answer, 1 of 1"),
        (export(5), "no strategy has a choice"),
        (spoilt(7, id=3), "the id 3"),
        (spoilt(7, annotations=[answer(1, "plastic")]), "task 8 is labelled 'plastic'"),
        ([{**task, "data": {"body": "x"}} for task in export(30)], "30 without a text in 'text' (task 1, 2, 3, 4, 5"),
        ([{**task, "id": None} for task in export(30)], "30 without an id"),
    ],
)
def test_bad_tasks_are_one_sentence_and_exit_code_1(
    main: Callable[..., Any], bench: Bench, tasks: Any, told: str
) -> None:
    file = bench.write(tasks)
    code, _, err = main()
    assert code == 1
    assert told.format(tasks=file) in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not bench.out.exists()


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([{**task, "annotations": []} for task in export(9, first=101)], "0 of 9: label some first"),
        (export(9, labels=["plastic"]), "task 1 is labelled 'plastic'"),
        (export(1, first=101), "1 of 1: label some first"),
    ],
)
def test_bad_test_tasks_are_one_sentence_and_exit_code_1(
    main: Callable[..., Any], bench: Bench, tasks: Any, told: str
) -> None:
    code, _, err = main(test=str(bench.write(tasks, "test.json")))
    assert (code, err.count("\n")) == (1, 1)
    assert f"{bench.folder / 'test.json'}" in err
    assert told in err


def test_test_tasks_may_all_have_the_same_answer(main: Callable[..., Any], bench: Bench) -> None:
    code, _, err = main(test=str(bench.write(export(9, first=101, labels=["metal"]), "test.json")))
    assert (code or 0, err) == (0, "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tasks": "nowhere.json"}, "nowhere.json cannot be read: No such file"),
        ({"label_config": "nowhere.xml"}, "nowhere.xml cannot be read: No such file"),
        ({"test": "nowhere.json"}, "nowhere.json cannot be read: No such file"),
        ({"strategy": "clairvoyance"}, "There is no acquisition named 'clairvoyance': installed are badge, "),
        ({"group": "colour"}, "has a field 'colour'"),
        ({"out": "/dev/null"}, "The folder /dev/null cannot be used: "),
        ({"out": "/dev/null/report"}, "The folder /dev/null/report cannot be used: Not a directory"),
        ({"initial": "12"}, "no strategy has a choice"),
    ],
)
def test_a_bad_option_is_one_sentence_and_exit_code_1(main: Callable[..., Any], options: Any, told: str) -> None:
    code, _, err = main(**options)
    assert (code, err.count("\n")) == (1, 1)
    assert told in err


def test_a_configuration_that_is_not_served_is_one_sentence(main: Callable[..., Any], bench: Bench) -> None:
    for config, told in (("<View/>", "no <Choices> over a <Text>"), ("no xml", "cannot be read")):
        (bench.folder / "config.xml").write_text(config)
        code, _, err = main()
        assert (code, err.count("\n")) == (1, 1)
        assert told in err


def test_half_labelled_tasks_are_counted_and_the_rest_is_used(main: Callable[..., Any], bench: Bench) -> None:
    tasks = export(40)
    for each in tasks[::4]:
        each["annotations"] = []
    tasks[1]["data"]["text"] = ""
    bench.write(tasks)
    code, out, _ = main()
    assert code in (0, None)
    without = "10 without an answer to 'label' that counts, 1 without a text in 'text' (task 2)"
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


def test_a_vector_that_is_not_finite_names_its_task(
    main: Callable[..., Any], bench: Bench, quick: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, bad = quick.encode, text_about(LABELS[17 % 3], 17)

    def encode_some(texts: Sequence[str]) -> Floats:
        return np.where([[text == bad] for text in texts], np.float32(np.nan), encode(texts))

    monkeypatch.setattr(quick, "encode", encode_some)
    code, _, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert "gives task 17 a vector that is not finite" in err


@pytest.mark.parametrize("error", [ApprenticeError("[/] the strategy gave up"), OSError(errno.ENOSPC, "No space left")])
def test_what_is_finished_is_kept_and_told_when_a_run_fails(
    main: Callable[..., Any], bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = simulator.append_run

    def fail(path: Path, run: Any) -> None:
        if len(bench.runs()) == 2:
            raise error
        add(path, run)

    monkeypatch.setattr(simulator, "append_run", fail)
    code, out, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert ("gave up" if isinstance(error, ApprenticeError) else f"{bench.out} cannot be used: No space left") in err
    assert bench.runs() == [("margin", 0), ("random", 0)]
    assert out.strip().endswith(f"The curves are in {bench.out / 'report.html'}.")
    assert json.loads((bench.out / "summary.json").read_text())["protocol"]["paired_seeds"] == 1


def test_a_report_that_cannot_be_written_is_one_sentence(main: Callable[..., Any], bench: Bench) -> None:
    (bench.out / "report.html").mkdir(parents=True)
    code, _, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert f"The folder {bench.out} cannot be used: Is a directory" in err
    assert len(bench.runs()) == 4


def test_help_explains_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = CliRunner().invoke(cli.app, ["simulate", "--help"]).stdout
    for option in ("tasks", "label-config", "test", "strategy", "budget", "batch", "seeds", "initial", "group", "out"):
        assert f"--{option} " in said
    assert said.count("[required]") == 3
