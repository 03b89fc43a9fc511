"""What a user wants to have simulated, and what of it the tasks allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import TaskSchema
from ml_backend.simulation.replay import SimulationPlan

BUDGET = 500  # labels at most, unless that is more than half of what there is to choose from or the user says how many


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """What the user asks for. `initial` None stands for one batch, `budget` None for BUDGET or, if that is less, half
    of the tasks to choose from: once all are labelled, all strategies are alike. `strategies`: none stands for the one
    in use. `arms`: ways in which the teacher is asked beside the first strategy, each `rounds` times about `per_round`
    hard texts and as many easy ones. `features`: a file that says what the fields of records speak for."""

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


def planned(
    schema: TaskSchema, options: ProjectSettings, space: str, asked: SimulationConfig, size: int
) -> SimulationPlan:
    """What was asked for, in the encoder's `space`, as far as `size` tasks to choose from allow it."""
    budget = min(BUDGET, size // 2) if asked.budget is None else min(asked.budget, size)
    batch = min(asked.batch, size)
    initial = min(batch if asked.initial is None else asked.initial, budget)
    if initial == budget:
        raise ApprenticeError(
            f"Tasks to choose from: {size}; labelled in all: {budget}; at the start: {initial}: no strategy has a "
            "choice. Take a smaller --batch or --initial, or label more"
        )
    return SimulationPlan(schema, options, space, initial, batch, budget)


def announced(asked: SimulationConfig, plan: SimulationPlan, size: int, rows: int) -> str:
    """What will be simulated, and what of it is not as the user might think."""
    held = f"{rows} others are the test" if asked.test else f"{rows} are held out to test on, anew for each repetition"
    said = f"Tasks to choose from: {size}; {held}. Up to {plan.budget} labels, {plan.batch} at a time"
    if (plan.budget, plan.batch) != (asked.budget or plan.budget, asked.batch):
        said += f", since there are no more (asked for: {asked.budget or plan.budget}, {asked.batch} at a time)"
    if plan.budget == size:
        said += ". In the end all strategies have the same labels: a smaller --budget would compare how they end"
    return said
