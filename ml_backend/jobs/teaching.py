"""A worker's dealings with the teacher: in a thread of its own, ahead of the queue, never in the way of a round."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from ml_backend import knowledge, registry
from ml_backend.consensus import consensus
from ml_backend.domain import ApprenticeError, Ints, TeacherUnavailable
from ml_backend.jobs.priority import give_way
from ml_backend.label_studio.config import read_schema
from ml_backend.pool import ProjectPool
from ml_backend.settings import ProjectSettings, Settings
from ml_backend.store import ProjectRecord, Store, now
from ml_backend.teaching import ahead
from ml_backend.teaching.ahead import Asked
from ml_backend.teaching.cues import Cues, from_reply
from ml_backend.teaching.desk import Budget, Desk

PAUSE_SECONDS = 0.5  # between two looks for something to ask
PORTION = 2  # questions, for each call at a time, that are asked before looking again
LONGEST_PAUSE = 600.0  # of a teacher that is not there
FIRST_PAUSE = 5.0
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

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Begins to ask for the first project that has questions, if nothing is being asked."""
        if time.monotonic() < self._not_before or (self._running and not self._running.done()):
            return
        self._not_before = time.monotonic() + PAUSE_SECONDS
        for project, pool in pools.items():
            record = self._store.projects.get(project)
            if record is None or not record.is_connected or not record.published or (_until(record) > now()):
                continue
            options, _ = self._settings.for_project(record.extra_params)
            teacher = registry.teacher(options.teacher, self._settings.teacher_options(options))
            if teacher is None:
                continue
            desk = Desk(self._store, project, teacher, Budget.of(options))
            try:
                asked = self._questions(pool, record, options, desk)
            except ApprenticeError as error:
                log.warning("not taught", project=project, error=str(error))
                continue
            if asked:
                # few at a time: with the next answer, others are at the head of the queue
                portion = asked[: PORTION * self._settings.teacher_concurrency]
                self._running = self._thread.submit(self._ask, desk, record, portion)
                return

    def stop(self) -> None:
        """Waits for the answers that are on their way; no more are asked for."""
        self._thread.shutdown(cancel_futures=True)

    def _questions(self, pool: ProjectPool, record: ProjectRecord, options: ProjectSettings, desk: Desk) -> Asked:
        """What to ask now: of all that could be asked, the most urgent kind."""
        project, store = record.id, self._store
        sight = (
            record.published, record.tasks_revision, record.cues, options, int(pool.encoded.sum()),
            store.questions.counts(project, desk.teacher), desk.exhausted(),
        )  # fmt: skip
        if self._looked.get(project) == sight:
            return []
        if spent := desk.exhausted():
            self._say(record, spent)
            self._looked[project] = sight
            return []
        schema = read_schema(record.label_config)
        learner, _ = knowledge.load_best(store, store.versions.active(project), pool.space)

        def label(tasks: Ints) -> Asked:
            return ahead.label(store, pool, record, schema, learner, desk.teacher, tasks)

        def further() -> Ints:
            touched = consensus(schema, store.labels.of(project)).touched
            return ahead.further(store, pool, options, learner, schema, project, desk.teacher, touched)

        asked = (
            ahead.first(store, pool, record, schema, desk.teacher)
            or label(ahead.head(store, record, options))
            or label(further())
        )
        if not asked:
            self._looked[project] = sight
        return asked

    def _ask(self, desk: Desk, record: ProjectRecord, asked: Asked) -> None:
        project, told, news = record.id, time.monotonic(), 0
        schema = read_schema(record.label_config)
        try:
            for answer in desk.ask([question for question, _ in asked], [key for _, key in asked]):
                news += answer.content is not None
                if answer.content is not None and answer.question.startswith("describe"):
                    self._describe(project, from_reply(answer.content, schema))
                if self._stop.is_set():
                    break
                if news and time.monotonic() - told > TELL_SECONDS:
                    told, news = time.monotonic(), 0
                    self._store.jobs.ask(project)
            self._pauses.pop(project, None)
            self._say(record, "")
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

    def _describe(self, project: int, cues: Cues) -> None:
        record = self._store.projects.get(project)
        if record is not None and record.cues is None:  # nobody has written any meanwhile
            self._store.projects.update(project, cues=cues)

    def _say(self, record: ProjectRecord, problem: str, until: float = 0.0) -> None:
        """Notes how it goes, for `status` and `doctor`."""
        state = {"problem": problem, "until": until}
        if (record.teacher or {"problem": "", "until": 0.0}) != state:
            self._store.projects.update(record.id, teacher=state)


def _until(record: ProjectRecord) -> float:
    return float((record.teacher or {}).get("until", 0.0))
