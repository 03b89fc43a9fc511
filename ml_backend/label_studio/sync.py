"""Reconciles the store with Label Studio's API, which is authoritative, because webhook events can be lost.

An event has Label Studio's own counts. If the store has the same counts, nothing is read. Otherwise, and at intervals,
the tasks with a later `updated_at` are read. Measured on Label Studio 1.23: creating, changing, skipping and deleting
an annotation, changing a task's data and adding a single prediction change the task's `updated_at`; a bulk import of
predictions does not. Only the counts show that a task was deleted, so all tasks are listed if the counts still differ.
A transaction of Label Studio may become visible later than another one with a later `updated_at`. Therefore tasks with
an annotation are read again from some time before the last reconciliation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, UnsupportedConfigError
from ml_backend.core.types import TaskContent, TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_tasks, read_timestamp
from ml_backend.label_studio.webhooks import read_counts
from ml_backend.storage import ProjectState, Store, now

CHANGES_OVERLAP = timedelta(seconds=60)  # of two reconciliations; longer than a transaction of Label Studio takes
ANNOTATED_PAGE_TASKS = 500  # with its annotations, a task takes Label Studio ten times as long as without
_ANNOTATED_FIELDS = "id,data,updated_at,annotations,result,was_cancelled,ground_truth,completed_by,lead_time"
ANNOTATION_COUNTS = ("total_annotations", "cancelled_annotations")  # Label Studio's counts of annotations and of skips
_ANNOTATION_CONFIG = "; answers: "
_EARLIEST = "1970-01-01T00:00:00.000000Z"


def reconcile(
    client: LabelStudioClient,
    store: Store,
    project: int,
    interval_seconds: float,
    check_lease: Callable[[], None],
    on_listed: Callable[[Sequence[TaskContent]], None] = lambda _: None,
) -> bool:
    """Makes the store agree with Label Studio; returns whether the API was read.

    The API is read if the last reconciliation is `interval_seconds` ago, if the store's counts differ from those that
    Label Studio last sent, or if the tasks were read under another labelling configuration.

    check_lease  raises if the project's lease was lost; it is called before each page of tasks is stored
    on_listed    is called with each page of a full listing of texts, while Label Studio prepares the next page

    Raises LabelStudioError, after which the pages that were read stay in the store, and ApprenticeError if Label Studio
    has another project with this number.
    """
    record = store.projects.ensure(project)
    is_same_config = record.read_under == _config_signature(_schema(record.label_config, record.choices))
    is_recent = now() - record.reconciled_at < interval_seconds
    if is_same_config and is_recent and record.counts == _stored_counts(store, project):
        return False
    store.synchronisation.begin_reconciliation(project)
    fields = client.project(project)
    check_identity(client, record, fields)
    config = str(fields.get("label_config") or "")
    if config != record.label_config:
        store.projects.set_label_config(project, config)
    store.serving_rules.put(project, str(fields.get("skip_queue") or ""), int(fields.get("maximum_annotations") or 1))
    schema = _schema(config, record.choices)
    if schema is not None:
        revision = store.annotations.revision(project).number
        reader = _TaskReader(client, store, project, schema, check_lease, on_listed, revision)
        are_tasks_outdated = record.read_under.partition(_ANNOTATION_CONFIG)[0] != _task_signature(schema)
        are_annotations_outdated = record.read_under != _config_signature(schema)
        watermark = reader.read_all_tasks() if are_tasks_outdated else reader.read_changes(record.watermark)
        counts, stored_counts = read_counts(client.project(project)), _stored_counts(store, project)
        if counts is not None and counts["tasks"] != stored_counts["tasks"] and not are_tasks_outdated:
            reader.read_all_tasks()
        if are_annotations_outdated or counts != _stored_counts(store, project):
            reader.read_all_annotations()
        # the store's own counts are noted: Label Studio's may lag, and must not cause a listing in each round
        store.synchronisation.note(project, _stored_counts(store, project), watermark, _config_signature(schema))
    if record.published and fields.get("model_version") != record.published:
        store.publications.request(project)  # the model version was changed in Label Studio: publish again
    store.synchronisation.end_reconciliation(project)
    return True


def check_identity(client: LabelStudioClient, record: ProjectState, fields: dict[str, Any]) -> None:
    """Raises ApprenticeError if the project in Label Studio is not the one that was connected.

    fields  the project's JSON, see `LabelStudioClient.project`
    """
    if record.made_at not in ("", read_timestamp(fields.get("created_at"))):
        raise ApprenticeError(
            f"Project {record.id} of {client.url} is not the one that was connected: correct the address of Label "
            f"Studio, or run `apprentice connect --project {record.id}` to connect this project"
        )


@dataclass(frozen=True, slots=True)
class _TaskReader:
    """Reads tasks and annotations of a project from the API into the store.

    revision  revision of the stored annotations at the beginning. Annotations that have changed since then are neither
              deleted nor restored, because an event may have brought newer data than the API's response
    """

    client: LabelStudioClient
    store: Store
    project: int
    schema: TaskSchema
    check_lease: Callable[[], None]
    on_listed: Callable[[Sequence[TaskContent]], None]
    revision: int

    def read_changes(self, since: str) -> str:
        """Reads the tasks changed since a time, with their annotations; returns the newest `updated_at`.

        Tasks with an annotation are read from `CHANGES_OVERLAP` before that time, because a transaction may have been
        committed late. Tasks without one are not, because an import in that period would be listed again, which takes a
        minute for 100,000 tasks.
        """
        newest = since
        overlap = [[changed_since(_overlap_start(since)), _has_positive(count)] for count in ANNOTATION_COUNTS]
        for conditions in ([changed_since(since)], *overlap):
            for page in self._annotated_pages(*conditions):
                self.check_lease()
                examples, annotation_ids = self._store_page(page)
                tasks = {example.task for example in examples}
                stored_ids = self.store.annotations.unchanged_since(self.project, self.revision, tasks)
                self.store.annotations.delete(self.project, stored_ids - annotation_ids)
                newest = max([newest, *_update_times(page)])
        return newest

    def read_all_tasks(self) -> str:
        """Lists all tasks, and removes tasks that no longer exist; returns the newest `updated_at`."""
        stored_tasks, _ = self.store.tasks.index(self.project)
        listed: set[int] = set()
        newest = _EARLIEST
        for page in self.client.task_pages(self.project, fields="task_only", include="id,data,updated_at"):
            self.check_lease()
            examples, _ = self._store_page(page)
            if not self.schema.is_record:  # records get vectors only when all of them have been read
                self.on_listed(examples)
            listed.update(example.task for example in examples)
            newest = max([newest, *_update_times(page)])
            self._report_progress(len(listed))
        self._report_progress(None)
        missing = set(stored_tasks.tolist()) - listed
        if missing:  # a removed task loses its place in the audit slice, so ask whether it really does not exist
            self.store.tasks.remove(self.project, missing - self.client.existing_task_ids(self.project, missing))
        return newest

    def read_all_annotations(self) -> None:
        """Reads all annotated tasks, and deletes the annotations that no longer exist."""
        annotation_ids: set[int] = set()
        for count in ANNOTATION_COUNTS:
            for page in self._annotated_pages(_has_positive(count)):
                self.check_lease()
                annotation_ids |= self._store_page(page)[1]
        stored_ids = self.store.annotations.unchanged_since(self.project, self.revision)
        self.store.annotations.delete(self.project, stored_ids - annotation_ids)

    def _annotated_pages(self, *conditions: dict[str, Any]) -> Iterator[list[Any]]:
        """Yields pages of the tasks that meet all conditions, with their annotations."""
        return self.client.task_pages(
            self.project, filters=conditions, size=ANNOTATED_PAGE_TASKS, fields="all", include=_ANNOTATED_FIELDS
        )

    def _report_progress(self, task_count: int | None) -> None:
        """Stores for `status` how many tasks have been read; None at the end."""
        self.store.progress.read(self.project, task_count)

    def _store_page(self, tasks: list[Any]) -> tuple[list[TaskContent], set[int]]:
        """Stores tasks and the annotations that they contain; returns the tasks, and the ids of the annotations."""
        examples, annotations = read_tasks(tasks, self.schema)
        ids = (annotation.get("id") for task in tasks for annotation in task.get("annotations") or ())
        annotation_ids = {annotation_id for annotation_id in ids if isinstance(annotation_id, int)}
        deleted = self.store.annotations.deleted_at(self.project, self.revision, annotation_ids)
        self.store.annotations.revive(self.project, deleted)
        self.store.tasks.put(self.project, examples)
        self.store.annotations.put(self.project, annotations)
        return examples, annotation_ids


def changed_since(time: str) -> dict[str, Any]:
    """The Data Manager's filter for tasks that were changed at a time or later."""
    return {
        "filter": "filter:tasks:updated_at", "operator": "greater_or_equal", "type": "Datetime", "value": time,
    }  # fmt: skip


def _has_positive(count: str) -> dict[str, Any]:
    """The Data Manager's filter for tasks whose count with this name is above 0."""
    return {"filter": f"filter:tasks:{count}", "operator": "greater", "type": "Number", "value": 0}


def _overlap_start(time: str) -> str:
    """The time `CHANGES_OVERLAP` earlier, in the format of `read_timestamp`."""
    try:
        return read_timestamp((datetime.fromisoformat(time) - CHANGES_OVERLAP).isoformat())
    except (ValueError, OverflowError):  # this is the first reconciliation
        return _EARLIEST


def _schema(config: str, choices: str) -> TaskSchema | None:
    try:
        return read_schema(config, choices)
    except UnsupportedConfigError:
        return None  # the round reports the error


def _config_signature(schema: TaskSchema | None) -> str:
    """The parts of a labelling configuration that determine how tasks and annotations are read. Those for annotations
    come last: if only these have changed, only the annotations are read again."""
    if schema is None:
        return ""
    parts = (schema.labels, schema.stored, schema.nested, schema.multiple, schema.conditional, schema.other_controls)
    return f"{_task_signature(schema)}{_ANNOTATION_CONFIG}{sha256(repr(parts).encode()).hexdigest()[:16]}"


def _task_signature(schema: TaskSchema) -> str:
    """The parts of a labelling configuration that determine how tasks are read."""
    source = f"{schema.control} {schema.source} {schema.text_field} {schema.record_field}".strip()
    fields = [f"fields: {' '.join(schema.fields)}"] if schema.fields else []
    html = [f"html: {' '.join(schema.html)}"] if schema.html else []
    # the signature of a single text or table must not change, because all tasks would be read again
    return "; ".join([source, *fields, *html])


def _stored_counts(store: Store, project: int) -> dict[str, int]:
    annotations, skips = store.annotations.count(project)
    return {"tasks": store.tasks.count(project), "annotations": annotations, "skips": skips}


def _update_times(tasks: Iterable[Any]) -> list[str]:
    """The times of the last changes of tasks."""
    return [read_timestamp(task.get("updated_at")) for task in tasks if isinstance(task, dict)]
