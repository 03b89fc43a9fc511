"""Answers that look wrong, proposed for a second look: a row of the version "Second look" for each, and a tab of them.

Measured on 1.23: the label stream never serves an answered task again unless its overlap is raised, which corrupts the
project's own overlap and leaves a single annotator nothing to do. A prediction of a version that is not the project's
disturbs neither stream, counts nor overlap; a tab filtered by that version opens the answer for editing beside it.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import Any

from ml_backend.domain import Annotation, Draft, Prediction, TaskSchema
from ml_backend.label_studio.client import LabelStudioClient, NotFound, Refused
from ml_backend.label_studio.wire import write_predictions
from ml_backend.store import ProjectRecord, Store, now

VERSION = "Second look"
EXPIRES = 7 * 86_400.0  # seconds after which a proposal that nobody took up counts as looked at
HIDDEN_COLUMNS = (
    "inner_id", "completed_at", "cancelled_annotations", "total_predictions", "annotations_results", "annotations_ids",
    "predictions_model_versions", "predictions_results", "predictions_score", "file_upload", "storage_filename",
    "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists",
)  # fmt: skip


def sole_answers(annotations: list[Annotation]) -> dict[int, Annotation]:
    """The answer of each task that has exactly one: only there is it clear which answer is meant."""
    standing: dict[int, list[Annotation]] = defaultdict(list)
    for each in annotations:
        if not each.cancelled:
            standing[each.task].append(each)
    return {task: answers[0] for task, answers in standing.items() if len(answers) == 1}


def settled_tasks(store: Store, record: ProjectRecord) -> list[int]:
    """The tasks with an answer that has been looked at since it was last changed."""
    settled = (record.proposals or {}).get("settled", {})
    answers = store.labels.those(record.id, map(int, settled))
    return [answer.task for answer in answers if settled[str(answer.id)] == answer.updated_at]


def open_to_doubt(record: ProjectRecord, annotations: list[Annotation]) -> set[int]:
    """Those of some tasks, from all their annotations, that may be proposed: one answer, no ground truth, not looked at
    since it was last changed."""
    settled = (record.proposals or {}).get("settled", {})
    return {
        task
        for task, answer in sole_answers(annotations).items()
        if not answer.ground_truth and settled.get(str(answer.id)) != answer.updated_at
    }


def propose(client: LabelStudioClient, store: Store, schema: TaskSchema, record: ProjectRecord, budget: int) -> None:
    """Makes what stands in Label Studio agree with what `watch` found, one call for each difference; at most `budget`.

    Runs under the project's lease. Raises LabelStudioError; what was done until then is remembered.
    """
    wanted = {int(each["task"]): each for each in (record.watch or {}).get("second_look", ())[:budget]}
    known = record.proposals or {}
    if not wanted and not known.get("standing"):
        return
    standing, settled = dict(known.get("standing", {})), dict(known.get("settled", {}))
    annotations = store.labels.of_tasks(record.id, {*wanted, *map(int, standing)})
    answers, doubtful = sole_answers(annotations), open_to_doubt(record, annotations)
    try:
        for key, proposal in list(standing.items()):
            answer = answers.get(int(key))
            untouched = answer is not None and [answer.id, answer.updated_at] == proposal["answer"]
            expired = now() - proposal["at"] > EXPIRES
            if untouched and not expired and int(key) in wanted:
                continue
            with suppress(NotFound):
                client.call("DELETE", f"api/predictions/{proposal['row']}/")
            del standing[key]
            if answer is not None and (expired or not untouched):
                settled[str(answer.id)] = answer.updated_at
                doubtful.discard(int(key))
        for task, found in wanted.items():
            if task in doubtful and str(task) not in standing:
                _tab(client, store, record)
                draft = Draft(tuple(found["instead"]), found["confidence"], "learner")
                rows = write_predictions([Prediction(task, found["confidence"], draft)], schema, VERSION)
                answer = answers[task]
                try:
                    row = client.call("POST", "api/predictions/", body=next(rows))["id"]
                    standing[str(task)] = {"row": row, "answer": [answer.id, answer.updated_at], "at": now()}
                except Refused:  # the task has just been deleted, or the label: not again for this answer
                    settled[str(answer.id)] = answer.updated_at
    finally:
        store.projects.update(record.id, proposals={"standing": standing, "settled": settled})


def withdraw(client: LabelStudioClient, project: int) -> None:
    """Deletes all proposals of a project."""
    client.call("DELETE", f"api/projects/{project}/model-versions/", body={"model_version": VERSION})


def _tab(client: LabelStudioClient, store: Store, record: ProjectRecord) -> None:
    """Makes the tab when the first proposal needs it; one that a user has deleted stays away until `connect`."""
    connection = store.projects.ensure(record.id).connection
    if connection and "second look" not in connection:
        store.projects.update(record.id, connection={**connection, "second look": make_tab(client, record.id)})


def make_tab(client: LabelStudioClient, project: int, known: int | None = None) -> int:
    """The number of the tab, made anew or put right."""
    hidden = [f"tasks:{column}" for column in HIDDEN_COLUMNS]
    of_version: dict[str, Any] = {
        "filter": "filter:tasks:predictions_model_versions", "operator": "contains", "type": "List", "value": [VERSION],
    }  # fmt: skip
    data = {
        "title": VERSION,
        "type": "list",
        "target": "tasks",
        "hiddenColumns": {"explore": hidden, "labeling": hidden},
        "filters": {"conjunction": "and", "items": [of_version]},
    }
    return client.keep_tab(project, data, known)
