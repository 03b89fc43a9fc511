"""Asks the teacher about tasks of the queue in advance and distils its answers, in a thread that no round waits for."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError, TeacherUnavailableError
from ml_backend.core.settings import Settings
from ml_backend.kinds.lookup import learner_name
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregators, LabelSnapshot
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher import distillation
from ml_backend.teacher.candidates import QuestionsWithKeys
from ml_backend.teacher.client import Budget, TeacherClient, missing_model_problem
from ml_backend.teacher.descriptions import feature_scores, label_descriptions
from ml_backend.teacher.distillation import DistillationInput
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.project_snapshot import ProjectSnapshot, is_still_served, take_snapshot
from ml_backend.teacher.scheduler import QuestionScheduler
from ml_backend.teacher.teacher_labels import load_teacher_labels, no_teacher_labels
from ml_backend.worker.process_priority import lower_thread_priority

PAUSE_SECONDS = 0.5  # between two checks for questions
MAX_IDLE_PAUSE_SECONDS = 5.0  # between two checks while nothing happens
QUESTIONS_PER_CALL = 2  # for each concurrent call, before the next check
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 5.0, 600.0  # after the first error of a teacher, and at most
UNANSWERED_PAUSE_SECONDS = 30.0  # after a wrong setting, or while another worker asks the same questions
ROUND_DELAY_SECONDS = 1.0  # before a round for new teacher labels: the next annotation requests one anyway
ROUND_INTERVAL_SECONDS = 5.0  # between two rounds for new drafts of the teacher
STOP_SECONDS = 5.0  # for pending answers when a worker stops: it is killed after 25 s

log = structlog.get_logger()


class TeacherRunner:
    """Works for one project at a time. `step` looks for work between the rounds, a background thread does the work."""

    def __init__(self, settings: Settings, store: Store, aggregators: LabelAggregators) -> None:
        self._settings = settings
        self._store = store
        self._clock = store.clock
        self._aggregators = aggregators
        self._scheduler = QuestionScheduler(store)
        self._running: threading.Thread | None = None
        self._not_before, self._pause = 0.0, PAUSE_SECONDS
        self._idle_marks: dict[int, tuple[object, ...]] = {}  # project -> its state when there was nothing to do
        self._retry_seconds: dict[int, float] = {}  # project -> pause after the last error of its teacher
        self._not_distilled_until: dict[int, dict[str, float]] = {}  # by project and control, after an error
        self._skipped_until: dict[int, float] = {}  # project -> end of its pause after another error

    def step(self, pools: Mapping[int, ProjectPool]) -> None:
        """Starts to work for the first project with something to do, if the thread is idle. Takes milliseconds."""
        if self._clock.monotonic() < self._not_before or (self._running and self._running.is_alive()):
            return
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(2 * self._pause, MAX_IDLE_PAUSE_SECONDS)
        self._forget_all_but(pools.keys())
        snapshots: list[ProjectSnapshot] = []
        for project, pool in pools.items():
            if self._clock.monotonic() >= self._skipped_until.get(project, 0.0):
                try:
                    if snapshot := self._take_snapshot(project, pool):
                        snapshots.append(snapshot)
                except Exception as error:
                    self._skip_for_a_while(project, error)
        if snapshots:
            self.wake()
            # a daemon: a server that hangs must not keep the process from ending
            self._running = threading.Thread(target=self._run, args=(snapshots,), name="teacher", daemon=True)
            self._running.start()

    def wake(self) -> None:
        """Makes the next check due soon, because an event may have brought work."""
        self._pause = PAUSE_SECONDS
        self._not_before = min(self._not_before, self._clock.monotonic() + PAUSE_SECONDS)

    def wait(self, max_seconds: float = STOP_SECONDS) -> bool:
        """Waits at most `max_seconds` for the work in the background; returns whether it has ended. When the process
        ends, later answers are lost."""
        if self._running:
            self._running.join(max_seconds)
        return not (self._running and self._running.is_alive())

    def _forget_all_but(self, projects: Collection[int]) -> None:
        for by_project in (self._idle_marks, self._retry_seconds, self._skipped_until, self._not_distilled_until):
            for project in by_project.keys() - projects:
                del by_project[project]
        self._scheduler.forget_all_but(projects)

    def _take_snapshot(self, project: int, pool: ProjectPool) -> ProjectSnapshot | None:
        """Returns the project's state; None if nothing can be done now, or nothing has changed since there was nothing
        to do."""
        project_row = self._store.projects.get(project)
        if project_row is None or not project_row.is_connected or not project_row.published:
            return None
        options, _ = self._settings.for_project(project_row.extra_params)
        teacher = registry.teacher(options.teacher, self._settings.teacher_options(options))
        teacher_client = TeacherClient(self._store, project, teacher, Budget.of(options)) if teacher else None
        project_row = self._set_teacher(
            project_row, teacher_client.teacher if teacher_client else None, options.teacher_model
        )
        if _unavailable_until(project_row) > self._clock.now():
            return None
        encoder = feature_space.project_encoder(self._settings, project_row)
        schema = read_schema(project_row.label_config, project_row.choices)
        if not feature_space.has_feature_space(project_row, schema.input) or pool.space != encoder.name:
            return None  # the next round updates the feature space
        teacher_state = (
            (
                teacher_client.teacher,
                self._store.questions.counts(project, teacher_client.teacher),
                teacher_client.remaining_budget(),
            )
            if teacher_client
            else None
        )
        change_marker = (
            project_row.published, project_row.tasks_revision, project_row.label_descriptions,
            project_row.feature_scores, project_row.field_overrides, pool.space,
            [distillation.usable_origin(self._store, project_row, control) for control in schema.controls],
            self._store.evolution_rounds.finished(project), options, int(pool.encoded.sum()), teacher_state,
        )  # fmt: skip
        if self._idle_marks.get(project) == change_marker:
            return None
        return take_snapshot(pool, project_row, options, teacher_client, change_marker, encoder)

    def _run(self, snapshots: list[ProjectSnapshot]) -> None:
        lower_thread_priority()
        for snapshot in snapshots:
            try:
                if self._work(snapshot):
                    return
            except Exception as error:
                self._skip_for_a_while(snapshot.project_row.id, error)

    def _skip_for_a_while(self, project: int, error: Exception) -> None:
        """Logs an error and pauses the project, so that the error affects no other project and not the worker."""
        self._skipped_until[project] = self._clock.monotonic() + self._log_failure(project, error)

    @staticmethod
    def _log_failure(project: int, error: Exception) -> float:
        """Logs an error; returns the seconds after which the work is tried again."""
        # an ApprenticeError means a wrong setting, which somebody may correct soon
        pause = UNANSWERED_PAUSE_SECONDS if isinstance(error, ApprenticeError) else MAX_RETRY_SECONDS
        log.error("work with the teacher failed", project=project, error=type(error).__name__, retry_in=pause)
        return pause

    def _work(self, snapshot: ProjectSnapshot) -> bool:
        """Distils or asks one portion of questions for a project; False if there is nothing to do. Without a teacher
        that can be asked, only the labels' names and descriptions written by people are distilled."""
        store, project_row, teacher_client = self._store, snapshot.project_row, snapshot.teacher_client
        if teacher_client and self._adopt_descriptions(snapshot, teacher_client.teacher):
            return True
        questions: QuestionsWithKeys = []
        labels: LabelSnapshot | None = None
        if teacher_client:
            labels = self._aggregators.of(project_row.id).refresh(snapshot.schema.controls)
            problem = teacher_client.exhausted_cap()
            # the answers of a file are stored under the model's name, so that has to be set first
            if snapshot.options.teacher == registry.BATCH_TEACHER:
                problem = missing_model_problem(snapshot.options, project_row.id) or problem
            if not problem and (
                questions := self._scheduler.questions(snapshot, teacher_client.teacher, labels.annotated_or_skipped)
            ):
                first, _ = questions[0]
                problem = teacher_client.exhausted_cap(first)
                if problem and first.purpose == "describe":  # questions for labels are cheaper
                    self._scheduler.postpone_descriptions(project_row.id, MAX_RETRY_SECONDS)
                    return True
            if problem or not questions:
                self._report(project_row, f"{problem}: the loop goes on without it" if problem else "")
                questions = []
        is_postponed, not_before = False, self._not_distilled_until.get(project_row.id, {})
        for control in snapshot.schema.controls:
            of_control = snapshot.with_control(control)
            distillation_input = self._distillation_input(of_control, labels)
            origin = distillation.usable_origin(store, project_row, control)
            if not (
                distillation_input.origin.is_due(origin, idle=not questions)
                or distillation.has_deleted_task(store, project_row, control, snapshot.pool)
            ):
                continue
            if self._clock.monotonic() >= not_before.get(control.name, 0.0):
                self._distil(of_control, distillation_input)
                return True
            is_postponed = True
        if teacher_client and questions:
            self._ask_or_store(snapshot, teacher_client, questions)
            return True
        if not is_postponed:
            self._idle_marks[project_row.id] = snapshot.change_marker
        return False

    def _ask_or_store(
        self, snapshot: ProjectSnapshot, teacher_client: TeacherClient, questions: QuestionsWithKeys
    ) -> None:
        """Asks the first of the questions. For a teacher that answers by file, stores all of them for an export."""
        if snapshot.options.teacher == registry.BATCH_TEACHER:
            self._store.questions.add(snapshot.project_row.id, teacher_client.teacher, questions)
            return
        # a small portion, because the next annotation changes the head of the queue
        portion = questions[: QUESTIONS_PER_CALL * self._settings.teacher_concurrency]
        about_labels = [question for question, _ in portion if question.purpose == "describe"]
        if about_labels:
            self._scheduler.postpone_descriptions(snapshot.project_row.id, MAX_RETRY_SECONDS)
        self._ask(teacher_client, snapshot.project_row, portion)
        if about_labels and len(teacher_client.stored_answers(about_labels)) == len(about_labels):
            # records may have so many fields that more questions about them follow
            self._scheduler.postpone_descriptions(snapshot.project_row.id, 0.0)

    def _distillation_input(self, snapshot: ProjectSnapshot, labels: LabelSnapshot | None) -> DistillationInput:
        """The data for the next prior of the snapshot's control. `labels`: those of the annotators, None without a
        teacher that can be asked"""
        project_row, control, teacher_labels = (
            snapshot.project_row,
            snapshot.control,
            no_teacher_labels(snapshot.control),
        )
        if labels is not None:
            teacher_labels = load_teacher_labels(
                self._store, snapshot.teacher, control, snapshot.pool, project_row.id, labels.by_control[control.name]
            )
        generated = generated_texts.pseudo_labels_of_texts(
            self._store, snapshot.encoder, project_row, control, teacher_labels, snapshot.teacher
        )
        plugin = learner_name(control, snapshot.options.learner)
        return distillation.collect_distillation_input(snapshot, plugin, teacher_labels, generated)

    def _adopt_descriptions(self, snapshot: ProjectSnapshot, teacher: str) -> bool:
        """Stores the teacher's descriptions of the labels, or its scores of a table's fields; False if there are no new
        ones."""
        store, project_row, encoder = self._store, snapshot.project_row, snapshot.record_encoder
        adopted = [
            feature_scores.adopt_answers(store, project_row, encoder, control, teacher)
            if encoder
            else label_descriptions.adopt_earlier_answer(store, project_row, control, teacher)
            for control in snapshot.schema.controls
        ]
        return any(adopted)

    def _distil(self, snapshot: ProjectSnapshot, distillation_input: DistillationInput) -> None:
        project = snapshot.project_row.id
        try:
            distillation.update_prior(
                self._store, snapshot.project_row, distillation_input, snapshot.control, snapshot.encoder
            )
            self._store.jobs.request_unless_waiting(project, ROUND_DELAY_SECONDS)
        except Exception as error:  # the loop goes on with the earlier prior, and the teacher is asked meanwhile
            pause = self._log_failure(project, error)
            of_project = self._not_distilled_until.setdefault(project, {})
            of_project[snapshot.control.name] = self._clock.monotonic() + pause

    def _ask(self, teacher_client: TeacherClient, project_row: ProjectRow, questions: QuestionsWithKeys) -> None:
        """Asks the questions, and requests rounds for the answers."""
        project, round_requested_at, new_answers, replies = project_row.id, self._clock.monotonic(), 0, 0
        try:
            for answer in teacher_client.ask([question for question, _ in questions], [key for _, key in questions]):
                replies += 1
                new_answers += answer.content is not None
                if new_answers and self._clock.monotonic() - round_requested_at > ROUND_INTERVAL_SECONDS:
                    round_requested_at, new_answers = self._clock.monotonic(), 0
                    self._store.jobs.request_unless_waiting(project, ROUND_DELAY_SECONDS)
            self._retry_seconds.pop(project, None)
            self._report(project_row, "")
            if not replies:  # another worker is asking the same questions
                self._not_before = self._clock.monotonic() + UNANSWERED_PAUSE_SECONDS
        except TeacherUnavailableError as error:
            last_pause = self._retry_seconds.get(project, FIRST_RETRY_SECONDS / 2)
            pause = MAX_RETRY_SECONDS if error.fatal else min(2 * last_pause, MAX_RETRY_SECONDS)
            self._retry_seconds[project] = pause
            self._report(project_row, str(error), self._clock.now() + (error.retry_after or pause))
            log.warning("teacher unavailable", project=project, error=str(error))
        except Exception as error:  # the loop goes on without the teacher
            self._report(
                project_row,
                f"asking the teacher failed ({type(error).__name__})",
                self._clock.now() + MAX_RETRY_SECONDS,
            )
            log.error("asking the teacher failed", project=project, error=type(error).__name__)
        if new_answers:
            self._store.jobs.request_unless_waiting(project, ROUND_DELAY_SECONDS)

    def _set_teacher(self, project_row: ProjectRow, name: str | None, model: str) -> ProjectRow:
        """Stores the project's teacher, and forgets the problems of an earlier one, if the teacher has changed. Returns
        the project's row with the teacher."""
        if (project_row.teacher or {}).get("name") == name:
            return project_row
        state = {"name": name, "model": model, "problem": "", "until": 0.0} if name else None
        if name:
            self._store.teacher_states.set_teacher(project_row.id, name, model)
        else:
            self._store.teacher_states.forget(project_row.id)
        self._retry_seconds.pop(project_row.id, None)
        return replace(project_row, teacher=state)

    def _report(self, project_row: ProjectRow, problem: str, until: float = 0.0) -> None:
        """Stores the teacher's problem, "" if it has none, for `status` and `doctor`."""
        state = {**(project_row.teacher or {}), "problem": problem, "until": until}
        if project_row.teacher != state and is_still_served(self._store, project_row):
            self._store.teacher_states.set_problem(project_row.id, str(state.get("name", "")), problem, until)


def _unavailable_until(project_row: ProjectRow) -> float:
    return float((project_row.teacher or {}).get("until", 0.0))
