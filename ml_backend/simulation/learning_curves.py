"""What a simulation measured, and the file that keeps it."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Ints

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about one learner; the fields are the columns of curves.csv.

    strategy  what chose the labels
    seed      number of the repetition: the strategies of one seed start from the same labels
    labelled  how many labels the learner had
    metric    accuracy, macro_f1, worst_class_f1, calibration_error (all in [0, 1]) or seconds (CPU, of that round); of
              an arm with a teacher also teacher_calls, teacher_tokens and teacher_cost so far
    group     the value of the user's field that the metric is restricted to, "" for all tasks
    value     what is not finite counts as not measured
    """

    strategy: str
    seed: int
    labelled: int
    metric: str
    group: str
    value: float


COLUMNS = [field.name for field in fields(Measurement)]


def append_run(path: Path, run: Iterable[Measurement]) -> None:
    """Adds everything that one strategy measured with one seed; what an interrupted call left behind is cut off first.

    A run counts as complete only once the empty line after it is in the file: it is written last. One process writes.
    Raises ApprenticeError, and changes nothing, if the file is not one of ours; OSError if it cannot be written.
    """
    _, whole = _read(path)
    text = io.StringIO()
    text.write("" if whole else ",".join(COLUMNS) + "\n")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)  # a lone \r needs its quotes, too
    writer.writerows(astuple(measurement) for measurement in run)
    text.write("\n")
    with path.open("ab") as file:
        file.truncate(whole)
        file.write(text.getvalue().encode(errors="backslashreplace"))  # JSON may hold half a surrogate pair
        file.flush()
        os.fsync(file.fileno())


def read_csv(path: Path) -> list[Measurement]:
    """The complete runs of a file that `append_run` wrote, none if there is no file; a torn end is passed over.

    Raises ApprenticeError if the file is not one of ours or was damaged in the middle.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Measurement], int]:
    """The complete runs and where they end, in bytes."""
    found: list[Measurement] = []
    run: list[tuple[int, list[str]]] = []
    whole = 0
    if not path.exists():
        return found, whole
    with path.open("rb") as file:
        reader = csv.reader(line.decode(errors="replace") for line in file)  # a letter may be torn, too
        try:
            if not ",".join(COLUMNS).startswith(",".join(next(reader, []))):
                raise ApprenticeError(f"{path} is not a file of measurements: choose another folder")
            for row in reader:
                if row:
                    run.append((reader.line_num, row))
                else:
                    found += [_measurement(path, line, cells) for line, cells in run]
                    run, whole = [], file.tell()
        except csv.Error as error:
            raise _damaged(path, reader.line_num) from error
    return found, whole


def _measurement(path: Path, line: int, row: list[str]) -> Measurement:
    try:
        strategy, seed, labelled, metric, group, value = row
        return Measurement(strategy, int(seed), int(labelled), metric, group, float(value))
    except ValueError as error:
        raise _damaged(path, line) from error


def _damaged(path: Path, line: int) -> ApprenticeError:
    return ApprenticeError(
        f"{path} is damaged in line {line}: mend that line, or delete the file to run everything again"
    )


def table(measurements: Sequence[Measurement], metric: str, group: str = "") -> tuple[Ints, dict[str, Scores]]:
    """The budgets (n,) at which a metric was measured, rising, and for each strategy its values (seeds, n).

    Row i is the same seed for every strategy: only the seeds count that have a finite value of every strategy at every
    budget, in rising order. There may be none, as after an interrupted run. Strategies are in alphabetical order.
    """
    values = {
        (each.strategy, each.seed, each.labelled): each.value
        for each in measurements
        if each.metric == metric and each.group == group and math.isfinite(each.value)
    }
    strategies = sorted({each.strategy for each in measurements})
    budgets = sorted({budget for _, _, budget in values})
    seeds = [
        seed
        for seed in sorted({seed for _, seed, _ in values})
        if all((strategy, seed, budget) in values for strategy in strategies for budget in budgets)
    ]
    return np.array(budgets, np.int64), {
        strategy: np.array([[values[strategy, seed, budget] for budget in budgets] for seed in seeds], float).reshape(
            len(seeds), len(budgets)
        )
        for strategy in strategies
    }
