"""Decides which questions a project's teacher is asked next: those of the most urgent kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Ints
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import load_best, models_of
from ml_backend.storage import Store
from ml_backend.teacher import candidates
from ml_backend.teacher.candidates import QuestionsWithKeys
from ml_backend.teacher.project_snapshot import ProjectSnapshot

Models = Mapping[str, FittedModel]
"""The learner of each control that has one."""
NO_TASKS: Ints = np.empty(0, np.int64)


class QuestionScheduler:
    """Chooses the next questions. Remembers chosen tasks until they are asked about, because choosing takes long."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clock = store.clock
        self._chosen: dict[int, Ints] = {}
        self._no_cues_before: dict[int, float] = {}
        """By project: the monotonic time in seconds before which no label descriptions or field scores are asked for.
        """

    def questions(self, snapshot: ProjectSnapshot, teacher: str, annotated_or_skipped: Ints) -> QuestionsWithKeys:
        """The next questions of a project: about the queue's head, else for label descriptions or field scores, else
        for distillation. A teacher that answers by file is asked for descriptions or scores and for distillation at
        once, and not about the queue's head, because the head is another one by the time of the answers.

        annotated_or_skipped  ids of the tasks with an annotation or a skip
        """
        project_row, store, project = snapshot.project_row, self._store, snapshot.project_row.id
        model, _ = load_best(store, store.versions.active(project), snapshot.pool.space)
        models = models_of(model)
        cues = candidates.description_questions(store, snapshot, teacher)
        if snapshot.options.teacher == registry.BATCH_TEACHER:
            if ("describe", "waiting") in store.questions.counts(project, teacher):
                cues = []
            return cues + self._for_distillation(snapshot, models, teacher, annotated_or_skipped)
        if about_head := self._label(
            snapshot, models, teacher, candidates.queue_head(store, project_row, snapshot.options)
        ):
            return about_head
        if self._clock.monotonic() < self._no_cues_before.get(project, 0.0):
            cues = []
        return cues or self._for_distillation(snapshot, models, teacher, annotated_or_skipped)

    def forget_all_but(self, projects: Collection[int]) -> None:
        """Forgets the chosen tasks and the pauses of all other projects."""
        for state in (self._chosen, self._no_cues_before):
            for project in state.keys() - projects:
                del state[project]

    def postpone_descriptions(self, project: int, seconds: float) -> None:
        """Asks for no label descriptions or field scores for a time. Their replies are the longest: if one does not
        come, the other questions are asked meanwhile."""
        self._no_cues_before[project] = self._clock.monotonic() + seconds

    def _for_distillation(
        self, snapshot: ProjectSnapshot, models: Models, teacher: str, annotated_or_skipped: Ints
    ) -> QuestionsWithKeys:
        """Questions about tasks that were chosen earlier, else about newly chosen tasks. Tasks without a question,
        because the teacher's answer was dropped or they have no text, are replaced by the next ones."""
        options, project = snapshot.options, snapshot.project_row.id
        remaining = candidates.remaining_labels(self._store, options, snapshot.schema, project, teacher)
        if remaining.count <= 0:
            return []
        audited = np.array(self._store.versions.audited(project), np.int64)
        excluded = np.concatenate([annotated_or_skipped, audited])
        tasks = self._chosen.pop(project, NO_TASKS)
        tasks = tasks[~np.isin(tasks, excluded)]
        # without learners, and so without examples: see `TeacherLabels.may_be_distilled`
        while not (questions := self._label(snapshot, {}, teacher, tasks)):
            excluded = np.concatenate([excluded, tasks])
            tasks = candidates.tasks_to_distil(self._store, snapshot, models, remaining, excluded, annotated_or_skipped)
            if not len(tasks):
                return []
        if options.teacher != registry.BATCH_TEACHER:  # by file, all of the questions are stored at once
            self._chosen[project] = tasks
        return questions[: remaining.count]

    def _label(self, snapshot: ProjectSnapshot, models: Models, teacher: str, tasks: Ints) -> QuestionsWithKeys:
        return candidates.label_questions(self._store, snapshot, models, teacher, tasks)
