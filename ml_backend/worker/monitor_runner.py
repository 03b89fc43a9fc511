"""Runs the monitor beside the rounds. Slow computations run in a background thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.model.applicable_options import applicable_options
from ml_backend.monitoring.monitor import MonitorInput, read_monitor_input, run_monitor
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRow, Store
from ml_backend.worker.process_priority import lower_thread_priority

PAUSE_SECONDS = 15.0  # between two runs, because a run takes seconds of a core, and one annotation changes little
MAX_CONTROLS_REMEMBERED = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _ChangedControl:
    """A control whose learner or options have changed since its last run. `state`: the new learner and options"""

    project_row: ProjectRow
    control: str
    options: ProjectSettings
    state: tuple[object, ...]

    @property
    def key(self) -> tuple[int, str]:
        return self.project_row.id, self.control


class MonitorRunner:
    """Monitors one control at a time, when its learner or its options have changed since the last run."""

    def __init__(self, settings: Settings, store: Store, aggregators: LabelAggregators) -> None:
        self._settings = settings
        self._store = store
        self._clock = store.clock
        self._aggregators = aggregators
        self._thread = ThreadPoolExecutor(1, "monitor", lower_thread_priority)
        self._running: Future[None] | None = None
        self._not_before = 0.0
        self._monitored: dict[tuple[int, str], tuple[object, ...]] = {}
        """By project and control: learner and options of the last run. The latest run comes last."""
        self._without_input: dict[tuple[int, str], tuple[object, ...]] = {}
        """The same with what else decides on it, for controls that could not be monitored."""

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Starts a run for the control with changes whose last run is longest ago, if no run is under way."""
        if self._clock.monotonic() < self._not_before or (self._running and not self._running.done()):
            return
        self._not_before = self._clock.monotonic() + PAUSE_SECONDS
        last_runs = {key: position for position, key in enumerate(self._monitored)}
        for changed in sorted(self._changed(pools), key=lambda changed: last_runs.get(changed.key, -1)):
            project_row, pool = changed.project_row, pools[changed.project_row.id]
            circumstances = (*changed.state, *_circumstances(project_row, pool))
            if circumstances == self._without_input.get(changed.key):
                continue
            try:
                monitor_input = self._read_input(pool, project_row, changed.options, changed.control)
            except ApprenticeError as error:
                log.warning("monitor failed", project=project_row.id, error=str(error))
                continue
            if monitor_input is None:  # reading the artifact takes long, and would give the same result
                _remember(self._without_input, changed.key, circumstances)
                continue
            _remember(self._monitored, changed.key, changed.state)
            self._running = self._thread.submit(self._run, project_row, changed.control, monitor_input)
            return

    def _changed(self, pools: Mapping[int, ProjectPool]) -> Iterator[_ChangedControl]:
        """Yields each control whose learner or options have changed since its last run."""
        for project in pools:
            project_row, active = self._store.projects.get(project), self._store.versions.active(project)
            if project_row is None or active is None or active.learner is None:
                continue
            options, _ = self._settings.for_project(project_row.extra_params)
            for control, of_control in active.controls.items():
                state = (of_control.learner, options.group_by, options.second_look, options.acquisition)
                changed = _ChangedControl(project_row, control, options, state)
                if of_control.learner is not None and state != self._monitored.get(changed.key):
                    yield changed

    def _read_input(
        self, pool: ProjectPool, project_row: ProjectRow, options: ProjectSettings, control: str
    ) -> MonitorInput | None:
        schema = read_schema(project_row.label_config, project_row.choices)
        form = feature_space.task_form(feature_space.project_encoder(self._settings, project_row))
        options, _ = applicable_options(options, schema, form)
        aggregator = self._aggregators.of(project_row.id)
        aggregator.refresh(schema.controls)
        for learnt in schema.controls:
            if learnt.name == control:
                return read_monitor_input(self._store, pool, aggregator, project_row, learnt, options)
        return None

    def wait(self) -> None:
        """Waits for the current run."""
        wait([self._running] if self._running else [])

    def stop(self) -> None:
        """Waits for the current run."""
        self._thread.shutdown()

    def _run(self, project_row: ProjectRow, control: str, monitor_input: MonitorInput) -> None:
        project = project_row.id
        try:
            result, current = run_monitor(monitor_input), self._store.projects.get(project)
            if current is not None and current.is_connected and current.made_at == project_row.made_at:
                self._store.monitor.put(project, control, result)
                # a round may then switch the queue to random order, or propose tasks for review
                self._store.jobs.request_unless_waiting(project)
        except Exception as error:  # a failed run must not stop the worker
            log.warning("monitor failed", project=project, error=type(error).__name__)
        finally:
            self._not_before = self._clock.monotonic() + PAUSE_SECONDS


def _circumstances(project_row: ProjectRow, pool: ProjectPool) -> tuple[object, ...]:
    """What decides, besides the learner, on whether a control can be monitored: the configuration and the tasks. The
    number of encoded tasks counts when it has doubled, and when all tasks are encoded."""
    encoded = "all" if not pool.missing.any() else int(pool.encoded.sum()).bit_length()
    return project_row.label_config, project_row.choices, pool.space, pool.revision, encoded


def _remember(
    states: dict[tuple[int, str], tuple[object, ...]], key: tuple[int, str], state: tuple[object, ...]
) -> None:
    """Stores the state of a control as the last of the states."""
    states.pop(key, None)
    states[key] = state
    while len(states) > MAX_CONTROLS_REMEMBERED:  # a control without a state is monitored again
        states.pop(next(iter(states)))
