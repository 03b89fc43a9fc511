"""Answers that look wrong, proposed for a second look: a row of the version "Second look" for each, and a tab of them.

Measured on 1.23: the label stream never serves an answered task again unless its overlap is raised, which corrupts the
project's own overlap and leaves a single annotator nothing to do. A prediction of a version that is not the project's
disturbs neither stream, counts nor overlap; a tab filtered by that version opens the answer for editing beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ml_backend.core.exceptions import NotFoundError, RequestRefusedError
from ml_backend.core.types import Annotation, Draft, Prediction, TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import write_predictions
from ml_backend.storage import ProjectRecord, Proposal, Store, now

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


def settled_tasks(store: Store, project: int) -> list[int]:
    """The tasks with an answer that has been looked at since it was last changed."""
    reviewed = store.reviews.reviewed(project)
    answers = store.labels.those(project, reviewed)
    return [answer.task for answer in answers if reviewed[answer.id] == answer.updated_at]


def open_to_doubt(reviewed: Mapping[int, str], annotations: list[Annotation]) -> set[int]:
    """Those of some tasks, from all their annotations, that may be proposed: one answer, no ground truth, not looked at
    since it was last changed.

    reviewed  annotations that have had their second look -> when they were last changed before it
    """
    return {
        task
        for task, answer in sole_answers(annotations).items()
        if not answer.ground_truth and reviewed.get(answer.id) != answer.updated_at
    }


def propose(
    client: LabelStudioClient, store: Store, schema: TaskSchema, record: ProjectRecord, budget: int,
    guard: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Makes what stands in Label Studio agree with what `watch` found, one call for each difference; at most `budget`.

    Runs under the project's lease: `guard` raises if that was lost. Raises LabelStudioError; each difference is
    remembered when it has been settled.
    """
    wanted = {int(each["task"]): each for each in (record.watch or {}).get("second_look", ())[:budget]}
    standing = store.reviews.standing(record.id)
    if not wanted and not standing:
        return
    annotations = store.labels.of_tasks(record.id, {*wanted, *standing})
    answers, doubtful = sole_answers(annotations), open_to_doubt(store.reviews.reviewed(record.id), annotations)
    for task, proposal in list(standing.items()):
        answer = answers.get(task)
        untouched = answer is not None and (answer.id, answer.updated_at) == (proposal.annotation, proposal.updated_at)
        expired = now() - proposal.proposed_at > EXPIRES
        if untouched and not expired and task in wanted:
            continue
        guard()
        with suppress(NotFoundError):
            client.call("DELETE", f"api/predictions/{proposal.prediction}/")
        store.reviews.withdraw(record.id, task)
        del standing[task]
        if answer is not None and (expired or not untouched):
            store.reviews.review(record.id, answer.id, answer.updated_at)
            doubtful.discard(task)
    for task, doubt in wanted.items():
        if task in doubtful and task not in standing:
            _tab(client, store, record.id)
            guard()
            draft = Draft(tuple(doubt["instead"]), doubt["confidence"], "learner")
            rows = write_predictions([Prediction(task, doubt["confidence"], draft)], schema, VERSION)
            answer = answers[task]
            try:
                row = client.call("POST", "api/predictions/", body=next(rows))["id"]
                store.reviews.propose(record.id, Proposal(task, row, answer.id, answer.updated_at, now()))
            except RequestRefusedError:  # the task has just been deleted, or the label: not again for this answer
                store.reviews.review(record.id, answer.id, answer.updated_at)


def withdraw(client: LabelStudioClient, project: int) -> None:
    """Deletes all proposals of a project."""
    client.call("DELETE", f"api/projects/{project}/model-versions/", body={"model_version": VERSION})


def _tab(client: LabelStudioClient, store: Store, project: int) -> None:
    """Makes the tab when the first proposal needs it; one that a user has deleted stays away until `connect`."""
    if "second look" in (store.projects.ensure(project).connection or {}):
        return
    tab = make_tab(client, project)
    if not store.connections.add_second_look_tab(project, tab):  # disconnected meanwhile: nobody else would remove it
        with suppress(NotFoundError):
            client.call("DELETE", f"api/dm/views/{tab}/")


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
    return client.save_tab(project, data, known)
