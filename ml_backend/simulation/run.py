"""`apprentice simulate`: runs query strategies on a user's labelled export and measures them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np

from ml_backend import __version__
from ml_backend.core import registry
from ml_backend.core.arrays import TrainingSet, are_missing
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema, takes_several_labels
from ml_backend.core.settings import Settings
from ml_backend.core.types import Remark
from ml_backend.kinds.lookup import fitted_schema, kind_of, learner_name
from ml_backend.label_studio.export import Export, make_export, read_content
from ml_backend.pool import feature_space
from ml_backend.simulation import effort
from ml_backend.simulation.cached_teacher import CachedTeacher
from ml_backend.simulation.config import SimulationConfig, make_plan
from ml_backend.simulation.controls import (
    JOINT_METRIC,
    check_answers_differ,
    check_options_of_one_control,
    controls_in_queue,
    joint_metric,
    of_one_control,
    over_controls,
    selected_schema,
    simulated_schema,
    with_joint_metric,
)
from ml_backend.simulation.held_out_split import count_test_rows, split_rows
from ml_backend.simulation.learning_curves import Measurement, append_run, read_csv
from ml_backend.simulation.option_checks import check_options
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.simulation.run_directory import CURVES, locked, prepare_folder, readable_errors, write_json
from ml_backend.simulation.simulated_teacher import (
    ARMS,
    TeacherArm,
    max_questions,
    open_cached_teacher,
    open_simulated_teacher,
)
from ml_backend.simulation.summary import RANDOM, summarise
from ml_backend.simulation.task_encoder import Progress, encode_tasks, open_encoder
from ml_backend.simulation.teacher_arms import arm_name
from ml_backend.teacher import distillation

CHANGEABLE_ENTRIES = ("strategies", "seeds", "budget_is", "starts_from", "teacher", "x")
"""Entries of the protocol that may differ between calls for the same folder."""

Notify = Callable[[Remark], None]
"""Called with what the user should know before the runs; `rendering.simulation_text` words it."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The measurements of the finished runs, and their summary (see `summarise`).

    by_control  of several controls, the results of each one; the others are over all controls. {} for one control
    """

    measurements: list[Measurement]
    summary: dict[str, Any]
    by_control: Mapping[str, SimulationResult] = field(default_factory=dict)


class Simulator:
    """The runs of one configuration, with all files read and all texts encoded.

    `notify` is called with notices to the user, such as which tasks are left out. The constructor and all methods raise
    ApprenticeError if a file, a strategy or the folder `out` cannot be used, or if there is nothing to compare.
    """

    def __init__(self, settings: Settings, config: SimulationConfig, notify: Notify, progress: Progress) -> None:
        self._config, self._progress, self._settings = config, progress, settings
        schema = selected_schema(config, notify)
        for name in config.strategies:
            registry.acquisition(name)
        content = read_content(config.tasks, schema)
        test_content = read_content(config.test, schema) if config.test else None
        schema = simulated_schema(schema, content, test_content, notify)
        self._controls = schema.controls

        def notify_of_export(message: str) -> None:
            notify(Remark("export", {"message": message}))

        tasks = make_export(content, schema, config.group, notify_of_export)
        test = make_export(test_content, schema, config.group, notify_of_export) if test_content else None
        if len(self._controls) > 1:
            check_options_of_one_control(config, schema)
        self._encoder, self._attributions = open_encoder(settings, schema, config, tasks, notify)
        options = settings.defaults.with_form_defaults(feature_space.task_form(self._encoder))
        strategies = list(dict.fromkeys([*(config.strategies or [options.acquisition]), RANDOM]))
        check_options(config, options, schema, strategies)
        self._arms = {arm_name(strategies[0], arm, config.rounds, config.per_round): arm for arm in config.arms}
        self._base_strategy = strategies[0]
        self._strategies = [*strategies, *self._arms]
        if len(self._controls) == 1:
            check_answers_differ(config, self._controls[0], tasks)
        if test and (shared := len({*test.texts}.intersection(tasks.texts))):
            values = {"test": str(config.test), "tasks": str(config.tasks), "count": shared}
            notify(Remark("texts shared", values))
        n = len(tasks.texts)
        test_rows = len(test.texts) if test else count_test_rows(n)
        pool_size = n if test else n - test_rows
        self._plan = make_plan(schema, options, settings.encoder, config, pool_size)
        notify(_plan_notice(config, self._plan, pool_size, test_rows))
        if not test:
            split_rows(tasks.texts, 0)  # raises an error if no split is possible
        self._protocol: dict[str, Any] = {
            "strategies": self._strategies,
            "seeds": config.seeds,
            "labels_at_the_start": self._plan.initial,
            "batch": self._plan.batch,
            "budget": self._plan.budget,
            "budget_is": "given" if config.budget else "default",
            "tasks": n,
            "pool": pool_size,
            "test_rows": test_rows,
            "test_rows_stay": test is not None,
            "labels": self._of_controls(lambda control: len(control.labels)),
            "several_labels": self._of_controls(takes_several_labels),
            "group": config.group,
            "groups": _group_sizes(tasks, test),
            "learner": ", ".join(dict.fromkeys(learner_name(control, options.learner) for control in self._controls)),
            "starts_from": {
                "label_names": feature_space.task_form(self._encoder) != "record" and _reads_label_names(schema),
                "features": config.features.name if config.features else "",
            },
            "encoder": self._encoder.name if schema.input.is_record else settings.encoder,
            "balance": settings.defaults.balance,
            **effort.protocol_entries(config.x, options, schema),
            "version": __version__,
            "digest_of_the_tasks": _digest([tasks, test] if test else [tasks]),
        }
        self._protocols = {control.name: _protocol_of(control, tasks, test) for control in self._controls}
        if len(self._controls) > 1:
            self._protocol["control_weights"] = self._of_controls(lambda control: options.control_weight(control.name))
            notify(Remark("labelled by control", {name: entries["tasks"] for name, entries in self._protocols.items()}))
        if self._attributions:
            scores = b"".join(attributions.scores.tobytes() for attributions in self._attributions.values())
            self._protocol["digest_of_what_is_known"] = sha256(scores).hexdigest()[:16]
        self._teacher = self._open_teacher(notify) if self._arms else None
        if self._teacher:
            self._protocol["teacher"] = self._teacher.name
        fixed_entries = {name: value for name, value in self._protocol.items() if name not in CHANGEABLE_ENTRIES}
        prepare_folder(config.out, fixed_entries)
        self._texts = tasks.texts
        self._tasks = self._encode(tasks)
        self._test = self._encode(test) if test else None
        self._names = {
            control.name: distillation.pseudo_labels_of_names(control, self._encoder) for control in self._controls
        }
        self._repetition: tuple[int, tuple[SimulationPlan, LabelledPool, LabelledPool]] | None = None

    def run(self) -> None:
        """Runs all strategies of a seed after each other and appends each run to curves.csv, without the runs that are
        already there."""
        with locked(self._config.out):
            self._run()

    def _run(self) -> None:
        file = self._config.out / CURVES
        with readable_errors(self._config.out):
            finished = {(measurement.strategy, measurement.seed) for measurement in read_csv(file)}
        for control in self._controls:
            self._fit_once(control)
        runs = [(name, seed) for seed in range(self._config.seeds) for name in self._strategies]
        done, labels = len(finished.intersection(runs)), self._plan.budget
        for name, seed in runs:
            if (name, seed) in finished:
                continue
            measurements = []
            for measurement in self._measure(name, seed):
                measurements.append(measurement)
                done_labels = done * labels + measurement.labelled
                self._progress(f"{name}, repetition {seed + 1}: labels", done_labels, len(runs) * labels)
            with readable_errors(self._config.out):
                append_run(file, measurements)
            done += 1

    def conclude(self) -> SimulationResult:
        """Summarises the finished runs of this configuration, and writes the summary to summary.json."""
        folder = self._config.out
        with readable_errors(folder):
            stored = read_csv(folder / CURVES)
            measurements = [
                measurement
                for measurement in stored
                if measurement.strategy in self._strategies and measurement.seed < self._config.seeds
            ]
            tried = sorted({measurement.strategy for measurement in stored})
            result = self._conclusion(measurements, tried)
            by_control = {name: of_control.summary for name, of_control in result.by_control.items()}
            write_json(folder / "summary.json", {**result.summary, **({"controls": by_control} if by_control else {})})
        return result

    def _conclusion(self, measurements: list[Measurement], tried: Sequence[str]) -> SimulationResult:
        """The result of the only control, or that over all controls with the results of each."""
        main_metrics = {control.name: kind_of(control).main_metric(control) for control in self._controls}
        if len(self._controls) == 1:
            [main_metric] = main_metrics.values()
            return SimulationResult(measurements, summarise(measurements, self._protocol, tried, main_metric))
        by_control = {}
        for name, main_metric in main_metrics.items():
            of_control = of_one_control(measurements, name)
            protocol = self._protocol | self._protocols[name]
            by_control[name] = SimulationResult(of_control, summarise(of_control, protocol, tried, main_metric))
        controls = controls_in_queue(self._plan.options, self._plan.schema)
        compared = {name: by_control[name].summary["protocol"]["metric"] for name in controls}
        protocol = {**self._protocol, "over_controls": controls}
        metric = joint_metric(measurements, compared)
        if metric == JOINT_METRIC:
            measurements, protocol["over_metrics"] = with_joint_metric(measurements, compared), compared
        joint = over_controls(measurements, controls)
        return SimulationResult(joint, summarise(joint, protocol, tried, metric), by_control)

    def _of_controls(self, value: Callable[[ControlSchema], Any]) -> Any:
        """The value of the only control, or those of several controls by their names."""
        values = {control.name: value(control) for control in self._controls}
        return values if len(values) > 1 else values[self._controls[0].name]

    def _encode(self, export: Export) -> LabelledPool:
        folder, input_spec = self._config.out / "vectors", self._plan.schema.input
        return encode_tasks(self._encoder, export, input_spec, folder=folder, progress=self._progress)

    def _fit_once(self, control: ControlSchema) -> None:
        """Fits the learner of a control on two tasks, because a first fit imports libraries, which is not part of the
        seconds of a round."""
        targets = self._tasks.targets[control.name]
        rows = np.flatnonzero(~are_missing(targets))[:2]
        texts, weights = self._tasks.all_texts().take(rows), np.ones(len(rows), np.float32)
        train = TrainingSet(self._tasks.vectors[rows], targets[rows], weights, fitted_schema(control), texts=texts)
        kind_of(control).learner(control, learner_name(control, self._plan.options.learner)).fit(train, seed=0)

    def _measure(self, name: str, seed: int) -> Iterator[Measurement]:
        """One run of a strategy or a teacher arm."""
        plan, pool, test = self._begin_repetition(seed)
        if self._teacher is None or name not in self._arms:
            yield from simulate(plan, pool, test, name, seed)
            return
        config, teacher = self._config, self._teacher.again()
        label_config = config.label_config.read_text(encoding="utf-8-sig")
        arm = TeacherArm(self._arms[name], config.rounds, config.per_round, label_config)
        with open_simulated_teacher(arm, self._settings, plan, pool, teacher) as simulated_teacher:
            for measurement in simulate(plan, pool, test, self._base_strategy, seed, simulated_teacher):
                yield replace(measurement, strategy=name)

    def _begin_repetition(self, seed: int) -> tuple[SimulationPlan, LabelledPool, LabelledPool]:
        """The plan, the pool and the test rows, which the runs of a repetition share."""
        if self._repetition is None or self._repetition[0] != seed:
            pool, test = self._split(seed)
            plugin = self._plan.options.learner
            priors = {
                control.name: distillation.distil_names(
                    self._names[control.name], plugin, pool.vectors, control, seed,
                    self._attributions.get(control.name),
                )
                for control in self._controls
            }  # fmt: skip
            self._repetition = seed, (replace(self._plan, priors=priors), pool, test)
        return self._repetition[1]

    def _open_teacher(self, notify: Notify) -> CachedTeacher:
        """The teacher with its cached answers, after a message with the maximum number of questions. Raises
        ApprenticeError if an arm does not exist or the budget has too few rounds."""
        config, max_rounds = self._config, -(-(self._plan.budget - self._plan.initial) // self._plan.batch)
        if self._plan.schema.input.is_record or self._plan.schema.input.pair:
            content = "records" if self._plan.schema.input.is_record else "pairs of texts"
            raise ApprenticeError(f"The tasks are {content}, and the arms of a teacher are for texts")
        for arm in config.arms:
            if arm not in ARMS:
                raise ApprenticeError(f"There is no teacher arm {arm!r}; there are: {', '.join(ARMS)}")
        if config.rounds > max_rounds:
            raise ApprenticeError(
                f"The teacher cannot be asked {config.rounds} times: with {self._plan.batch} labels between two "
                f"rounds, there are {max_rounds} before the last. Take fewer --rounds or a smaller --batch"
            )
        teacher = open_cached_teacher(self._settings, config.out / "teacher")
        questions = len(self._arms) * config.seeds * max_questions(config.rounds, config.per_round)
        values = {"teacher": teacher.name, "questions": questions, "folder": str(config.out / "teacher")}
        notify(Remark("teacher questions", values))
        return teacher

    def _split(self, seed: int) -> tuple[LabelledPool, LabelledPool]:
        """Pool and test rows of one repetition."""
        if self._test is not None:
            return self._tasks, self._test
        pool_rows, test_rows = split_rows(self._texts, seed)
        return self._tasks.take(pool_rows), self._tasks.take(test_rows)


def _reads_label_names(schema: ProjectSchema) -> bool:
    """Whether a learner starts from the names of labels."""
    return any(kind_of(control).describes_labels(control) for control in schema.controls)


def _plan_notice(config: SimulationConfig, plan: SimulationPlan, size: int, test_rows: int) -> Remark:
    """The sizes of the simulation, and those that the options ask for."""
    values = {
        "size": size, "test_rows": test_rows, "test_rows_stay": config.test is not None, "budget": plan.budget,
        "batch": plan.batch, "wanted_budget": config.budget or plan.budget, "wanted_batch": config.batch,
        "unit": "tasks" if plan.counts_effort else "labels",
    }  # fmt: skip
    return Remark("plan", values)


def _protocol_of(control: ControlSchema, tasks: Export, test: Export | None) -> dict[str, Any]:
    """The entries of the protocol that are about one of several controls."""
    tasks, test = tasks.labelled_for(control.name), test.labelled_for(control.name) if test else None
    n = len(tasks.texts)
    return {
        "tasks": n,
        "test_rows": len(test.texts) if test else count_test_rows(n),
        "labels": len(control.labels),
        "several_labels": takes_several_labels(control),
        "groups": _group_sizes(tasks, test),
    }


def _group_sizes(tasks: Export, test: Export | None) -> dict[str, dict[str, float]]:
    """The numbers of tasks and of test rows of each group; the latter are means if each repetition draws them anew."""
    groups = sorted({*tasks.groups, *(test.groups if test else ())} - {""})
    share = count_test_rows(len(tasks.texts)) / len(tasks.texts)
    sizes = {}
    for group in groups:
        n = tasks.groups.count(group)
        sizes[group] = {"tasks": n, "test_rows": test.groups.count(group) if test else round(share * n, 1)}
    return sizes


def _digest(exports: Sequence[Export]) -> str:
    """A hash of the texts, targets and groups, on which the result depends."""
    contents = [
        [export.texts, *(targets.tolist() for targets in export.targets.values()), export.groups] for export in exports
    ]
    return sha256(json.dumps(contents).encode()).hexdigest()[:16]
