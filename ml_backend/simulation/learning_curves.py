"""The measurements of a simulation, and the file that stores them."""

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

from ml_backend.core.arrays import Ints
from ml_backend.core.exceptions import ApprenticeError

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of one learner; the fields are the columns of curves.csv.

    strategy  the query strategy that chose the labels, or the name of a teacher arm
    seed      number of the repetition: the strategies of one seed start from the same labels
    labelled  how many labels the learner had
    metric    one of the metrics of the kind of labels, such as accuracy, macro_f1, worst_class_f1, calibration_error,
              closeness or strict F1 (all in [0, 1]); seconds (CPU, of that round); words and spans, the effort so far
              (see `effort`); for a teacher arm also teacher_calls, teacher_tokens and teacher_cost so far
    group     the value of the user's field that the metric is restricted to, "" for all tasks
    value     a value that is not finite counts as not measured
    control   the name of the learner's control, "" for `seconds`, for the effort and for the metrics of a teacher
    """

    strategy: str
    seed: int
    labelled: int
    metric: str
    group: str
    value: float
    control: str = ""


COLUMNS = [field.name for field in fields(Measurement)]


def append_run(path: Path, run: Iterable[Measurement]) -> None:
    """Appends the measurements of one strategy with one seed, after cutting off an incomplete run at the end.

    An empty line, which is written last, ends a complete run. Only one process may write. Raises ApprenticeError, and
    changes nothing, if the file is not a file of measurements; OSError if it cannot be written.
    """
    _, complete_bytes = _read(path)
    text = io.StringIO()
    text.write("" if complete_bytes else ",".join(COLUMNS) + "\n")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)  # a lone \r needs its quotes, too
    writer.writerows(astuple(measurement) for measurement in run)
    text.write("\n")
    with path.open("ab") as file:
        file.truncate(complete_bytes)
        file.write(text.getvalue().encode(errors="backslashreplace"))  # JSON may hold half a surrogate pair
        file.flush()
        os.fsync(file.fileno())


def read_csv(path: Path) -> list[Measurement]:
    """The complete runs of a file that `append_run` wrote, none if there is no file; an incomplete end is skipped.

    Raises ApprenticeError if the file is not a file of measurements or is damaged in the middle.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Measurement], int]:
    """The measurements of the complete runs, and the byte at which the last of them ends."""
    measurements: list[Measurement] = []
    run: list[tuple[int, list[str]]] = []
    complete_bytes = 0
    if not path.exists():
        return measurements, complete_bytes
    with path.open("rb") as file:
        reader = csv.reader(line.decode(errors="replace") for line in file)  # the end may be within a character
        try:
            if not ",".join(COLUMNS).startswith(",".join(next(reader, []))):
                raise ApprenticeError(f"{path} is not a file of measurements: choose another folder")
            for row in reader:
                if row:
                    run.append((reader.line_num, row))
                else:
                    measurements += [_measurement(path, line, cells) for line, cells in run]
                    run, complete_bytes = [], file.tell()
        except csv.Error as error:
            raise _damaged(path, reader.line_num) from error
    return measurements, complete_bytes


def _measurement(path: Path, line: int, row: list[str]) -> Measurement:
    try:
        strategy, seed, labelled, metric, group, value, control = row
        return Measurement(strategy, int(seed), int(labelled), metric, group, float(value), control)
    except ValueError as error:
        raise _damaged(path, line) from error


def _damaged(path: Path, line: int) -> ApprenticeError:
    return ApprenticeError(
        f"{path} is damaged in line {line}: mend that line, or delete the file to run everything again"
    )


def paired_curves(measurements: Sequence[Measurement], metric: str, group: str = "") -> tuple[Ints, dict[str, Scores]]:
    """The budgets (n,) at which a metric of one control was measured, ascending, and for each strategy its values
    (seeds, n).

    Row i is the same seed for every strategy. Only seeds that have a finite value of every strategy at every budget are
    used, in ascending order; after an interrupted run there may be none. Strategies are in alphabetical order.
    """
    values = {
        (measurement.strategy, measurement.seed, measurement.labelled): measurement.value
        for measurement in measurements
        if measurement.metric == metric and measurement.group == group and math.isfinite(measurement.value)
    }
    strategies = sorted({measurement.strategy for measurement in measurements})
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
