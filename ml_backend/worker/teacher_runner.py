"""A worker's dealings with the teacher: in a thread of its own, ahead of the queue, never in the way of a round."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError, TeacherUnavailableError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRecord, Store, now
from ml_backend.teacher import distillation
from ml_backend.teacher.candidates import Asked
from ml_backend.teacher.client import Budget, TeacherClient, without_model
from ml_backend.teacher.descriptions import feature_scores, label_descriptions
from ml_backend.teacher.distillation import DistillationInput
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.project_snapshot import ProjectSnapshot, see, stands
from ml_backend.teacher.scheduler import QuestionScheduler
from ml_backend.teacher.teacher_labels import nothing, recall
from ml_backend.worker.process_priority import give_way

PAUSE_SECONDS = 0.5  # between two looks for something to ask
IDLE_PAUSE_SECONDS = 5.0  # as long as nothing happens
PORTION = 2  # questions, for each call at a time, that are asked before looking again
LONGEST_PAUSE = 600.0  # of a teacher that is not there
FIRST_PAUSE = 5.0
UNANSWERED_PAUSE = 30.0
ROUND_SECONDS = 1.0  # before a round because of what the teacher says: an annotator's next answer brings one anyway
TELL_SECONDS = 5.0  # between two rounds that are asked for because of drafts alone
STOP_SECONDS = 5.0  # for answers that are on their way when a worker stops: it is killed after 25

log = structlog.get_logger()


class TeacherRunner:
    """One project at a time: between rounds it is seen that there may be something to do, the rest is beside them."""

    def __init__(self, settings: Settings, store: Store, aggregators: LabelAggregators) -> None:
        self._settings = settings
        self._store = store
        self._aggregators = aggregators
        self._agenda = QuestionScheduler(store)
        self._running: threading.Thread | None = None
        self._not_before, self._pause = 0.0, PAUSE_SECONDS
        self._looked: dict[int, tuple[object, ...]] = {}  # project -> what it was like when there was nothing to do
        self._pauses: dict[int, float] = {}
        self._left_alone: dict[int, float] = {}  # project -> until when: something is wrong with it

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Begins with the first project that has something to do, if nothing is being done. Takes milliseconds."""
        if time.monotonic() < self._not_before or (self._running and self._running.is_alive()):
            return
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, IDLE_PAUSE_SECONDS)
        self._forget_all_but(pools.keys())
        sights: list[ProjectSnapshot] = []
        for project, pool in pools.items():
            if time.monotonic() >= self._left_alone.get(project, 0.0):
                try:
                    sights += self._see(project, pool)
                except Exception as error:
                    self._leave_alone(project, error)
        if sights:
            self.wake()
            # a daemon: a server that hangs must not keep the process from ending
            self._running = threading.Thread(target=self._work, args=(sights,), name="teach", daemon=True)
            self._running.start()

    def wake(self) -> None:
        """Something has happened, after which there may be something to do."""
        self._pause = PAUSE_SECONDS
        self._not_before = min(self._not_before, time.monotonic() + PAUSE_SECONDS)

    def stop(self) -> None:
        """Waits a moment for answers that are on their way; what takes longer is left behind."""
        if self._running:
            self._running.join(STOP_SECONDS)

    def _forget_all_but(self, projects: Collection[int]) -> None:
        for known in (self._looked, self._pauses, self._left_alone):
            for gone in known.keys() - projects:
                del known[gone]
        self._agenda.forget_all_but(projects)

    def _see(self, project: int, pool: ProjectPool) -> list[ProjectSnapshot]:
        """The project, unless nothing can be done for it or it is as it was when nothing was to be done."""
        record = self._store.projects.get(project)
        if record is None or not record.is_connected or not record.published:
            return []
        options, _ = self._settings.for_project(record.extra_params)
        teacher = registry.teacher(options.teacher, self._settings.teacher_options(options))
        desk = TeacherClient(self._store, project, teacher, Budget.of(options)) if teacher else None
        record = self._meet(record, desk.teacher if desk else None, options.teacher_model)
        if _until(record) > now():
            return []
        encoder = feature_space.encoder_of(self._settings, record)
        if (
            not feature_space.is_ready(record, read_schema(record.label_config, record.choices))
            or pool.space != encoder.name
        ):
            return []  # the next round makes it so
        mark = (
            record.published, record.tasks_revision, record.cues, record.features, pool.space,
            distillation.standing(self._store, record), self._store.evolution.finished(project), options,
            int(pool.encoded.sum()),
            (desk.teacher, self._store.questions.counts(project, desk.teacher), desk.left()) if desk else None,
        )  # fmt: skip
        return [] if self._looked.get(project) == mark else [see(pool, record, options, desk, mark, encoder)]

    def _work(self, sights: list[ProjectSnapshot]) -> None:
        give_way()
        for sight in sights:
            try:
                if self._do(sight):
                    return
            except Exception as error:
                self._leave_alone(sight.record.id, error)

    def _leave_alone(self, project: int, error: Exception) -> None:
        """One project's trouble is not that of the others, nor of the worker."""
        log.error("not taught", project=project, error=type(error).__name__)
        # what we raise ourselves is a setting that somebody is about to mend
        pause = UNANSWERED_PAUSE if isinstance(error, ApprenticeError) else LONGEST_PAUSE
        self._left_alone[project] = time.monotonic() + pause

    def _do(self, sight: ProjectSnapshot) -> bool:
        """Does what there is to do for a project; False if that is nothing. Without a desk there is nobody to be asked,
        but the labels' names can be learnt from, and cues that somebody wrote."""
        record, desk, schema, store = sight.record, sight.desk, sight.schema, self._store
        if desk and self._recover(sight, desk.teacher):
            return True
        asked: Asked = []
        recalled = nothing(schema)
        if desk:
            answers = self._aggregators.of(record.id).refresh(schema).answers
            recalled = recall(store, desk.teacher, schema, sight.pool, record.id, answers)
            spent = desk.exhausted()
            if sight.options.teacher == registry.BY_FILE:  # it would ask under another name than after that is set
                spent = without_model(sight.options, record.id) or spent
            if not spent and (asked := self._agenda.questions(sight, desk.teacher, answers.touched)):
                spent = desk.exhausted(asked[0][0])
                if spent and asked[0][0].purpose == "describe":  # labels are cheaper
                    self._agenda.put_off_cues(record.id, LONGEST_PAUSE)
                    return True
            if spent or not asked:
                self._say(record, f"{spent}: the loop goes on without it" if spent else "")
                asked = []
        by_teacher = generated_texts.taught(store, sight.encoder, record, schema, recalled, sight.teacher)
        given = distillation.gather(
            sight.pool, record, sight.options.learner, schema, recalled, by_teacher, sight.records
        )
        if given.origin.due(distillation.standing(store, record), idle=not asked):
            self._distil(sight, given)
        elif desk and asked and sight.options.teacher == registry.BY_FILE:
            store.questions.want(record.id, desk.teacher, asked)  # they wait for an export
        elif desk and asked:
            # few at a time: with the next answer, others are at the head of the queue
            portion = asked[: PORTION * self._settings.teacher_concurrency]
            about_labels = [question for question, _ in portion if question.purpose == "describe"]
            if about_labels:
                self._agenda.put_off_cues(record.id, LONGEST_PAUSE)
            self._ask(desk, record, portion)
            if about_labels and len(desk.told(about_labels)) == len(about_labels):
                self._agenda.put_off_cues(record.id, 0.0)  # of records, there may be more of them
        else:
            self._looked[record.id] = sight.mark
            return False
        return True

    def _recover(self, sight: ProjectSnapshot, teacher: str) -> bool:
        """Adopts what the teacher has said of the labels, or of the fields; False if there is nothing new."""
        if sight.records:
            return feature_scores.recover(self._store, sight.record, sight.records, sight.schema, teacher)
        return label_descriptions.recover(self._store, sight.record, sight.schema, teacher)

    def _distil(self, sight: ProjectSnapshot, given: DistillationInput) -> None:
        project = sight.record.id
        try:
            distillation.make(self._store, sight.record, given, sight.schema, sight.encoder)
            self._store.jobs.ask(project, ROUND_SECONDS)
        except Exception as error:  # the loop goes on with the prior it has
            self._leave_alone(project, error)

    def _ask(self, desk: TeacherClient, record: ProjectRecord, asked: Asked) -> None:
        project, told, news, answered = record.id, time.monotonic(), 0, 0
        try:
            for answer in desk.ask([question for question, _ in asked], [key for _, key in asked]):
                answered += 1
                news += answer.content is not None
                if news and time.monotonic() - told > TELL_SECONDS:
                    told, news = time.monotonic(), 0
                    self._store.jobs.ask(project, ROUND_SECONDS)
            self._pauses.pop(project, None)
            self._say(record, "")
            if not answered:  # others are being asked the same
                self._not_before = time.monotonic() + UNANSWERED_PAUSE
        except TeacherUnavailableError as problem:
            pause = (
                LONGEST_PAUSE if problem.fatal else min(2 * self._pauses.get(project, FIRST_PAUSE / 2), LONGEST_PAUSE)
            )
            self._pauses[project] = pause
            self._say(record, str(problem), now() + (problem.retry_after or pause))
            log.warning("teacher", project=project, error=str(problem))
        except Exception as error:  # the loop goes on without the teacher
            self._say(record, f"asking the teacher failed ({type(error).__name__})", now() + LONGEST_PAUSE)
            log.error("teacher", project=project, error=type(error).__name__)
        if news:
            self._store.jobs.ask(project, ROUND_SECONDS)

    def _meet(self, record: ProjectRecord, name: str | None, model: str) -> ProjectRecord:
        """The record as it is with this teacher: another one than before is told nothing of that one's problems."""
        if (record.teacher or {}).get("name") == name:
            return record
        state = {"name": name, "model": model, "problem": "", "until": 0.0} if name else None
        if name:
            self._store.teacher_states.meet(record.id, name, model)
        else:
            self._store.teacher_states.forget(record.id)
        self._pauses.pop(record.id, None)
        return replace(record, teacher=state)

    def _say(self, record: ProjectRecord, problem: str, until: float = 0.0) -> None:
        """Notes how it goes, for `status` and `doctor`."""
        state = {**(record.teacher or {}), "problem": problem, "until": until}
        if record.teacher != state and stands(self._store, record):
            self._store.teacher_states.report(record.id, str(state.get("name", "")), problem, until)


def _until(record: ProjectRecord) -> float:
    return float((record.teacher or {}).get("until", 0.0))
