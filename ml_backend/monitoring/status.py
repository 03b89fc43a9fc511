"""The status of a project, as values, for `apprentice status`, /metrics and the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import SettingProblem, Settings
from ml_backend.core.types import Estimate, ModelVersion, Remark
from ml_backend.kinds.base import ACCURACY
from ml_backend.kinds.lookup import FIRST_KIND, kind_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.draft_acceptance import TimeSaved
from ml_backend.monitoring import project_stats
from ml_backend.monitoring.coverage import Coverage
from ml_backend.monitoring.text_check import TextCheck
from ml_backend.storage import ProjectRow, RoundRow, Store
from ml_backend.storage.columns import label_value
from ml_backend.teacher import report


@dataclass(frozen=True, slots=True)
class Problem:
    """What prevents the next round of a project: the project cannot be read, it has not been read yet, no worker runs,
    or the data folder is not writable.

    values  of "unreadable" the `error`; of "not writable" the `folder` and the `error` of the operating system
    """

    code: Literal["unreadable", "not read", "no worker", "not writable"]
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ControlStatus:
    """One control of a project.

    labelled  number of tasks with a counted human label, as of the last round
    learner   number of the version for which the serving learner was fitted, None as long as the teacher alone drafts
    accuracy  the accuracy of the serving learner, or the other main metric of the kind of labels
    monitor   result of the monitor (see `monitor.run_monitor`), {} before its first run for this kind of label
    quotes    quotes of the parts that the monitor proposes to add to annotations and to remove from them, by task;
              only of a kind whose values have parts
    teacher   see `report.read_report`, {} before there is anything to report
    coverage  how many tasks are in which state, None if it was not counted
    """

    labelled: int
    learner: int | None
    accuracy: Estimate | None
    monitor: dict[str, Any]
    quotes: Mapping[int, tuple[str, str]]
    teacher: dict[str, Any]
    coverage: Coverage | None


@dataclass(frozen=True, slots=True)
class Status:
    """One project at one moment.

    labelled          number of tasks with a counted human label of any control, as of the last round
    pool              number of the other tasks
    words             number of words in the texts of the labelled tasks, None unless learners read words
    learner           number of the version whose artifact has the serving learners, None as long as drafts come from
                      the teacher alone
    held              by control: number of the version whose learner a rollback holds
    last_round        version, finished_at (seconds since the epoch), age_seconds, seconds, stages {name: seconds}
    last_error        the error of the last round, None if that round succeeded
    read              number of tasks read so far while all tasks are being listed, else None
    encoded           share of the tasks that the encoder has encoded, None before the first round
    remarks           what users should know about the active version
    settings_problems those of the project's own settings, none if these were not checked
    problem           what prevents the next round, None if nothing does
    saved             the time that drafts saved, None before the first round
    acquisition       query strategy that ordered the queue of the active version, "" before there is one
    schema            the input and the controls, None if they cannot be read
    controls          each control that is learnt, by its name
    texts             check of the tasks' texts, None if `schema` is or if it was not counted
    set_aside         reason codes by id of the tasks that the encoder could not encode (see `Store.unusable_tasks`)
    """

    project: int
    connected: bool
    labelled: int
    pool: int
    words: int | None
    active_version: str | None
    learner: int | None
    published_version: str | None
    held: Mapping[str, int]
    running: bool
    waiting: bool
    last_round: dict[str, Any] | None
    last_error: str | None
    read: int | None
    encoded: float | None
    problem: Problem | None
    remarks: tuple[Remark, ...]
    settings_problems: tuple[SettingProblem, ...]
    saved: TimeSaved | None
    acquisition: str
    schema: ProjectSchema | None
    controls: dict[str, ControlStatus]
    texts: TextCheck | None
    set_aside: dict[int, str]

    @property
    def accuracy(self) -> Estimate | None:
        """The accuracy of the least accurate learner, None as long as none is known."""
        known = [control.accuracy for control in self.controls.values() if control.accuracy]
        return min(known, key=lambda estimate: estimate.value, default=None)

    def metric_name(self, control: str) -> str:
        """The name of what `ControlStatus.accuracy` estimates, see `Kind.main_metric`; ACCURACY if the control is not
        learnt any more."""
        learnt = self.schema.controls if self.schema else ()
        return next((kind_of(schema).main_metric(schema) for schema in learnt if schema.name == control), ACCURACY)

    def as_dict(self) -> dict[str, Any]:
        """All fields, with `accuracy`."""
        return {**asdict(self), "accuracy": asdict(self.accuracy) if self.accuracy else None}


def read_status(store: Store, project: int, settings: Settings | None = None, *, counted: bool = True) -> Status:
    """The status of one project. Raises ApprenticeError if this backend has no such project.

    settings  of the installation: with them, the project's own settings are checked
    counted   whether `quotes` are read and, before the first round, `coverage` and `texts` are counted from all
              annotations
    """
    project_row = store.projects.require(project)
    problem: Problem | None = None
    stats, active, job = project_stats.read(store, project), store.versions.active(project), store.jobs.state(project)
    schema, texts = None, None
    coverage: dict[str, Coverage] = {}
    try:
        schema = read_schema(project_row.label_config, project_row.choices)
        if counted or stats:
            coverage, texts = project_stats.coverage_and_texts(store, project, schema, stats)
    except ApprenticeError as error:
        problem = Problem("unreadable", {"error": str(error)}) if project_row.label_config else Problem("not read")
    labelled = stats.get("labelled", active.labelled if active else 0)
    n_tasks = (
        stats["tasks"] if stats.get("tasks_revision") == project_row.tasks_revision else store.tasks.count(project)
    )
    successful_rounds = store.versions.last_rounds(project, failed=False)
    progress = project_row.progress or {}
    if not store.jobs.workers():
        problem = problem or Problem("no worker")
    if write_error := store.write_error():  # comes first: with a full disk, workers cannot report that they run
        problem = Problem("not writable", {"folder": str(store.folder), "error": write_error})
    return Status(
        project=project,
        connected=project_row.is_connected,
        labelled=labelled,
        pool=n_tasks - labelled,
        words=stats.get("words"),
        active_version=active.name if active else None,
        learner=active.learner if active else None,
        published_version=project_row.published,
        held=_held(project_row, schema),
        running=job.running,
        waiting=job.waiting,
        last_round=_last_round(store, successful_rounds[0]) if successful_rounds else None,
        last_error=last_error(store, project),
        read=progress.get("read"),
        encoded=progress["encoded"] / progress["tasks"] if progress.get("tasks") else None,
        problem=problem,
        remarks=active.remarks if active else (),
        settings_problems=settings_problems(settings, project_row, schema) if settings else (),
        saved=TimeSaved(**stats["saved"]) if stats else None,
        acquisition=active.acquisition if active else "",
        set_aside=store.unusable_tasks.codes(project),
        schema=schema,
        controls={
            control.name: ControlStatus(
                *_in_version(project_row, active, control.name),
                monitor=_monitor_result(project_row, control),
                quotes=_quotes(store, project_row, control) if counted else {},
                teacher=report.read_report(
                    store, project_row, control, schema.input, _measured_teacher(stats, control.name)
                ),
                coverage=coverage.get(control.name),
            )
            for control in schema.controls
        }
        if schema
        else {},
        texts=texts,
    )


def _monitor_result(project_row: ProjectRow, control: ControlSchema) -> dict[str, Any]:
    """The result of the monitor for a control; {} if the control has got a tag of another kind since."""
    result = project_row.monitor_results.get(control.name, {})
    return result if result.get("kind", FIRST_KIND) == control.kind else {}


def _quotes(store: Store, project_row: ProjectRow, control: ControlSchema) -> dict[int, tuple[str, str]]:
    """See `ControlStatus.quotes`. The texts are read now, so that none is quoted that was deleted."""
    of_kind, result = kind_of(control), _monitor_result(project_row, control)
    suspects = {suspect["task"]: suspect for suspect in result.get("second_look", ()) if "added" in suspect}
    texts = zip(suspects, store.tasks.texts(project_row.id, list(suspects)), strict=True)
    return {
        task: (
            of_kind.quote(control, label_value(suspects[task]["added"]), text),
            of_kind.quote(control, label_value(suspects[task]["removed"]), text, in_context=False),
        )
        for task, text in texts
    }


def last_error(store: Store, project: int) -> str | None:
    """The error of the last round, None if that round succeeded or there was none."""
    rounds = store.versions.last_rounds(project)
    return rounds[0].error if rounds and store.jobs.state(project).failures else None


def settings_problems(
    settings: Settings, project_row: ProjectRow, schema: ProjectSchema | None
) -> tuple[SettingProblem, ...]:
    """The problems of a project's own settings. `schema`: None if it is not known yet"""
    options, problems = settings.for_project(project_row.extra_params)
    # the weights of the installation are for all projects, whose controls differ
    if schema is None or "control_weights" not in (project_row.extra_params or {}):
        return problems
    learnt = {control.name for control in schema.controls}
    unknown = (name for name in options.control_weights if name not in learnt)
    return (*problems, *(SettingProblem("no control", "control_weights", name) for name in unknown))


def _held(project_row: ProjectRow, schema: ProjectSchema | None) -> dict[str, int]:
    """The versions that a rollback holds, by control; without controls that have been renamed or removed since."""
    learnt = project_row.pinned.keys() if schema is None else {control.name for control in schema.controls}
    return {control: number for control, number in project_row.pinned.items() if control in learnt}


def _last_round(store: Store, round_row: RoundRow) -> dict[str, Any]:
    return {
        "version": round_row.version,
        "finished_at": round_row.finished_at,
        "age_seconds": round(store.clock.now() - round_row.finished_at, 1),
        "seconds": round(round_row.finished_at - round_row.started_at, 4),
        "stages": round_row.stages,
    }


def _measured_teacher(stats: Mapping[str, Any], control: str) -> dict[str, Any]:
    """What the last round measured of the teacher for a control, {} before the first round."""
    measured: dict[str, Any] = stats.get("controls", {}).get(control, {}).get("teacher", {})
    return measured


def _in_version(
    project_row: ProjectRow, active: ModelVersion | None, control: str
) -> tuple[int, int | None, Estimate | None]:
    """The number of labelled tasks, the learner, and the accuracy of a control: that on the audit sample in annotation
    order if the monitor has estimated it and no rollback holds the learner; else that of the round that made the active
    version."""
    stored = active.controls.get(control) if active else None
    labelled, learner, accuracy = (stored.labelled, stored.learner, stored.accuracy) if stored else (0, None, None)
    audit_accuracy = project_row.monitor_results.get(control, {}).get("accuracy")
    if audit_accuracy and control not in project_row.pinned:
        accuracy = Estimate(**audit_accuracy)
    return labelled, learner, accuracy
