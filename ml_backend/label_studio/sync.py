"""Reconciles the store with Label Studio's API, which is authoritative, because webhook events can be lost.

Every webhook event carries Label Studio's counts of tasks, annotations and skips. If the store has the same counts,
nothing is read. Otherwise, and at intervals, the tasks are read whose `updated_at` is not before the watermark, which
is the newest `updated_at` that was read so far. Measured on Label Studio 1.23: creating, changing, skipping and
deleting an annotation, changing a task's data and adding a single prediction change the task's `updated_at`; a bulk
import of predictions does not. Only the counts show that a task was deleted, so all tasks are listed if the counts
still differ. A transaction of Label Studio may become visible later than another one with a later `updated_at`.
Therefore tasks with an annotation are read again from `CHANGES_OVERLAP` before the watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, UnsupportedConfigError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import TaskContent
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_tasks, read_timestamp
from ml_backend.label_studio.webhooks import read_counts
from ml_backend.storage import ProjectRow, Store

CHANGES_OVERLAP = timedelta(seconds=60)  # longer than a transaction of Label Studio takes
ANNOTATED_PAGE_TASKS = 500  # tasks of a page with annotations, on which Label Studio spends ten times as long per task
_ANNOTATED_FIELDS = "id,data,updated_at,annotations,result,was_cancelled,ground_truth,completed_by,lead_time"
ANNOTATION_COUNTS = ("total_annotations", "cancelled_annotations")  # Label Studio's counts of annotations and of skips
_ANNOTATION_SIGNATURE_PREFIX = "; answers: "  # part of stored signatures: another prefix would cause a full listing
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

    The API is read if the last reconciliation is at least `interval_seconds` ago, if the store's counts differ from
    those that Label Studio last sent, or if the stored tasks were read under another labelling configuration.

    check_lease  raises if the project's lease was lost; it is called before each page of tasks is stored
    on_listed    is called with each page of a full listing of texts, while Label Studio prepares the next page

    Raises LabelStudioError if a request fails; the pages that were read before stay in the store. Raises
    ApprenticeError if Label Studio has another project with this number.
    """
    project_row = store.projects.ensure(project)
    is_same_config = project_row.read_under == _config_signature(_schema(project_row.label_config, project_row.choices))
    is_recent = store.clock.now() - project_row.reconciled_at < interval_seconds
    if is_same_config and is_recent and project_row.counts == _stored_counts(store, project):
        return False
    store.synchronisation.begin_reconciliation(project)
    project_json = client.project(project)
    check_identity(client, project_row, project_json)
    config = str(project_json.get("label_config") or "")
    if config != project_row.label_config:
        store.projects.set_label_config(project, config)
    store.serving_rules.put(
        project, str(project_json.get("skip_queue") or ""), int(project_json.get("maximum_annotations") or 1)
    )
    schema = _schema(config, project_row.choices)
    if schema is not None:
        revision = store.annotations.revision(project).number
        reader = _TaskReader(client, store, project, schema, check_lease, on_listed, revision)
        stored_task_signature = project_row.read_under.partition(_ANNOTATION_SIGNATURE_PREFIX)[0]
        are_tasks_outdated = stored_task_signature != _task_signature(schema)
        are_annotations_outdated = project_row.read_under != _config_signature(schema)
        watermark = reader.read_all_tasks() if are_tasks_outdated else reader.read_changes(project_row.watermark)
        counts, stored_counts = read_counts(client.project(project)), _stored_counts(store, project)
        if counts is not None and counts["tasks"] != stored_counts["tasks"] and not are_tasks_outdated:
            reader.read_all_tasks()
        if are_annotations_outdated or counts != _stored_counts(store, project):
            reader.read_all_annotations()
        # keeps the store's counts as those that Label Studio sent: the sent ones may be late, and would cause a
        # listing in each round
        store.synchronisation.record_reconciliation(
            project, _stored_counts(store, project), watermark, _config_signature(schema)
        )
    if project_row.published and project_json.get("model_version") != project_row.published:
        store.publications.request(project)  # somebody chose another model version in Label Studio: publish again
    store.synchronisation.end_reconciliation(project)
    return True


def check_identity(client: LabelStudioClient, project_row: ProjectRow, fields: dict[str, Any]) -> None:
    """Raises ApprenticeError if the project in Label Studio is not the one that was connected, which the time of its
    creation shows.

    fields  the project's JSON, see `LabelStudioClient.project`
    """
    if project_row.made_at not in ("", read_timestamp(fields.get("created_at"))):
        raise ApprenticeError(
            f"Project {project_row.id} of {client.url} is not the one that was connected: correct the address of Label "
            f"Studio, or run `apprentice connect --project {project_row.id}` to connect this project"
        )


@dataclass(frozen=True, slots=True)
class _TaskReader:
    """Reads tasks and annotations of a project from the API into the store.

    revision  revision of the stored annotations when the reconciliation began. Annotations that a webhook event has
              changed since then are neither deleted nor restored, because the event may be newer than the API's
              response
    """

    client: LabelStudioClient
    store: Store
    project: int
    schema: ProjectSchema
    check_lease: Callable[[], None]
    on_listed: Callable[[Sequence[TaskContent]], None]
    revision: int

    def read_changes(self, since: str) -> str:
        """Reads the tasks changed since a time, with their annotations; returns the newest `updated_at`.

        Tasks with an annotation or a skip are read from `CHANGES_OVERLAP` before that time, because a transaction may
        have been committed late. Other tasks are read from that time only: if many tasks were imported during the
        overlap, reading them again would take a minute for 100,000 tasks.
        """
        newest = since
        overlap = [[changed_since(_overlap_start(since)), _has_positive(count)] for count in ANNOTATION_COUNTS]
        for conditions in ([changed_since(since)], *overlap):
            for page in self._annotated_pages(*conditions):
                self.check_lease()
                contents, annotation_ids = self._store_page(page)
                tasks = {content.task for content in contents}
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
            contents, _ = self._store_page(page)
            if not self.schema.input.is_record:  # the encoder of records is fitted to all of them, so it must wait
                self.on_listed(contents)
            listed.update(content.task for content in contents)
            newest = max([newest, *_update_times(page)])
            self._report_progress(len(listed))
        self._report_progress(None)
        missing = set(stored_tasks.tolist()) - listed
        if missing:
            # a page may have missed a task, and a removed task loses its place in the audit sample: ask for each task
            existing = self.client.existing_task_ids(self.project, missing)
            self.store.tasks.remove(self.project, missing - existing)
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
        self.store.progress.set_read(self.project, task_count)

    def _store_page(self, tasks: list[Any]) -> tuple[list[TaskContent], set[int]]:
        """Stores the tasks of a page and their annotations; returns the contents of the tasks, and the ids of the
        annotations. Annotations that the store has as deleted, but that exist in Label Studio, are restored."""
        contents, annotations = read_tasks(tasks, self.schema)
        ids = (annotation.get("id") for task in tasks for annotation in task.get("annotations") or ())
        annotation_ids = {annotation_id for annotation_id in ids if isinstance(annotation_id, int)}
        deleted = self.store.annotations.deleted_at(self.project, self.revision, annotation_ids)
        self.store.annotations.revive(self.project, deleted)
        self.store.tasks.put(self.project, contents)
        self.store.annotations.put(self.project, annotations)
        return contents, annotation_ids


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


def _schema(config: str, choices: str) -> ProjectSchema | None:
    try:
        return read_schema(config, choices)
    except UnsupportedConfigError:
        return None  # the round reads the configuration too, and reports the error


def _config_signature(schema: ProjectSchema | None) -> str:
    """Identifies the parts of a labelling configuration that determine how tasks and annotations are read. The parts
    for annotations come last: if only these have changed, only the annotations are read again."""
    if schema is None:
        return ""
    parts = schema.controls, schema.control_names
    return f"{_task_signature(schema)}{_ANNOTATION_SIGNATURE_PREFIX}{sha256(repr(parts).encode()).hexdigest()[:16]}"


def _task_signature(schema: ProjectSchema) -> str:
    """Identifies the parts of a labelling configuration that determine how tasks are read."""
    first = schema.controls[0]
    source = f"{first.name} {first.source} {schema.input.text_field} {schema.input.record_field}".strip()
    fields = [f"fields: {' '.join(schema.input.fields)}"] if schema.input.fields else []
    html = [f"html: {' '.join(schema.input.html)}"] if schema.input.html else []
    dialogues = [f"dialogues: {schema.input.dialogues}"] if schema.input.dialogues else []
    lists = [f"lists: {' '.join(schema.input.lists)}"] if schema.input.lists else []
    pair = [f"pair: {schema.input.pair}"] if schema.input.pair else []
    located = [f"located: {schema.input.located}"] if schema.input.located else []
    # the format for a single text or table must stay that of earlier releases, or all tasks would be read again
    return "; ".join([source, *fields, *html, *dialogues, *lists, *pair, *located])


def _stored_counts(store: Store, project: int) -> dict[str, int]:
    annotations, skips = store.annotations.count(project)
    return {"tasks": store.tasks.count(project), "annotations": annotations, "skips": skips}


def _update_times(tasks: Iterable[Any]) -> list[str]:
    """The times of the last changes of tasks."""
    return [read_timestamp(task.get("updated_at")) for task in tasks if isinstance(task, dict)]
