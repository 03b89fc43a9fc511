"""A worker's dealings with the teacher: in a thread of its own, ahead of the queue, never in the way of a round."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import structlog

from ml_backend import knowledge, registry
from ml_backend.consensus import Answers, consensus
from ml_backend.domain import Ints, TaskSchema, TeacherUnavailable
from ml_backend.jobs.priority import give_way
from ml_backend.label_studio.config import read_schema
from ml_backend.pool import ProjectPool
from ml_backend.settings import ProjectSettings, Settings
from ml_backend.store import ProjectRecord, Store, now
from ml_backend.teaching import ahead, prior, written
from ml_backend.teaching.ahead import Asked
from ml_backend.teaching.cues import adopt
from ml_backend.teaching.desk import Budget, Desk
from ml_backend.teaching.prior import Given
from ml_backend.teaching.recall import nothing, recall

PAUSE_SECONDS = 0.5  # between two looks for something to ask
PORTION = 2  # questions, for each call at a time, that are asked before looking again
LONGEST_PAUSE = 600.0  # of a teacher that is not there
FIRST_PAUSE = 5.0
UNANSWERED_PAUSE = 30.0
TELL_SECONDS = 5.0  # between two rounds that are asked for because of drafts alone

log = structlog.get_logger()


class Teaching:
    """One project at a time: what is to be asked is found between rounds, asking happens beside them."""

    def __init__(self, settings: Settings, store: Store, stop: threading.Event) -> None:
        self._settings = settings
        self._store = store
        self._stop = stop
        self._thread = ThreadPoolExecutor(1, "teach", give_way)
        self._running: Future[None] | None = None
        self._not_before = 0.0
        self._looked: dict[int, tuple[object, ...]] = {}  # project -> what it was like when there was nothing to ask
        self._pauses: dict[int, float] = {}
        self._no_cues_before: dict[int, float] = {}
        self._left_alone: dict[int, float] = {}  # project -> until when: something is wrong with it

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Begins to ask for the first project that has questions, if nothing is being asked."""
        if time.monotonic() < self._not_before or (self._running and not self._running.done()):
            return
        self._not_before = time.monotonic() + PAUSE_SECONDS
        for project, pool in pools.items():
            if time.monotonic() < self._left_alone.get(project, 0.0):
                continue
            try:
                if self._look(project, pool):
                    return
            except Exception as error:  # one project's trouble is not that of the others, nor of the worker
                log.error("not taught", project=project, error=type(error).__name__)
                self._left_alone[project] = time.monotonic() + LONGEST_PAUSE

    def stop(self) -> None:
        """Waits for the answers that are on their way; no more are asked for."""
        self._thread.shutdown(cancel_futures=True)

    def _look(self, project: int, pool: ProjectPool) -> bool:
        """Whether there is something to do for a project, which is begun with then."""
        record = self._store.projects.get(project)
        if record is None or not record.is_connected or not record.published:
            return False
        options, _ = self._settings.for_project(record.extra_params)
        teacher = registry.teacher(options.teacher, self._settings.teacher_options(options))
        desk = Desk(self._store, project, teacher, Budget.of(options)) if teacher else None
        record = self._meet(record, desk.teacher if desk else None, options.teacher_model)
        if (desk is None and record.cues is None) or _until(record) > now():
            return False
        return self._begin(pool, record, options, desk)

    def _begin(self, pool: ProjectPool, record: ProjectRecord, options: ProjectSettings, desk: Desk | None) -> bool:
        """Begins with what is to be done for a project; False if that is nothing. Without a desk there is nobody to be
        asked, but cues that somebody wrote can be learnt from."""
        project, store, schema = record.id, self._store, read_schema(record.label_config)
        sight = (
            record.published, record.tasks_revision, record.cues, record.prior, record.evolution, options,
            int(pool.encoded.sum()),
            (desk.teacher, store.questions.counts(project, desk.teacher), desk.left()) if desk else None,
        )  # fmt: skip
        if self._looked.get(project) == sight:
            return False
        answers = consensus(schema, store.labels.of(project))
        asked: Asked = []
        recalled = nothing(schema)
        if desk:
            recalled = recall(store, desk.teacher, schema, pool, project, answers)
            spent = desk.exhausted()
            if not spent and (asked := self._questions(pool, record, options, desk.teacher, schema, answers)):
                spent = desk.exhausted(asked[0][0])
            if spent or not asked:
                self._say(record, spent)
                asked = []
        encoder = registry.encoder(self._settings.encoder)
        by_teacher = written.taught(store, encoder, record, schema, recalled)
        given = prior.gather(pool, record, options.learner, schema, recalled, by_teacher)
        if given.origin.due(record, idle=not asked):
            self._running = self._thread.submit(self._distil, record, given)
        elif desk and asked and options.teacher == registry.BY_FILE:
            store.questions.want(project, desk.teacher, asked)  # they wait for an export
        elif desk and asked:
            # few at a time: with the next answer, others are at the head of the queue
            portion = asked[: PORTION * self._settings.teacher_concurrency]
            if portion[0][0].purpose == "describe":  # the longest reply of all: if it does not come, others go on
                self._no_cues_before[project] = time.monotonic() + LONGEST_PAUSE
            self._running = self._thread.submit(self._ask, desk, record, portion)
        else:
            self._looked[project] = sight
            return False
        return True

    def _questions(
        self, pool: ProjectPool, record: ProjectRecord, options: ProjectSettings, teacher: str, schema: TaskSchema,
        answers: Answers,
    ) -> Asked:  # fmt: skip
        """What to ask now: of all that could be asked, the most urgent kind. By file, everything but the queue's head,
        which is another one by the time of the answers."""
        store = self._store
        learner, _ = knowledge.load_best(store, store.versions.active(record.id), pool.space)

        def label(tasks: Ints) -> Asked:
            return ahead.label(store, pool, record, schema, learner, teacher, tasks)

        def further() -> Ints:
            return ahead.further(store, pool, options, learner, schema, record.id, teacher, answers.touched)

        cues = ahead.cues(store, pool, record, schema, teacher)
        if options.teacher == registry.BY_FILE:
            if ("describe", "waiting") in store.questions.counts(record.id, teacher):
                cues = []
            return cues + label(further())
        if asked := label(ahead.head(store, record, options)):
            return asked
        if time.monotonic() < self._no_cues_before.get(record.id, 0.0):
            cues = []
        return cues or label(further())

    def _distil(self, record: ProjectRecord, given: Given) -> None:
        try:
            encoder = registry.encoder(self._settings.encoder)
            prior.make(self._store, record, given, read_schema(record.label_config), encoder)
            self._store.jobs.ask(record.id)
        except Exception as error:  # the loop goes on with the prior it has
            log.error("not distilled", project=record.id, error=type(error).__name__)
            self._not_before = time.monotonic() + LONGEST_PAUSE

    def _ask(self, desk: Desk, record: ProjectRecord, asked: Asked) -> None:
        project, told, news, answered = record.id, time.monotonic(), 0, 0
        schema = read_schema(record.label_config)
        try:
            for answer in desk.ask([question for question, _ in asked], [key for _, key in asked]):
                answered += 1
                news += answer.content is not None
                if answer.content is not None and answer.question.startswith("describe"):
                    adopt(self._store, project, answer.content, schema)
                if self._stop.is_set():
                    break
                if news and time.monotonic() - told > TELL_SECONDS:
                    told, news = time.monotonic(), 0
                    self._store.jobs.ask(project)
            self._pauses.pop(project, None)
            self._say(record, "")
            if not answered:  # others are being asked the same
                self._not_before = time.monotonic() + UNANSWERED_PAUSE
        except TeacherUnavailable as problem:
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
            self._store.jobs.ask(project)

    def _meet(self, record: ProjectRecord, name: str | None, model: str) -> ProjectRecord:
        """The record as it is with this teacher: another one than before is told nothing of that one's problems."""
        if (record.teacher or {}).get("name") == name:
            return record
        state = {"name": name, "model": model, "problem": "", "until": 0.0} if name else None
        self._store.projects.update(record.id, teacher=state)
        self._pauses.pop(record.id, None)
        return replace(record, teacher=state)

    def _say(self, record: ProjectRecord, problem: str, until: float = 0.0) -> None:
        """Notes how it goes, for `status` and `doctor`."""
        state = {**(record.teacher or {}), "problem": problem, "until": until}
        if record.teacher != state:
            self._store.projects.update(record.id, teacher=state)


def _until(record: ProjectRecord) -> float:
    return float((record.teacher or {}).get("until", 0.0))
