"""The joint queue of two controls, against the queue of each control alone and random order.

    python -m benchmarks.joint_queue [--seeds 10] [--save]

The protocol of `make bench-labels`: 25 random labels to begin with, the same for all queues of a seed, then 25 at a
time up to 500, without a prior. A task that is chosen is labelled for both controls, and a learner is fitted for each.
The queue of one control alone is the joint one with the weight 0 of the other. Runs are kept in the cache folder, so
that an interrupted benchmark continues: delete its joint-*.csv after a change to a strategy or the learner.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.arms import publish, spread, table
from benchmarks.data import CACHE, clinc150, encoded, one_hot
from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.demo.texts import load_questions_with_subclasses
from ml_backend.simulation.learning_curves import Measurement, Scores, append_run, paired_curves, read_csv
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.simulation.statistics import interval, normalised_area

BATCH, BUDGET = 25, 500
JOINT, RANDOM = "joint", "random"
ALLOWED_LOSS = 1.0  # hundredths of macro-F1 of a control, against the queue of that control alone
Labelled = tuple[str, Mapping[str, str]]
"""A text with its label for each control."""


@dataclass(frozen=True)
class ControlsSet:
    """Texts with labels for two controls."""

    name: str
    train: Sequence[Labelled]
    test: Sequence[Labelled]

    @property
    def schema(self) -> ProjectSchema:
        """A single choice for each control among the labels of the train rows, in alphabetical order."""
        names = self.train[0][1]
        controls = [
            ChoicesSchema(name, "text", tuple(sorted({labels[name] for _, labels in self.train}))) for name in names
        ]
        return ProjectSchema(InputSpec(text_field="text"), tuple(controls))

    def pool(self, rows: Sequence[Labelled]) -> LabelledPool:
        targets = {
            control.name: one_hot(control, [labels[control.name] for _, labels in rows])
            for control in self.schema.controls
        }
        return LabelledPool(encoded([text for text, _ in rows]), targets, [""] * len(rows))


def domain_and_intent() -> ControlsSet:
    text_set = clinc150()
    train, test = (
        [(row.text, {"domain": row.group, "intent": row.label}) for row in rows]
        for rows in (text_set.train, text_set.test)
    )
    return ControlsSet("clinc150", train, test)


def class_and_subclass() -> ControlsSet:
    """The TREC questions of the most frequent subclasses."""
    CACHE.mkdir(parents=True, exist_ok=True)
    train, test = (
        [(task.text, {name: label for name, (label,) in task.values.items()}) for task in tasks]
        for tasks in load_questions_with_subclasses(CACHE)
    )
    return ControlsSet("trec", train, test)


SETS = (domain_and_intent, class_and_subclass)


def run(controls_set: ControlsSet, seeds: int) -> Sequence[Measurement]:
    """Runs the simulations that are not in the set's file yet, seed by seed. Returns all measurements, with the queue
    in place of the strategy."""
    schema, options = controls_set.schema, ProjectSettings().with_form_defaults("text")
    weights: dict[str, dict[str, float]] = {JOINT: {}, RANDOM: {}}  # of each queue, by control
    for control in schema.controls:
        weights[control.name] = {other.name: 0.0 for other in schema.controls if other is not control}
    pool, test = controls_set.pool(controls_set.train), controls_set.pool(controls_set.test)
    file = CACHE / f"joint-{controls_set.name}.csv"
    finished = {(measurement.strategy, measurement.seed) for measurement in read_csv(file)}
    for seed in range(seeds):
        for queue, of_controls in weights.items():
            if (queue, seed) in finished:
                continue
            queue_options = options.model_copy(update={"control_weights": of_controls})
            plan = SimulationPlan(schema, queue_options, "all-MiniLM-L6-v2", BATCH, BATCH, BUDGET)
            strategy = RANDOM if queue == RANDOM else options.acquisition
            append_run(file, [replace(m, strategy=queue) for m in simulate(plan, pool, test, strategy, seed)])
            print(f"{controls_set.name}: {queue}, seed {seed}", file=sys.stderr, flush=True)
    return [measurement for measurement in read_csv(file) if measurement.seed < seeds]


def report(controls_set: ControlsSet, measurements: Sequence[Measurement]) -> str:
    """Returns the tables of one set: macro-F1 of each control by queue, and the goals."""
    lines = [f"## {controls_set.name}: {len(controls_set.train):,} tasks, {len(controls_set.test):,} test rows\n"]
    for control in controls_set.schema.controls:
        budgets, curves = paired_curves([m for m in measurements if m.control == control.name], "macro_f1")
        areas = {queue: 100 * normalised_area(budgets, curve) for queue, curve in curves.items()}
        columns = [n for n in (25, 50, 100, 200, 300, 400, 500) if n in budgets]
        rows = [
            [queue, *(f"{100 * curve[:, budgets == n].mean():.1f}" for n in columns), spread(list(areas[queue]))]
            for queue, curve in curves.items()
        ]
        lines.append(f"Macro-F1 of `{control.name}` ({len(control.labels)} labels), {len(areas[JOINT])} seeds:\n")
        lines.append(table(["queue", *map(str, columns), "area"], rows))
        against_own, against_random = areas[JOINT] - areas[control.name], areas[JOINT] - areas[RANDOM]
        lines += [
            f"- joint minus `{control.name}` alone: {_difference(against_own)}; "
            f"at most {ALLOWED_LOSS} lost: {'met' if against_own.mean() >= -ALLOWED_LOSS else 'missed'}",
            f"- joint minus random: {_difference(against_random)}; "
            f"above 0: {'met' if against_random.mean() > 0 else 'missed'}\n",
        ]
    return "\n".join(lines)


def _difference(differences: Scores) -> str:
    low, high = interval(differences)
    return f"{differences.mean():+.2f} (95 % interval {low:+.2f} to {high:+.2f}), {(differences > 0).sum()} seeds won"


def pages(seeds: int) -> Iterator[str]:
    import torch

    torch.set_num_threads(1)
    for load in SETS:
        controls_set = load()
        yield report(controls_set, run(controls_set, seeds))


if __name__ == "__main__":
    publish("joint_queue", "The joint queue of two controls", 10, pages, "macro-F1 in hundredths")
