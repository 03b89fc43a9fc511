"""A worker's look at how well things go: what takes long is computed in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.monitoring.monitor import MonitorInput, find_out, see
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.worker.process_priority import give_way

PAUSE_SECONDS = 15.0  # between two looks: each takes seconds of a core, and one answer changes little
MOST_REMEMBERED = 1000  # projects

log = structlog.get_logger()


class MonitorRunner:
    """One project at a time, whenever its learner is another than at the last look."""

    def __init__(self, settings: Settings, store: Store, aggregators: LabelAggregators) -> None:
        self._settings = settings
        self._store = store
        self._aggregators = aggregators
        self._thread = ThreadPoolExecutor(1, "watch", give_way)
        self._running: Future[None] | None = None
        self._not_before = 0.0
        self._looked: dict[int, tuple[object, ...]] = {}  # project -> the learner and options of the last look

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Begins a look if none is on its way and there is something new to see."""
        if time.monotonic() < self._not_before or (self._running and not self._running.done()):
            return
        self._not_before = time.monotonic() + PAUSE_SECONDS
        for project, pool in pools.items():
            record, active = self._store.projects.get(project), self._store.versions.active(project)
            if record is None or active is None or active.learner is None:
                continue
            options, _ = self._settings.for_project(record.extra_params)
            sight = (active.learner, options.group_by, options.second_look, options.acquisition)
            if sight == self._looked.get(project):
                continue
            try:
                schema = read_schema(record.label_config, record.choices)
                form = feature_space.form(feature_space.encoder_of(self._settings, record))
                aggregator = self._aggregators.of(project)
                seen = see(self._store, pool, aggregator, record, schema, options.of_form(form))
            except ApprenticeError as error:
                log.warning("not watched", project=project, error=str(error))
                continue
            if seen is not None:
                self._looked[project] = sight
                while len(self._looked) > MOST_REMEMBERED:  # of one that is forgotten, the next look is an early one
                    self._looked.pop(next(iter(self._looked)))
                self._running = self._thread.submit(self._look, project, seen, record.made_at)
                return

    def stop(self) -> None:
        """Waits for a look that is on its way."""
        self._thread.shutdown()

    def _look(self, project: int, seen: MonitorInput, made_at: str) -> None:
        try:
            found, record = find_out(seen), self._store.projects.get(project)
            if record is not None and record.is_connected and record.made_at == made_at:
                self._store.monitor.put(project, found)
                self._store.jobs.ask(project)  # it may move the queue to random order, and propose second looks
        except Exception as error:  # a look is no reason for a worker to fail
            log.warning("not watched", project=project, error=type(error).__name__)
        finally:
            self._not_before = time.monotonic() + PAUSE_SECONDS
