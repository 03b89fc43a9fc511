"""The webhook is a hint, the API is the truth: brings the store in step with Label Studio.

Cheap when all is well: an event carries Label Studio's own counts, and if the store has as many there is nothing to
ask. Otherwise, and at intervals, one delta by `updated_at`. Measured on 1.23: creating, changing, skipping and deleting
an annotation, changing a task's data and adding a single prediction all move the task's `updated_at`; a bulk import of
predictions does not. A deleted task leaves no trace but the count, so counts that still differ are settled by a full
listing. A transaction of Label Studio may become visible later than one with a later `updated_at`: of tasks with an
annotation, each delta begins some time before the end of the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, UnsupportedConfigError
from ml_backend.core.types import Example, TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_moment, read_tasks
from ml_backend.label_studio.webhooks import read_counts
from ml_backend.storage import ProjectRecord, Store, now

OVERLAP = timedelta(seconds=60)  # of two deltas: longer than a transaction of Label Studio takes
ANNOTATED_PAGE = 500  # tasks; with their annotations, each takes Label Studio ten times as long as without
_CHANGED = "id,data,updated_at,annotations,result,was_cancelled,ground_truth,completed_by,lead_time"  # nested ones too
COUNTS = ("total_annotations", "cancelled_annotations")  # Label Studio's own: answers, and skips
_ANSWERS = "; answers: "
_BEGINNING = "1970-01-01T00:00:00.000000Z"


def reconcile(
    client: LabelStudioClient,
    store: Store,
    project: int,
    every: float,
    guard: Callable[[], None],
    listed: Callable[[Sequence[Example]], None] = lambda _: None,
) -> bool:
    """Makes the store agree with Label Studio; returns whether the API had to be asked.

    Asked when the last time is `every` seconds ago, the store's counts differ from those last heard, or the tasks were
    read under another configuration. `guard` is called before every page of tasks, `listed` with every page of a full
    listing, while Label Studio is busy with the next one. Raises LabelStudioError; what was read stays.
    """
    record = store.projects.ensure(project)
    as_read = record.read_under == _read_under(_schema(record.label_config, record.choices))
    if as_read and now() - record.reconciled_at < every and record.counts == _counted(store, project):
        return False
    store.synchronisation.begin_look(project)
    found = client.project(project)
    check_identity(client, record, found)
    config = str(found.get("label_config") or "")
    if config != record.label_config:
        store.projects.set_label_config(project, config)
    store.rules.put(project, str(found.get("skip_queue") or ""), int(found.get("maximum_annotations") or 1))
    schema = _schema(config, record.choices)
    if schema is not None:
        reading = _Reading(client, store, project, schema, guard, listed, store.labels.revision(project).number)
        anew = record.read_under.partition(_ANSWERS)[0] != _fields(schema)
        reread = record.read_under != _read_under(schema)
        watermark = reading.all_tasks() if anew else reading.changes(record.watermark)
        counts, mine = read_counts(client.project(project)), _counted(store, project)
        if counts is not None and counts["tasks"] != mine["tasks"] and not anew:
            reading.all_tasks()
        if reread or counts != _counted(store, project):
            reading.all_annotations()
        # counts that cannot be made equal (Label Studio's may lag) must not cost a listing every round
        store.synchronisation.note(project, _counted(store, project), watermark, _read_under(schema))
    if record.published and found.get("model_version") != record.published:
        store.publications.request(project)  # something else was switched on: publish again
    store.synchronisation.end_look(project)
    return True


def check_identity(client: LabelStudioClient, record: ProjectRecord, found: dict[str, Any]) -> None:
    """Raises ApprenticeError if what Label Studio has under this number is not the project that was connected."""
    if record.made_at not in ("", read_moment(found.get("created_at"))):
        raise ApprenticeError(
            f"Project {record.id} of {client.url} is not the one that was connected: mend the address of Label "
            f"Studio, or run `apprentice connect --project {record.id}` for this one"
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One look at a project's tasks.

    `revision` is that of the store's annotations when it began: only what has not changed since may be put right by
    what is read, as an event may bring something newer at any moment.
    """

    client: LabelStudioClient
    store: Store
    project: int
    schema: TaskSchema
    guard: Callable[[], None]
    listed: Callable[[Sequence[Example]], None]
    revision: int

    def changes(self, since: str) -> str:
        """Every task changed since then, with its annotations; returns the newest `updated_at`. Of those with an
        annotation, also what an overlap before that holds: a transaction may have been committed late. An import that
        lies in it is not listed again, which takes a minute for 100,000 tasks."""
        newest = since
        overlap = [[changed_since(_earlier(since)), _with_some(count)] for count in COUNTS]
        for conditions in ([changed_since(since)], *overlap):
            for page in self._annotated(*conditions):
                self.guard()
                examples, standing = self._keep(page)
                tasks = {example.task for example in examples}
                known = self.store.labels.standing_at(self.project, self.revision, tasks)
                self.store.labels.delete(self.project, known - standing)
                newest = max([newest, *_moments(page)])
        return newest

    def all_tasks(self) -> str:
        """Lists every task and forgets those that are gone; returns the newest `updated_at`."""
        known, _ = self.store.tasks.index(self.project)
        seen: set[int] = set()
        newest = _BEGINNING
        for page in self.client.pages(self.project, fields="task_only", include="id,data,updated_at"):
            self.guard()
            examples, _ = self._keep(page)
            if not self.schema.is_record:  # which have no vectors before all of them have been seen
                self.listed(examples)
            seen.update(example.task for example in examples)
            newest = max([newest, *_moments(page)])
            self._tell(len(seen))
        self._tell(None)
        missing = set(known.tolist()) - seen
        if missing:  # with a task goes its place on the audit slice: nothing is lost because a list was wrong
            self.store.tasks.remove(self.project, missing - self.client.existing(self.project, missing))
        return newest

    def all_annotations(self) -> None:
        """Reads every annotated task and forgets the annotations that are gone."""
        standing: set[int] = set()
        for count in COUNTS:
            for page in self._annotated(_with_some(count)):
                self.guard()
                standing |= self._keep(page)[1]
        known = self.store.labels.standing_at(self.project, self.revision)
        self.store.labels.delete(self.project, known - standing)

    def _annotated(self, *conditions: dict[str, Any]) -> Iterator[list[Any]]:
        """The tasks that meet all of some conditions, with their annotations."""
        return self.client.pages(self.project, filters=conditions, size=ANNOTATED_PAGE, fields="all", include=_CHANGED)

    def _tell(self, read: int | None) -> None:
        """For `status`: how many tasks are read so far."""
        self.store.progress.read(self.project, read)

    def _keep(self, tasks: list[Any]) -> tuple[list[Example], set[int]]:
        """Stores tasks and the annotations inside them; returns the tasks, and the annotations' numbers."""
        examples, annotations = read_tasks(tasks, self.schema)
        inside = (each.get("id") for task in tasks for each in task.get("annotations") or ())
        standing = {number for number in inside if isinstance(number, int)}
        self.store.labels.revive(self.project, self.store.labels.deleted_at(self.project, self.revision, standing))
        self.store.tasks.put(self.project, examples)
        self.store.labels.put(self.project, annotations)
        return examples, standing


def changed_since(moment: str) -> dict[str, Any]:
    """The Data Manager's filter for tasks changed from a moment on."""
    return {
        "filter": "filter:tasks:updated_at", "operator": "greater_or_equal", "type": "Datetime", "value": moment,
    }  # fmt: skip


def _with_some(count: str) -> dict[str, Any]:
    """The Data Manager's filter for tasks of which a count is not 0."""
    return {"filter": f"filter:tasks:{count}", "operator": "greater", "type": "Number", "value": 0}


def _earlier(moment: str) -> str:
    """A moment, in the form of `read_moment`, less the overlap of two deltas."""
    try:
        return read_moment((datetime.fromisoformat(moment) - OVERLAP).isoformat())
    except (ValueError, OverflowError):  # there was no delta yet
        return _BEGINNING


def _schema(config: str, choices: str) -> TaskSchema | None:
    try:
        return read_schema(config, choices)
    except UnsupportedConfigError:
        return None  # the round says so


def _read_under(schema: TaskSchema | None) -> str:
    """What of a configuration decides how tasks and answers are read: with other labels, only the answers must be read
    again, so that these stand behind the rest."""
    if schema is None:
        return ""
    answers = (schema.labels, schema.stored, schema.nested, schema.multiple, schema.conditional, schema.other_controls)
    return f"{_fields(schema)}{_ANSWERS}{sha256(repr(answers).encode()).hexdigest()[:16]}"


def _fields(schema: TaskSchema) -> str:
    """What of a configuration decides how tasks are read."""
    read = f"{schema.control} {schema.source} {schema.text_field} {schema.record_field}".strip()
    several = [f"fields: {' '.join(schema.fields)}"] if schema.fields else []
    html = [f"html: {' '.join(schema.html)}"] if schema.html else []
    return "; ".join([read, *several, *html])  # of a text or a table alone, as ever: else all would be read again


def _counted(store: Store, project: int) -> dict[str, int]:
    annotations, skips = store.labels.count(project)
    return {"tasks": store.tasks.count(project), "annotations": annotations, "skips": skips}


def _moments(tasks: Iterable[Any]) -> list[str]:
    """When the tasks were last changed."""
    return [read_moment(task.get("updated_at")) for task in tasks if isinstance(task, dict)]
