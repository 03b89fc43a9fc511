"""The stage "publish": stores the new version, switches Label Studio to it, and completes its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from ml_backend.core.exceptions import ApprenticeError, LeaseLostError, RequestRefusedError
from ml_backend.core.types import ModelVersion, Prediction, Remark, TaskContent
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.label_review import update_proposals
from ml_backend.label_studio.publisher import Publisher, PublishTimings
from ml_backend.label_studio.serialization import writable_predictions
from ml_backend.label_studio.setup import restore_model_version
from ml_backend.loop.context import RoundContext, RoundInputs
from ml_backend.loop.preparation import fingerprint
from ml_backend.loop.training import of_control
from ml_backend.model import project_model
from ml_backend.model.project_model import ProjectModel
from ml_backend.monitoring import project_stats

EXPLORE_EVERY_VERSIONS = 10  # in one of so many versions, the publisher measures the slower method of publishing again

log = structlog.get_logger()


def store_version(context: RoundContext, version: ModelVersion, new_model: ProjectModel | None, n_rows: int) -> None:
    """Stores a version whose queue has `n_rows` rows, with the artifact of its learners if one of them is new. Raises
    LeaseLostError, and leaves nothing behind, if another worker has the lease."""
    store = context.store
    artifact = project_model.save(store, context.project, new_model) if new_model is not None else None
    try:
        store.versions.add(version, artifact, n_rows, context.lease)
    except ApprenticeError:  # no version refers to the artifact
        if artifact:
            store.artifacts.remove(artifact[0])
        raise


def writable_queue(
    context: RoundContext, inputs: RoundInputs, queue: Sequence[Prediction]
) -> tuple[Sequence[Prediction], Mapping[int, TaskContent], Sequence[Remark]]:
    """The queue with the drafts that fit the content of their task, without tasks that were deleted meanwhile; the
    contents by task id; and for each control a remark on the parts of drafts that are left out. The same queue and {}
    if no kind of label needs contents."""
    if not inputs.schema.input.located:
        return queue, {}, ()
    contents = context.store.tasks.contents(context.project, [prediction.task for prediction in queue])
    writable = list(writable_predictions(queue, inputs.schema, contents))
    drafted, shown = _count_parts(queue, contents), _count_parts(writable, contents)
    remarks = [
        of_control(
            Remark(
                "parts left out",
                {
                    "part": kind_of(control).part_name or "label",
                    "left_out": drafted[control.name] - shown[control.name],
                    "drafted": drafted[control.name],
                },
            ),
            control.name,
            inputs,
        )
        for control in inputs.schema.controls
        if drafted[control.name] > shown[control.name]
    ]
    return writable, contents, remarks


def _count_parts(queue: Sequence[Prediction], tasks: Container[int]) -> Counter[str]:
    """The number of parts of the drafts for some tasks, by control."""
    parts = Counter[str]()
    for prediction in queue:
        if prediction.task in tasks:
            parts.update({name: len(draft.value) for name, draft in prediction.drafts.items()})
    return parts


def publish(
    context: RoundContext,
    inputs: RoundInputs,
    version: ModelVersion,
    model: ProjectModel | None,
    queue: Sequence[Prediction],
    contents: Mapping[int, TaskContent],
) -> None:
    """Publishes the queue of a stored version, the head first, and stores the counts of the project. `contents`: see
    `writable_queue`"""
    # not the fingerprint of the preparation, because the stage "rank" may have encoded more tasks
    queue_fingerprint = fingerprint(inputs, context.pool)
    timings = PublishTimings(**(inputs.project_row.publish_timings or {}))
    explores = version.number % EXPLORE_EVERY_VERSIONS == 0
    publisher = Publisher(
        context.client,
        context.project,
        inputs.schema,
        version.name,
        context.check_lease,
        contents,
        timings,
        explores,
        context.store.clock,
    )
    with _stored_timings(context, publisher):
        rest = _switch(context, inputs, publisher, version, queue)
        # before the rest of the queue, which the next annotation may interrupt
        update_stats(context, inputs, model)
        _complete(context, inputs, publisher, version, rest, queue_fingerprint)


def update_stats(context: RoundContext, inputs: RoundInputs, model: ProjectModel | None) -> None:
    """Stores the counts of the project for `status`, /metrics and /predict. `model`: the learners that serve."""
    stats_inputs = project_stats.StatsInputs(
        context.project, inputs.schema, context.pool, context.aggregator, model, inputs.teacher_labels
    )
    project_stats.update(context.store, stats_inputs, context.lease)


def propose_reviews(context: RoundContext, inputs: RoundInputs) -> None:
    """Proposes annotations that look wrong for a second look. An error is logged and does not fail the round."""
    budget = inputs.options.second_look
    try:
        context.check_lease()
        update_proposals(context.client, context.store, inputs.schema, inputs.project_row, budget, context.check_lease)
    except LeaseLostError:
        raise
    except ApprenticeError as error:
        log.warning("review not proposed", project=context.project, error=str(error))


def _switch(
    context: RoundContext,
    inputs: RoundInputs,
    publisher: Publisher,
    version: ModelVersion,
    queue: Sequence[Prediction],
) -> Sequence[Prediction]:
    """Publishes the head of the queue and switches the project to the version; returns the rest of the queue. If the
    queue is empty, the version serves /predict alone."""
    if not queue:
        context.store.versions.activate(context.project, version.number, context.lease)
        return queue
    rest = publisher.publish_head(queue)
    try:
        context.check_lease()
        # after the head: until then, annotators have seen earlier drafts
        context.store.publications.switch(version, queue, context.lease)
    except LeaseLostError:
        _undo_switch(context, inputs)
        raise
    return rest


def _undo_switch(context: RoundContext, inputs: RoundInputs) -> None:
    """Undoes the switch of a worker that lost its lease between the check of the lease and the switch. If the project
    was disconnected meanwhile, it gets back the model version that it had before `connect`; else it is published
    again."""
    current_row = context.store.projects.get(context.project)
    is_connected = current_row is not None and current_row.is_connected
    if inputs.project_row.is_connected and not is_connected:
        restore_model_version(context.client, context.project, inputs.project_row.connection or {})
    else:
        context.store.publications.request(context.project)
        context.store.jobs.request(context.project)


def _complete(
    context: RoundContext,
    inputs: RoundInputs,
    publisher: Publisher,
    version: ModelVersion,
    rest: Sequence[Prediction],
    queue_fingerprint: str,
) -> None:
    """Publishes the rest of the queue. Stores the fingerprint if all rows are published: a queue that was interrupted
    is published again."""
    n_planned = publisher.written + len(rest)
    if publisher.publish_rest(rest, context.newer_round_requested):
        republish = inputs.project_row.republish
        context.store.publications.complete(context.project, queue_fingerprint, republish, context.lease)
    if publisher.written != n_planned:
        context.store.versions.set_rows(context.project, version.number, publisher.written)


@contextmanager
def _stored_timings(context: RoundContext, publisher: Publisher) -> Iterator[None]:
    """Stores the measured timings of publishing, also after an error. If Label Studio refuses a row, the project is
    read again, because the store must have missed the removal of a task or of a label."""
    try:
        yield
    except RequestRefusedError:
        context.store.synchronisation.request_reconciliation(context.project)
        raise
    finally:
        context.store.publications.set_timings(context.project, publisher.timings.bulk, publisher.timings.single)
