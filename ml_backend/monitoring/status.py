"""What there is to say about a project: for `apprentice status`, /metrics and the demo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Estimate, ModelVersion, TaskSchema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.monitoring import messages, project_stats
from ml_backend.monitoring.coverage import Coverage
from ml_backend.monitoring.text_check import TextCheck
from ml_backend.storage import ProjectRecord, Store, now
from ml_backend.teacher import report

MOST = 10  # classes that are listed
WIDE = 15  # letters of a line's name


@dataclass(frozen=True, slots=True)
class Status:
    """One project at one moment.

    labelled    tasks with a counted human label, as of the last round; `pool`: tasks without one
    learner     number of the version whose learner serves, None as long as drafts come from the teacher alone
    held        number of the version whose learner a rollback holds
    last_round  version, finished_at (seconds since the epoch), seconds, stages {name: seconds}
    read        tasks read so far while all of them are being listed, else None
    encoded     share of the tasks that the encoder has reached, None before the first round
    complaint   what is wrong with the project's own settings, "" if nothing
    problem     what stands in the way of the next round, "" if nothing
    watch       what `watch.find_out` last found, {} before the first look
    acquisition the strategy that ordered the queue of the active version, "" before there is one
    teacher     see `teaching.standing`, {} before there is anything to say
    schema      what is learnt; `coverage`, `texts`: how far its tasks can be learnt from. None if it cannot be read
    set_aside   the tasks that the encoder makes nothing of, each with a code (see `store.set_aside`)
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
    """The status of one project. Raises ApprenticeError if this backend has never heard of it.

    settings  with which those of the project are looked at
    counted   before the first round, whether all answers are read to say how far tasks and answers can be learnt from
    """
    record = store.projects.known(project)
    problem, stats, teacher = "", project_stats.read(store, project), {}
    schema, coverage, texts = None, None, None
    try:
        schema = read_schema(record.label_config, record.choices)
        coverage, texts = project_stats.checks(store, project, schema, stats) if counted or stats else (None, None)
        teacher = report.read(store, record, schema, stats.get("teacher", {}))
    except ApprenticeError as error:
        problem = str(error) if record.label_config else "waiting for the first round to read the project"
    active, job = store.versions.active(project), store.jobs.state(project)
    labelled = stats.get("labelled", active.labelled if active else 0)
    tasks = stats["tasks"] if stats.get("tasks_revision") == record.tasks_revision else store.tasks.count(project)
    good, any_round = store.versions.last_rounds(project, failed=False), store.versions.last_rounds(project)
    progress = record.progress or {}
    if not store.jobs.workers():
        problem = problem or "no worker is running: start `apprentice serve`"
    problem = store.full() or problem  # a full disk silences the workers, too
    return Status(
        project=project,
        connected=record.is_connected,
        labelled=labelled,
        pool=tasks - labelled,
        active_version=active.name if active else None,
        learner=active.learner if active else None,
        published_version=record.published,
        held=record.pinned,
        accuracy=_accuracy(record, active),
        running=job.running,
        waiting=job.waiting,
        last_round={
            "version": good[0].version,
            "finished_at": good[0].finished_at,
            "age_seconds": round(now() - good[0].finished_at, 1),
            "seconds": round(good[0].finished_at - good[0].started_at, 4),
            "stages": good[0].stages,
        }
        if good
        else None,
        last_error=any_round[0].error if any_round and job.failures else None,
        read=progress.get("read"),
        encoded=progress["encoded"] / progress["tasks"] if progress.get("tasks") else None,
        problem=problem,
        note=active.note if active else "",
        complaint=settings.for_project(record.extra_params)[1] if settings else "",
        watch=record.watch or {},
        acquisition=active.acquisition if active else "",
        teacher=teacher,
        set_aside=store.set_aside.codes(project),
        schema=schema,
        coverage=coverage,
        texts=texts,
    )


def _accuracy(record: ProjectRecord, active: ModelVersion | None) -> Estimate | None:
    """Of the audit slice in answering order where there is enough of it, else what the round estimated; of a learner
    that a rollback holds, what was estimated then."""
    watched = (record.watch or {}).get("accuracy")
    if watched and record.pinned is None:
        return Estimate(**watched)
    return active.accuracy if active else None


def _watched(watch: dict[str, Any]) -> list[tuple[str, str]]:
    """What the loop found out about itself, in words."""
    if not watch:
        return []
    said = []
    if watch["balance"]:
        shares = sorted(watch["balance"].items(), key=lambda item: -item[1]["value"])
        shown = [f"{label} {share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})" for label, share in shares]
        more = f" and {len(shown) - MOST} more" if len(shown) > MOST else ""
        said.append(("classes", ", ".join(shown[:MOST]) + more + ", by the audit slice"))
    said.append((f"by {watch['groups']['by']}"[:WIDE], watch["groups"]["summary"]))
    said.append(("against random", watch["comparison"]["sentence"]))
    said.append(("enough labels?", watch["stopping"]["sentence"]))
    if watch["second_look"]:
        shown = [f"{each['task']} (rather {', '.join(each['instead']) or 'none'})" for each in watch["second_look"]]
        said.append(("second look", f"these answers look wrong: task {', '.join(shown)}"))
    return said


def _checked(status: Status) -> Iterator[tuple[str, str]]:
    """What of the tasks and answers is not learnt from, and why."""
    if status.schema is None or status.coverage is None or status.texts is None:
        return
    if status.schema.other_controls:
        yield "question", messages.question(status.schema)
    if status.texts.tasks or status.last_round:  # else they have not been read yet
        yield from (("texts", sentence) for sentence in messages.texts(status.texts, status.schema))
    yield from (("not used", sentence) for sentence in messages.unused(status.coverage, status.schema))
    if status.learner is None and (sentence := messages.nothing_learnt(status.coverage)):
        yield "learner", sentence


def set_aside(codes: dict[int, str]) -> str:
    """Which tasks are neither drafted nor learnt from, why, and what to do."""
    tasks = [str(task) for task in codes]
    more = f" and {len(tasks) - MOST} more" if len(tasks) > MOST else ""
    code = ", ".join(sorted(set(codes.values())))
    return (
        f"task {', '.join(tasks[:MOST])}{more} ({code}): neither drafted nor learnt from, since the encoder makes "
        "nothing of the text. Change the text or choose another encoder"
    )


def lines(status: Status) -> list[tuple[str, str]]:
    """The status in words, as pairs of a name and a sentence."""
    going = messages.progress(status.coverage) if status.coverage else f"{status.labelled}, {status.pool} to go"
    said = [("labelled", going), *_checked(status)]
    if not status.connected:
        said.insert(0, ("not connected", f"run `apprentice connect --project {status.project}`"))
    version = status.active_version or "none yet: drafts come from the teacher"
    held = f" (the learner of version {status.held}, held by a rollback)" if status.held else ""
    said.append(("active version", version + held))
    if status.acquisition:
        said.append(("queue", f"ordered by {status.acquisition}"))
    if status.accuracy:
        found = status.accuracy
        interval = f"{found.low:.3f} to {found.high:.3f}"
        said.append(("accuracy", f"{found.value:.3f} (95 %: {interval}; {found.n} tasks, {found.source})"))
    said += _watched(status.watch)
    said += report.lines(status.teacher, MOST)
    if status.last_round:
        last = status.last_round
        stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in last["stages"].items())
        said.append(("last round", f"{last['age_seconds']:.0f} s ago, took {last['seconds']:.2f} s ({stages})"))
    doing = "a round is running" if status.running else "idle"
    said.append(("now", doing + (", another is waiting" if status.waiting else "")))
    if status.read is not None:
        said.append(("reading", f"{status.read} tasks so far"))
    if status.encoded is not None and status.encoded < 1:
        said.append(("encoded", f"{status.encoded:.0%} of the tasks; the queue improves as it grows"))
    if status.set_aside:
        said.append(("set aside", set_aside(status.set_aside)))
    if status.complaint:
        said.append(("settings", status.complaint))
    if status.note:
        said.append(("note", status.note))
    if status.last_error:
        said.append(("last error", status.last_error))
    if status.problem:
        said.append(("problem", status.problem))
    return said
