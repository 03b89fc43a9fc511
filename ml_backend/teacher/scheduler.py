"""What a project's teacher is asked now: of all that could be asked, the most urgent kind."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np

from ml_backend.core import registry
from ml_backend.core.types import Ints
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import Store
from ml_backend.teacher import candidates
from ml_backend.teacher.candidates import Asked
from ml_backend.teacher.project_snapshot import ProjectSnapshot

NO_TASKS: Ints = np.empty(0, np.int64)


class QuestionScheduler:
    """Remembers what was chosen and not asked yet: choosing costs most."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._chosen: dict[int, Ints] = {}
        self._no_cues_before: dict[int, float] = {}

    def questions(self, sight: ProjectSnapshot, teacher: str, touched: Ints) -> Asked:
        """By file, everything but the queue's head, which is another one by the time of the answers."""
        record, store, project = sight.record, self._store, sight.record.id
        learner, _ = fitted_model.load_best(store, store.versions.active(project), sight.pool.space)
        cues = candidates.cues(store, sight, teacher)
        if sight.options.teacher == registry.BY_FILE:
            if ("describe", "waiting") in store.questions.counts(project, teacher):
                cues = []
            return cues + self._further(sight, learner, teacher, touched)
        if asked := self._label(sight, learner, teacher, candidates.head(store, record, sight.options)):
            return asked
        if time.monotonic() < self._no_cues_before.get(project, 0.0):
            cues = []
        return cues or self._further(sight, learner, teacher, touched)

    def forget_all_but(self, projects: Collection[int]) -> None:
        for known in (self._chosen, self._no_cues_before):
            for gone in known.keys() - projects:
                del known[gone]

    def put_off_cues(self, project: int, seconds: float) -> None:
        """Of all replies theirs is the longest: if it does not come, others go on."""
        self._no_cues_before[project] = time.monotonic() + seconds

    def _further(self, sight: ProjectSnapshot, learner: FittedModel | None, teacher: str, touched: Ints) -> Asked:
        """About tasks that were chosen earlier, else about others. Those that are asked nothing, as the teacher dropped
        them or they have no text, make room for the next ones."""
        pool, options, project = sight.pool, sight.options, sight.record.id
        left, known = candidates.room(self._store, options, sight.schema, project, teacher)
        if left <= 0:
            return []
        apart = np.concatenate([touched, np.array(self._store.versions.audited(project), np.int64)])
        tasks = self._chosen.pop(project, NO_TASKS)
        tasks = tasks[~np.isin(tasks, apart)]
        while not (asked := self._label(sight, None, teacher, tasks)):  # without answers in sight: see `Recall.teaches`
            apart = np.concatenate([apart, tasks])
            tasks = candidates.further(pool, options, learner, sight.schema, known, apart, touched, left)
            if not len(tasks):
                return []
        if options.teacher != registry.BY_FILE:  # there, all of them wait from now on
            self._chosen[project] = tasks
        return asked[:left]

    def _label(self, sight: ProjectSnapshot, learner: FittedModel | None, teacher: str, tasks: Ints) -> Asked:
        return candidates.label(self._store, sight.pool, sight.record, sight.schema, learner, teacher, tasks)
