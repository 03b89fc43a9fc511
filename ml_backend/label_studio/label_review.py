"""Proposes annotations that look wrong for a second look: a prediction of the version "Second look" for each, and a tab
that shows the tasks with such a prediction.

Measured on Label Studio 1.23: the label stream serves an annotated task again only if the task's overlap is raised,
which corrupts the project's own overlap and leaves a single annotator nothing to do. A prediction of a version that is
not the project's own changes neither the stream nor the counts nor the overlap. In a tab filtered by that version, the
annotation can be edited beside the prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ml_backend.core.exceptions import NotFoundError, RequestRefusedError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Annotation, Draft, Prediction
from ml_backend.kinds.lookup import FIRST_KIND
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import writable_predictions, write_predictions
from ml_backend.storage import ProjectRow, Proposal, Store
from ml_backend.storage.columns import label_value

SECOND_LOOK_VERSION = "Second look"
EXPIRY_SECONDS = 7 * 86_400.0  # after this time, an annotation that was not changed counts as reviewed
HIDDEN_COLUMNS = (
    "inner_id", "completed_at", "cancelled_annotations", "total_predictions", "annotations_results", "annotations_ids",
    "predictions_model_versions", "predictions_results", "predictions_score", "file_upload", "storage_filename",
    "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists",
)  # fmt: skip


def single_annotations(annotations: list[Annotation]) -> dict[int, Annotation]:
    """The annotation of each task that has exactly one, not counting skips. With several, it would not be clear which
    annotation a proposal is about."""
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        if not annotation.cancelled:
            by_task[annotation.task].append(annotation)
    return {task: of_task[0] for task, of_task in by_task.items() if len(of_task) == 1}


def reviewable_tasks(reviewed: Mapping[int, str], annotations: list[Annotation]) -> set[int]:
    """The ids of the tasks that may be proposed. Such a task has a single annotation, which is no ground truth and has
    not been reviewed since its last change.

    reviewed     id of a reviewed annotation -> time of its last change before the review
    annotations  all annotations of the tasks in question
    """
    return {
        task
        for task, annotation in single_annotations(annotations).items()
        if not annotation.ground_truth and reviewed.get(annotation.id) != annotation.updated_at
    }


def update_proposals(
    client: LabelStudioClient, store: Store, schema: ProjectSchema, project_row: ProjectRow, max_proposals: int,
    check_lease: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Makes the proposals in Label Studio agree with the first `max_proposals` suspected label errors of the monitor in
    each control. An annotation that looks wrong in several controls gets one proposal, which is replaced when these
    controls change. Each proposal that is made or withdrawn takes one request, after which it is stored.

    check_lease  raises if the project's lease was lost; it is called before each write

    Raises LabelStudioError.
    """
    suspected = _suspected_errors(schema, project_row, max_proposals)
    contents = store.tasks.contents(project_row.id, list(suspected))
    suspected = {
        prediction.task: replace(prediction, score=min(draft.confidence for draft in prediction.drafts.values()))
        for prediction in writable_predictions(suspected.values(), schema, contents)
        if prediction.drafts
    }
    proposals = store.reviews.proposals(project_row.id)
    if not suspected and not proposals:
        return
    annotations = store.annotations.of_tasks(project_row.id, {*suspected, *proposals})
    annotation_of = single_annotations(annotations)
    reviewable = reviewable_tasks(store.reviews.reviewed(project_row.id), annotations)
    for task, proposal in list(proposals.items()):
        annotation = annotation_of.get(task)
        is_unchanged = annotation is not None and (
            (annotation.id, annotation.updated_at) == (proposal.annotation, proposal.updated_at)
        )
        is_expired = store.clock.now() - proposal.proposed_at > EXPIRY_SECONDS
        is_current = task in suspected and {*suspected[task].drafts} == {*proposal.controls}
        if is_unchanged and not is_expired and is_current:
            continue
        check_lease()
        with suppress(NotFoundError):
            client.call("DELETE", f"api/predictions/{proposal.prediction}/")
        store.reviews.withdraw(project_row.id, task)
        del proposals[task]
        if annotation is not None and (is_expired or not is_unchanged):
            store.reviews.mark_reviewed(project_row.id, annotation.id, annotation.updated_at)
            reviewable.discard(task)
    for task, prediction in suspected.items():
        if task in reviewable and task not in proposals:
            _ensure_tab(client, store, project_row.id)
            check_lease()
            rows = write_predictions([prediction], schema, SECOND_LOOK_VERSION, [contents[task]])
            annotation = annotation_of[task]
            try:
                prediction_id = client.call("POST", "api/predictions/", body=next(rows))["id"]
                change, now = (annotation.id, annotation.updated_at), store.clock.now()
                proposal = Proposal(task, prediction_id, *change, now, tuple(prediction.drafts))
                store.reviews.propose(project_row.id, proposal)
            except RequestRefusedError:  # the task or the label was just deleted: do not propose this annotation again
                store.reviews.mark_reviewed(project_row.id, annotation.id, annotation.updated_at)


def _suspected_errors(schema: ProjectSchema, project_row: ProjectRow, max_proposals: int) -> dict[int, Prediction]:
    """For each task, a prediction of the labels that the learners find more likely."""
    suspected: dict[int, dict[str, Draft]] = defaultdict(dict)
    for control in schema.controls:
        result = project_row.monitor_results.get(control.name, {})
        if result.get("kind", FIRST_KIND) != control.kind:  # the control has got another tag since
            continue
        for error in result.get("second_look", ())[:max_proposals]:
            draft = Draft(label_value(error["instead"]), error["confidence"], "learner")
            suspected[int(error["task"])][control.name] = draft
    return {task: Prediction(task, 0.0, drafts) for task, drafts in suspected.items()}


def delete_proposals(client: LabelStudioClient, project: int) -> None:
    """Deletes all proposals of a project from Label Studio."""
    client.call("DELETE", f"api/projects/{project}/model-versions/", body={"model_version": SECOND_LOOK_VERSION})


def _ensure_tab(client: LabelStudioClient, store: Store, project: int) -> None:
    """Creates the tab for the first proposal of a project. A tab that a user has deleted is created again only by
    `connect`."""
    if "second look" in (store.projects.ensure(project).connection or {}):
        return
    tab = save_second_look_tab(client, project)
    if not store.connections.add_second_look_tab(project, tab):  # disconnected meanwhile, so remove the tab here
        with suppress(NotFoundError):
            client.call("DELETE", f"api/dm/views/{tab}/")


def save_second_look_tab(client: LabelStudioClient, project: int, stored_id: int | None = None) -> int:
    """Updates or creates the tab, and returns its id."""
    hidden = [f"tasks:{column}" for column in HIDDEN_COLUMNS]
    version_filter: dict[str, Any] = {
        "filter": "filter:tasks:predictions_model_versions",
        "operator": "contains",
        "type": "List",
        "value": [SECOND_LOOK_VERSION],
    }
    data = {
        "title": SECOND_LOOK_VERSION,
        "type": "list",
        "target": "tasks",
        "hiddenColumns": {"explore": hidden, "labeling": hidden},
        "filters": {"conjunction": "and", "items": [version_filter]},
    }
    return client.save_tab(project, data, stored_id)
