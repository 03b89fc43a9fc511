"""The file of measurements survives interruption and damage, and the table has paired seeds only."""

from __future__ import annotations

import csv
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.simulation.learning_curves import COLUMNS, Measurement, append_run, paired_curves, read_csv

RUNS = [
    [Measurement("random", 0, 20, "accuracy", "", 0.1 + 0.2), Measurement("random", 0, 20, "accuracy", "Zürich", 0.25)],
    [Measurement("margin", 0, 20, "accuracy", "", 1e-17)],
    [Measurement("random", 1, 40, "seconds", 'two\n\nlines, "quoted"', 3.0)],
]


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


measured = st.builds(
    Measurement,
    st.text(min_size=1),
    st.integers(0, 99),
    st.integers(0, 10**6),
    st.sampled_from(["accuracy", "seconds"]),
    st.text(),
    st.floats(allow_nan=False),
)


@given(runs=st.lists(st.lists(measured, min_size=1, max_size=4), max_size=4))
@example(runs=RUNS)
@hypothesis_settings(max_examples=50)
def test_what_was_appended_is_read_again(tmp_path: Path, runs: list[list[Measurement]]) -> None:
    path = tmp_path / "curves.csv"
    path.unlink(missing_ok=True)
    for run in runs:
        append_run(path, run)
    assert read_csv(path) == [measurement for run in runs for measurement in run]


def test_others_read_the_file_as_plain_csv(tmp_path: Path) -> None:
    for run in RUNS:
        append_run(tmp_path / "curves.csv", run)
    with (tmp_path / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [COLUMNS] * 4
    assert COLUMNS == ["strategy", "seed", "labelled", "metric", "group", "value", "control"]
    assert [row["value"] for row in rows] == ["0.30000000000000004", "0.25", "1e-17", "3.0"]


def test_a_file_torn_anywhere_holds_the_runs_before_and_takes_the_others_again(tmp_path: Path) -> None:
    path, ends = tmp_path / "curves.csv", [0]
    for run in RUNS:
        append_run(path, run)
        ends.append(path.stat().st_size)
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        complete = sum(cut >= end for end in ends[1:])
        assert read_csv(path) == [measurement for run in RUNS[:complete] for measurement in run], content[:cut]
        for run in RUNS[complete:]:
            append_run(path, run)
        assert path.read_bytes() == content


def test_half_a_surrogate_pair_does_not_stop_the_simulation(tmp_path: Path) -> None:
    append_run(tmp_path / "curves.csv", [Measurement("random", 0, 1, "accuracy", "\ud83d", 0.5)])
    assert read_csv(tmp_path / "curves.csv") == [Measurement("random", 0, 1, "accuracy", "\\ud83d", 0.5)]


def test_no_file_is_no_run(tmp_path: Path) -> None:
    assert read_csv(tmp_path / "curves.csv") == []


@pytest.mark.parametrize("text", ["name,age\nAnn,3\n\n", "strategies\n", "\x00\x01"])
def test_a_file_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(ApprenticeError, match="not a file of measurements"):
        read_csv(path)
    with pytest.raises(ApprenticeError, match="not a file of measurements"):
        append_run(path, RUNS[0])
    assert path.read_text() == text


@pytest.mark.parametrize("line", ["random,first,20,accuracy,,0.5", "random,1,20,accuracy", "random,1,20,accuracy,,x"])
def test_damage_in_the_middle_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "curves.csv"
    append_run(path, RUNS[0])
    path.write_text(f"{path.read_text()}{line}\n")
    with path.open("a") as file:  # the message names the damaged line, not the end of its run
        file.write("random,1,40,accuracy,,0.5\n\n")
    with pytest.raises(ApprenticeError, match="damaged in line 5: mend that line"):
        read_csv(path)


CELLS = [*itertools.product(["random", "margin"], range(4), [10, 20, 30])]


@given(missing=st.sets(st.sampled_from(CELLS), max_size=8), not_finite=st.sets(st.sampled_from(CELLS), max_size=2))
@hypothesis_settings(max_examples=50)
def test_the_table_holds_the_seeds_that_every_strategy_measured_everywhere(
    missing: set[tuple[str, int, int]], not_finite: set[tuple[str, int, int]]
) -> None:
    finite_values = {cell: number / 7 for number, cell in enumerate(CELLS) if cell not in missing | not_finite}
    measured_cells = [
        Measurement(*cell, "accuracy", "en", finite_values.get(cell, math.nan)) for cell in CELLS if cell not in missing
    ]
    other_measurements = [
        Measurement("random", 9, 15, "accuracy", "", 0.5),
        Measurement("random", 9, 25, "seconds", "en", 0.5),
    ]
    budgets, values = paired_curves([*other_measurements, *measured_cells[::-1]], "accuracy", "en")
    assert budgets.tolist() == [10, 20, 30]
    assert list(values) == ["margin", "random"]
    complete = [seed for seed in range(4) if all(cell in finite_values for cell in CELLS if cell[1] == seed)]
    for strategy, rows in values.items():
        assert rows.shape == (len(complete), 3)
        assert rows.tolist() == [
            [finite_values[strategy, seed, budget] for budget in (10, 20, 30)] for seed in complete
        ]


def test_the_table_of_nothing_is_empty() -> None:
    budgets, values = paired_curves(RUNS[0], "macro_f1")
    assert budgets.shape == (0,)
    assert values["random"].shape == (0, 0)
    assert values["random"].dtype == np.float64
