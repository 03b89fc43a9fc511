"""The effort of annotators, on which the learning curves of a simulation are drawn: tasks, words read, spans marked.

Tasks differ in length, and query strategies prefer long ones. Their gain in tasks may be none in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints, Rows, are_missing
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.kinds.lookup import kind_of
from ml_backend.simulation import statistics
from ml_backend.simulation.learning_curves import Measurement, Scores, paired_curves

TASKS, WORDS, SPANS = AXES = ("tasks", "words", "spans")


def counts_regions(control: ControlSchema) -> bool:
    """Whether the regions of a control are counted."""
    of_kind = kind_of(control)
    return of_kind.region_counts(control, of_kind.as_targets(control, [])) is not None


def compared_axis(axis: str, schema: ProjectSchema) -> str:
    """The axis on which strategies are compared: the given `axis` or, if it is "" and spans are marked, the words,
    because annotators have to read all of a text; "" if the number of labels is the only axis."""
    marks_spans = any(counts_regions(control) for control in schema.controls)
    return axis or (WORDS if marks_spans else "")


def protocol_entries(axis: str, options: ProjectSettings, schema: ProjectSchema) -> dict[str, str]:
    """The entry `x` of a protocol, see `compared_axis`, unless it is "", and the setting `cost`, unless it is the
    default."""
    compared = compared_axis(axis, schema)
    entries = {"x": compared} if compared else {}
    return entries if options.cost == ProjectSettings().cost else {**entries, "cost": options.cost}


def amounts(schema: ProjectSchema, n_words: Ints | None, targets: Mapping[str, Rows], rows: Ints) -> dict[str, float]:
    """The effort for the tasks in `rows`, by axis, without the number of tasks. Words and spans are left out where they
    are not counted.

    n_words  (n,) the number of words of each task, None if words are not counted
    targets  (n, ...) by control
    """
    counted = {} if n_words is None else {WORDS: float(n_words[rows].sum())}
    for control in schema.controls:
        of_control = targets[control.name][rows]
        counts = kind_of(control).region_counts(control, of_control[~are_missing(of_control)])
        if counts is not None:
            counted[SPANS] = counted.get(SPANS, 0.0) + float(counts.sum())
    return counted


@dataclass(frozen=True, slots=True)
class Efforts:
    """The effort with which the values of the curves of strategies were measured, (seeds, n) for each strategy.

    compared  on the axis on which the strategies are compared
    by_axis   on each axis, {} if the number of labels is the only one
    """

    compared: Mapping[str, Scores]
    by_axis: Mapping[str, Mapping[str, Scores]]

    @classmethod
    def of(cls, measurements: Sequence[Measurement], metric: str, axis: str) -> Efforts:
        """The effort for the curves of a metric, compared on an axis, "" for the number of labels. Raises
        ApprenticeError if nothing was counted on that axis."""
        if not axis:
            return cls(positions(measurements, metric, TASKS), {})
        measured = {measurement.metric for measurement in measurements}
        if axis not in {TASKS, *measured}:
            raise ApprenticeError(f"The {axis} of these runs were not counted: choose another --x or another folder")
        by_axis = {name: positions(measurements, metric, name) for name in AXES if name in {TASKS, *measured}}
        return cls(by_axis[axis], by_axis)

    def common_range(self) -> tuple[Scores, Scores]:
        """(seeds,) the start and (seeds,) the end of the part of the compared axis that all strategies have in
        common."""
        starts = [of_strategy[:, 0] for of_strategy in self.compared.values()]
        ends = [of_strategy[:, -1] for of_strategy in self.compared.values()]
        return np.max(starts, axis=0), np.min(ends, axis=0)

    def needs(self, strategy: str, curves: Scores, target: float) -> dict[str, Any]:
        """For each axis, what a strategy with `curves` (seeds, n) needs for the target (`to_target`; None: never
        reached), and in all (`end`)."""
        return {
            axis: {
                "to_target": statistics.labels_to_target(of_axis[strategy].mean(axis=0), curves.mean(axis=0), target),
                "end": float(of_axis[strategy][:, -1].mean()),
            }
            for axis, of_axis in self.by_axis.items()
        }

    def savings(self, strategy: str, curves: Scores, baseline: str, baseline_curves: Scores) -> dict[str, Any]:
        """For each axis, what a strategy saves on the way to the final score of a baseline; see `LabelSaving`."""
        savings = {
            axis: statistics.effort_saved(of_axis[strategy], curves, of_axis[baseline], baseline_curves)
            for axis, of_axis in self.by_axis.items()
        }
        return {axis: {"mean": saving.labels, "ci95": [saving.low, saving.high]} for axis, saving in savings.items()}


def positions(measurements: Sequence[Measurement], metric: str, axis: str) -> dict[str, Scores]:
    """For each strategy, (seeds, n) the effort with which the values of `paired_curves` for a metric were measured."""
    budgets, curves = paired_curves(measurements, metric)
    if axis == TASKS:
        return {name: np.broadcast_to(budgets.astype(np.float64), values.shape) for name, values in curves.items()}
    of_metric = {
        (m.strategy, m.seed, m.labelled)
        for m in measurements
        if m.metric == metric and not m.group and math.isfinite(m.value)
    }
    counted = [m for m in measurements if m.metric == axis and (m.strategy, m.seed, m.labelled) in of_metric]
    return paired_curves(counted, axis)[1]
