"""The status of a project, as values and as sentences, for `apprentice status`, /metrics and the demo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Estimate, ModelVersion, TaskSchema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.monitoring import messages, project_stats
from ml_backend.monitoring.coverage import Coverage
from ml_backend.monitoring.text_check import TextCheck
from ml_backend.storage import ProjectRow, RoundRow, Store, now
from ml_backend.teacher import report

MAX_LISTED_ITEMS = 10  # classes or tasks in one sentence
MAX_NAME_LETTERS = 15  # of a line's name


@dataclass(frozen=True, slots=True)
class Status:
    """One project at one moment.

    labelled    number of tasks with a counted human label, as of the last round
    pool        number of the other tasks
    learner     number of the version whose learner serves, None as long as drafts come from the teacher alone
    held        number of the version whose learner a rollback holds
    last_round  version, finished_at (seconds since the epoch), age_seconds, seconds, stages {name: seconds}
    last_error  the error of the last round, None if that round succeeded
    read        number of tasks read so far while all tasks are being listed, else None
    encoded     share of the tasks that the encoder has encoded, None before the first round
    complaint   what is wrong with the project's own settings, "" if nothing
    problem     what prevents the next round, "" if nothing
    watch       result of the monitor (see `monitor.run_monitor`), {} before its first run
    acquisition query strategy that ordered the queue of the active version, "" before there is one
    teacher     see `report.read`, {} before there is anything to report
    schema      the control that is learnt, None if it cannot be read
    coverage    how many tasks are in which state, None if `schema` is or if it was not counted
    texts       check of the tasks' texts, None if `coverage` is
    set_aside   reason codes by id of the tasks that the encoder could not encode (see `Store.unusable_tasks`)
    """

    project: int
    connected: bool
    labelled: int
    pool: int
    active_version: str | None
    learner: int | None
    published_version: str | None
    held: int | None
    accuracy: Estimate | None
    running: bool
    waiting: bool
    last_round: dict[str, Any] | None
    last_error: str | None
    read: int | None
    encoded: float | None
    problem: str
    note: str
    complaint: str
    watch: dict[str, Any]
    acquisition: str
    teacher: dict[str, Any]
    schema: TaskSchema | None
    coverage: Coverage | None
    texts: TextCheck | None
    set_aside: dict[int, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_status(store: Store, project: int, settings: Settings | None = None, *, counted: bool = True) -> Status:
    """The status of one project. Raises ApprenticeError if this backend has no such project.

    settings  of the installation: with them, the project's own settings are checked
    counted   before the first round, whether `coverage` and `texts` are counted from all annotations
    """
    project_row = store.projects.require(project)
    problem, stats, teacher = "", project_stats.read(store, project), {}
    schema, coverage, texts = None, None, None
    try:
        schema = read_schema(project_row.label_config, project_row.choices)
        if counted or stats:
            coverage, texts = project_stats.coverage_and_texts(store, project, schema, stats)
        teacher = report.read_report(store, project_row, schema, stats.get("teacher", {}))
    except ApprenticeError as error:
        problem = str(error) if project_row.label_config else "waiting for the first round to read the project"
    active, job = store.versions.active(project), store.jobs.state(project)
    labelled = stats.get("labelled", active.labelled if active else 0)
    n_tasks = (
        stats["tasks"] if stats.get("tasks_revision") == project_row.tasks_revision else store.tasks.count(project)
    )
    successful_rounds, rounds = store.versions.last_rounds(project, failed=False), store.versions.last_rounds(project)
    progress = project_row.progress or {}
    if not store.jobs.workers():
        problem = problem or "no worker is running: start `apprentice serve`"
    problem = store.find_write_problem() or problem  # first: with a full disk, workers cannot report that they run
    return Status(
        project=project,
        connected=project_row.is_connected,
        labelled=labelled,
        pool=n_tasks - labelled,
        active_version=active.name if active else None,
        learner=active.learner if active else None,
        published_version=project_row.published,
        held=project_row.pinned,
        accuracy=_accuracy(project_row, active),
        running=job.running,
        waiting=job.waiting,
        last_round=_last_round(successful_rounds[0]) if successful_rounds else None,
        last_error=rounds[0].error if rounds and job.failures else None,
        read=progress.get("read"),
        encoded=progress["encoded"] / progress["tasks"] if progress.get("tasks") else None,
        problem=problem,
        note=messages.remarks_text(active.remarks) if active else "",
        complaint=settings.for_project(project_row.extra_params)[1] if settings else "",
        watch=project_row.monitor_result or {},
        acquisition=active.acquisition if active else "",
        teacher=teacher,
        set_aside=store.unusable_tasks.codes(project),
        schema=schema,
        coverage=coverage,
        texts=texts,
    )


def _last_round(round_row: RoundRow) -> dict[str, Any]:
    return {
        "version": round_row.version,
        "finished_at": round_row.finished_at,
        "age_seconds": round(now() - round_row.finished_at, 1),
        "seconds": round(round_row.finished_at - round_row.started_at, 4),
        "stages": round_row.stages,
    }


def _accuracy(project_row: ProjectRow, active: ModelVersion | None) -> Estimate | None:
    """The accuracy on the audit sample in annotation order if the monitor has estimated it and no rollback holds a
    learner; else the estimate of the round that made the active version."""
    audit_accuracy = (project_row.monitor_result or {}).get("accuracy")
    if audit_accuracy and project_row.pinned is None:
        return Estimate(**audit_accuracy)
    return active.accuracy if active else None


def _monitor_lines(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not result:
        return
    if result["balance"]:
        shares = sorted(result["balance"].items(), key=lambda item: -item[1]["value"])
        shown = [f"{label} {share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})" for label, share in shares]
        yield "classes", ", ".join(shown[:MAX_LISTED_ITEMS]) + _more(shown) + ", by the audit sample"
    yield f"by {result['groups']['by']}"[:MAX_NAME_LETTERS], result["groups"]["summary"]
    yield "against random", result["comparison"]["sentence"]
    yield "enough labels?", result["stopping"]["sentence"]
    if result["second_look"]:
        suspects = [
            f"{suspect['task']} (rather {', '.join(suspect['instead']) or 'none'})" for suspect in result["second_look"]
        ]
        yield "second look", f"these annotations look wrong: task {', '.join(suspects)}"


def _check_lines(status: Status) -> Iterator[tuple[str, str]]:
    """Names the tasks and annotations that are not learnt from, and says why."""
    if status.schema is None or status.coverage is None or status.texts is None:
        return
    if status.schema.other_controls:
        yield "question", messages.question_sentence(status.schema)
    if status.texts.tasks or status.last_round:  # else the tasks have not been read yet
        yield from (("texts", sentence) for sentence in messages.text_sentences(status.texts, status.schema))
    yield from (("not used", sentence) for sentence in messages.unused_sentences(status.coverage, status.schema))
    if status.learner is None and (sentence := messages.no_learner_sentence(status.coverage)):
        yield "learner", sentence


def set_aside_sentence(codes: dict[int, str]) -> str:
    """Names the tasks that the encoder could not encode, by task id and reason code, and says what to do."""
    tasks = [str(task) for task in codes]
    listed = ", ".join(tasks[:MAX_LISTED_ITEMS]) + _more(tasks)
    return (
        f"task {listed} ({', '.join(sorted(set(codes.values())))}): neither drafted nor learnt from, since the encoder "
        "cannot encode the text. Change the text or choose another encoder"
    )


def _more(items: Sequence[str]) -> str:
    return f" and {len(items) - MAX_LISTED_ITEMS} more" if len(items) > MAX_LISTED_ITEMS else ""


def status_lines(status: Status) -> list[tuple[str, str]]:
    """The lines of `apprentice status`, as pairs of a name and a sentence."""
    return list(_lines(status))


def _lines(status: Status) -> Iterator[tuple[str, str]]:
    if not status.connected:
        yield "not connected", f"run `apprentice connect --project {status.project}`"
    counts = f"{status.labelled}, {status.pool} to go"
    yield "labelled", messages.progress_sentence(status.coverage) if status.coverage else counts
    yield from _check_lines(status)
    version = status.active_version or "none yet: drafts come from the teacher"
    held = f" (the learner of version {status.held}, held by a rollback)" if status.held else ""
    yield "active version", version + held
    if status.acquisition:
        yield "queue", f"ordered by {status.acquisition}"
    if accuracy := status.accuracy:
        interval = f"{accuracy.low:.3f} to {accuracy.high:.3f}"
        yield "accuracy", f"{accuracy.value:.3f} (95 %: {interval}; {accuracy.n} tasks, {accuracy.source})"
    yield from _monitor_lines(status.watch)
    yield from report.report_lines(status.teacher, MAX_LISTED_ITEMS)
    if last_round := status.last_round:
        stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in last_round["stages"].items())
        age, seconds = last_round["age_seconds"], last_round["seconds"]
        yield "last round", f"{age:.0f} s ago, took {seconds:.2f} s ({stages})"
    activity = "a round is running" if status.running else "idle"
    yield "now", activity + (", another is waiting" if status.waiting else "")
    if status.read is not None:
        yield "reading", f"{status.read} tasks so far"
    if status.encoded is not None and status.encoded < 1:
        yield "encoded", f"{status.encoded:.0%} of the tasks; the queue improves as this share grows"
    if status.set_aside:
        yield "set aside", set_aside_sentence(status.set_aside)
    if status.complaint:
        yield "settings", status.complaint
    if status.note:
        yield "note", status.note
    if status.last_error:
        yield "last error", status.last_error
    if status.problem:
        yield "problem", status.problem
