"""The configuration of a simulation, and the plan that fits the number of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.simulation.effort import compared_axis
from ml_backend.simulation.replay import SimulationPlan

DEFAULT_BUDGET_LABELS = 500


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """The options of `apprentice simulate`.

    initial     first labels; None: one batch
    budget      labels at the end; None: DEFAULT_BUDGET_LABELS or half of the tasks to choose from, whichever is less,
                because all strategies are alike once all tasks are labelled
    strategies  names of query strategies; empty: the one in use
    arms        ways of asking the teacher in addition to the first strategy, each `rounds` times about `per_round` hard
                texts and as many easy ones
    control     the name of the only control whose labels are learnt; "" for all of them
    features    a file that says which labels the values of record fields are evidence for
    x           the axis on which strategies are compared, one of `effort.AXES`; "": see `effort.compared_axis`
    """

    tasks: Path
    label_config: Path
    out: Path
    test: Path | None = None
    strategies: Sequence[str] = ()
    budget: int | None = None
    batch: int = 25
    seeds: int = 10
    initial: int | None = None
    group: str = ""
    arms: Sequence[str] = ()
    rounds: int = 3
    per_round: int = 20
    features: Path | None = None
    control: str = ""
    x: str = ""


def make_plan(
    schema: ProjectSchema, options: ProjectSettings, space: str, config: SimulationConfig, size: int
) -> SimulationPlan:
    """The plan of a simulation in the encoder's `space`, limited to `size` tasks to choose from. Raises ApprenticeError
    if the first labels are the whole budget."""
    budget = min(DEFAULT_BUDGET_LABELS, size // 2) if config.budget is None else min(config.budget, size)
    batch = min(config.batch, size)
    initial = min(batch if config.initial is None else config.initial, budget)
    if initial == budget:
        held_out = "" if config.test else "; the others are held out for the test"
        raise ApprenticeError(
            f"Tasks to choose from: {size}{held_out}. Labels at the start: {initial}, in all: {budget}, so that no "
            f"strategy has a choice. Take a smaller --initial (without it, one --batch: {batch}) or --batch, or label "
            "more tasks"
        )
    counts_effort = bool(compared_axis(config.x, schema))
    return SimulationPlan(schema, options, space, initial, batch, budget, counts_effort)
