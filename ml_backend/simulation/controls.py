"""The controls of a simulation: those that can be compared, and the metrics over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ml_backend.core.arrays import are_equal, are_missing
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Remark
from ml_backend.kinds.base import ACCURACY
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.export import Export, ExportContent, make_export, read_config
from ml_backend.simulation.config import SimulationConfig
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.summary import COMPARED_METRICS

MIN_LABELLED_TASKS = 20
"""Number of tasks with a label for a control from which on it is simulated beside others: with fewer, some repetitions
would have no test task of the control."""
JOINT_METRIC = "main metric"
"""The metric over several controls that are compared by different metrics: the mean of these."""
LOWEST_COUNTS = ("worst_class_f1",)
"""Metrics whose value over several controls is the lowest of them; that of the others is their mean."""


def selected_schema(config: SimulationConfig, notify: Callable[[Remark], None]) -> ProjectSchema:
    """The schema with the control that `config.control` names, else with all controls. `notify` is called with it.

    Raises ApprenticeError if there is no such control, or if the configuration cannot be read.
    """
    schema = read_config(config.label_config)
    [first, *others] = selected = schema.selected_controls(config.control)
    notify(Remark("question", {"schema": replace(schema, controls=selected)}))
    return schema if others else schema.only(first)


def simulated_schema(
    schema: ProjectSchema, content: ExportContent, test_content: ExportContent | None, notify: Callable[[Remark], None]
) -> ProjectSchema:
    """The schema with the controls that are simulated: its only control, or all that can be compared. `notify` is
    called with each control that is left out.

    Raises ApprenticeError if no control can be compared.
    """
    if len(schema.controls) == 1:
        return schema
    tasks = make_export(content, schema, "", lambda _: None)
    test = make_export(test_content, schema, "", lambda _: None) if test_content else None
    reasons = {control.name: _reason_to_leave_out(control, tasks, test) for control in schema.controls}
    for name, reason in reasons.items():
        if reason:
            notify(Remark("control left out", {"control": name, "reason": reason}))
    kept = tuple(control for control in schema.controls if not reasons[control.name])
    if not kept:
        raise ApprenticeError(f"The answers in {content.path} leave nothing to compare in any control")
    return schema.only(kept[0]) if len(kept) == 1 else replace(schema, controls=kept)


def _reason_to_leave_out(control: ControlSchema, tasks: Export, test: Export | None) -> str:
    """Why strategies cannot be compared for a control, a code; "" if they can."""
    targets = tasks.targets[control.name]
    targets = targets[~are_missing(targets)]
    if len(targets) < MIN_LABELLED_TASKS:
        return "few answers"
    if are_equal(targets):
        return "same answers"
    if test is not None and are_missing(test.targets[control.name]).all():
        return "no test"
    return ""


def check_options_of_one_control(config: SimulationConfig, schema: ProjectSchema) -> None:
    """Raises ApprenticeError if an option is about one control; the schema has several."""
    names = ", ".join(control.name for control in schema.controls)
    for option, value in (("--teacher-arm", config.arms), ("--features", config.features)):
        if value:
            raise ApprenticeError(f"{option} is about one control: name one of {names} with --control")


def check_answers_differ(config: SimulationConfig, control: ControlSchema, tasks: Export) -> None:
    """Raises ApprenticeError if all tasks have the same answer."""
    targets = tasks.targets[control.name]
    if are_equal(targets):
        [value] = kind_of(control).target_values(control, targets[:1])
        labels = [repr(label) for label in kind_of(control).in_words(control, value)]
        raise ApprenticeError(
            f"All answers in {config.tasks} are {' and '.join(labels) or 'empty'}: there is nothing to tell apart"
        )


def controls_in_queue(options: ProjectSettings, schema: ProjectSchema) -> list[str]:
    """The names of the controls that count in the order of the queue; of all controls if none counts."""
    names = [control.name for control in schema.controls]
    return [name for name in names if options.control_weight(name) > 0] or names


def joint_metric(measurements: Sequence[Measurement], compared: Mapping[str, str]) -> str:
    """The metric over several controls: one that all of them have, else JOINT_METRIC. compared: the metric by which
    each control is compared"""
    by_control = [{measured.metric for measured in measurements if measured.control == name} for name in compared]
    shared = set.intersection(*by_control)
    return next((name for name in (*COMPARED_METRICS, *compared.values(), ACCURACY) if name in shared), JOINT_METRIC)


def with_joint_metric(measurements: Sequence[Measurement], compared: Mapping[str, str]) -> list[Measurement]:
    """The measurements, and those of the `compared` metric of each control as JOINT_METRIC."""
    of_controls = (measured for measured in measurements if compared.get(measured.control) == measured.metric)
    return [*measurements, *(replace(measured, metric=JOINT_METRIC) for measured in of_controls)]


def over_controls(measurements: Sequence[Measurement], controls: Collection[str]) -> list[Measurement]:
    """Each metric over all of these controls, where all of them have it, and what was measured of no control."""
    values: dict[tuple[str, int, int, str, str], list[float]] = defaultdict(list)
    for of_control in measurements:
        if of_control.control in controls:
            key = of_control.strategy, of_control.seed, of_control.labelled, of_control.metric, of_control.group
            values[key].append(of_control.value)
    joint = [
        Measurement(*key, min(of_controls) if key[3] in LOWEST_COUNTS else float(np.mean(of_controls)))
        for key, of_controls in values.items()
        if len(of_controls) == len(controls)
    ]
    return [*joint, *of_no_control(measurements)]


def of_one_control(measurements: Sequence[Measurement], control: str) -> list[Measurement]:
    """The measurements of a control, and what was measured of no control."""
    return [*(measured for measured in measurements if measured.control == control), *of_no_control(measurements)]


def of_no_control(measurements: Sequence[Measurement]) -> list[Measurement]:
    return [measured for measured in measurements if not measured.control]
