"""`apprentice simulate` continues after an interruption, and keeps what is finished when a run fails."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from simulations import LABELS, SimulationFolder, export

from ml_backend.cli import simulate
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.simulation import replay, run
from ml_backend.simulation.learning_curves import append_run
from ml_backend.simulation.task_encoder import ENCODED_AT_A_TIME


def test_interrupted_anywhere_it_goes_on_and_ends_with_the_same_numbers(
    main: Callable[..., Any], simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.run(out=simulation.folder / "whole")
    steps = 0

    def stumble(*arguments: Any) -> Any:
        nonlocal steps
        for measurement in replay.simulate(*arguments):
            steps += 1
            if steps in (9, 40, 41):
                raise KeyboardInterrupt
            yield measurement

    monkeypatch.setattr(run, "simulate", stumble)
    code, out, err = main()
    assert (code, err) == (130, "")
    assert "the same command goes on from here" in out
    assert "There is nothing to compare yet" in out
    assert not simulation.runs()
    code, out, err = main()
    assert (code, err, simulation.runs()) == (130, "", [("margin", 0), ("random", 0)])
    assert "Too few repetitions" in out
    assert out.strip().endswith("report.html.")
    code, out, err = main()
    assert (code, simulation.runs()) == (130, [("margin", 0), ("random", 0)])
    code, out, err = main()
    assert (code or 0, err) == (0, "")
    assert simulation.numbers() == simulation.numbers(simulation.folder / "whole")


def test_interrupted_while_texts_are_encoded_it_says_so_and_keeps_the_vectors(
    main: Callable[..., Any], simulation: SimulationFolder, quick_encoder: FakeEncoder
) -> None:
    def interrupt() -> None:
        if quick_encoder.encoded:
            raise KeyboardInterrupt

    simulation.write(export(600))
    quick_encoder.before_encoding = interrupt
    code, out, err = main()
    assert (code, err) == (130, "")
    assert out.endswith("Interrupted: the same command goes on from here.\n")
    assert len(quick_encoder.encoded) == ENCODED_AT_A_TIME
    quick_encoder.before_encoding = lambda: None
    assert main()[0] in (0, None)
    assert sum(text not in LABELS for text in quick_encoder.encoded) == 600


def test_a_file_cut_off_anywhere_is_completed(simulation: SimulationFolder) -> None:
    """A killed process or a full disk may leave such a file."""
    simulation.run()
    content, numbers = (simulation.out / "curves.csv").read_bytes(), simulation.numbers()
    for end in (0, 5, len(content) // 3, len(content) // 2, len(content) - 1, len(content)):
        (simulation.out / "curves.csv").write_bytes(content[:end])
        simulation.run()
        assert simulation.numbers() == numbers


def test_more_seeds_and_strategies_may_be_added_and_nothing_is_run_twice(
    simulation: SimulationFolder, quick_encoder: FakeEncoder
) -> None:
    simulation.run(seeds=1)
    simulation.run(seeds=2)
    simulation.run(seeds=2, strategies=["entropy", "margin"])
    finished = [("margin", 0), ("random", 0), ("margin", 1), ("random", 1), ("entropy", 0), ("entropy", 1)]
    assert simulation.runs() == finished
    before = (simulation.out / "curves.csv").read_bytes()
    simulator = simulation.run(seeds=2, strategies=["entropy", "margin"])
    assert (simulation.out / "curves.csv").read_bytes() == before
    assert sum(text not in LABELS for text in quick_encoder.encoded) == 30
    simulator.conclude()
    assert json.loads((simulation.out / "summary.json").read_text())["strategies"].keys() == {
        "entropy",
        "margin",
        "random",
    }
    simulation(seeds=1).conclude()  # fewer runs than are finished
    summary = json.loads((simulation.out / "summary.json").read_text())
    assert summary["strategies"].keys() == {"margin", "random"}
    assert summary["protocol"]["paired_seeds"] == 1
    other_folder = simulation.folder / "at once"
    simulation.run(out=other_folder, strategies=["entropy", "margin"])
    assert sorted(map(repr, simulation.numbers())) == sorted(map(repr, simulation.numbers(other_folder)))


@pytest.mark.parametrize("error", [ApprenticeError("[/] the strategy gave up"), OSError(errno.ENOSPC, "No space left")])
def test_what_is_finished_is_kept_and_told_when_a_run_fails(
    main: Callable[..., Any], simulation: SimulationFolder, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = append_run

    def fail(path: Path, run: Any) -> None:
        if len(simulation.runs()) == 2:
            raise error
        add(path, run)

    monkeypatch.setattr(run, "append_run", fail)
    code, out, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert (
        "gave up" if isinstance(error, ApprenticeError) else f"{simulation.out} cannot be used: No space left"
    ) in err
    assert simulation.runs() == [("margin", 0), ("random", 0)]
    assert out.strip().endswith(f"The curves are in {simulation.out / 'report.html'}.")
    assert json.loads((simulation.out / "summary.json").read_text())["protocol"]["paired_seeds"] == 1


def test_a_report_that_the_disk_does_not_take_leaves_the_earlier_one(
    main: Callable[..., Any], simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    main()
    before = (simulation.out / "report.html").read_bytes()
    sync = os.fsync

    def full(file: int) -> None:
        if os.fstat(file).st_size > 1_000_000:  # only the report is so large
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = main(seeds="3")
    remedy = "free some space and repeat the command, which goes on from what is finished"
    assert (code, err) == (1, f"error: The folder {simulation.out} cannot be used: No space left on device; {remedy}\n")
    assert (simulation.out / "report.html").read_bytes() == before


def test_ctrl_c_at_once_is_one_line(main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "read_settings", interrupt)
    assert main() == (130, "Interrupted: the same command goes on from here.\n", "")
    monkeypatch.delitem(sys.modules, "ml_backend.core.exceptions")
    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_spec=interrupt)])  # while libraries are imported
    assert main() == (130, "", "Interrupted.\n")
