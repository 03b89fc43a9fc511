"""One round, top to bottom: reconcile -> encode -> fit -> assess -> rank -> publish.

Each stage takes the results of earlier stages. It reads everything else from the store.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Fit
from ml_backend.core.exceptions import ApprenticeError, LeaseLostError, RequestRefusedError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import Estimate, ModelVersion, Prediction, TaskSchema
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.promotion_gate import decide_promotion
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import Publisher, PublishTimings
from ml_backend.label_studio.setup import restore_model_version
from ml_backend.label_studio.sync import reconcile
from ml_backend.labels.aggregation import LabelAggregator, LabelSnapshot
from ml_backend.loop.queue_builder import RankingContext, rank
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import MIN_TARGETS, FittedModel, TrainingSnapshot
from ml_backend.monitoring import project_stats
from ml_backend.monitoring.monitor import apply_acquisition_fallback
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Lease, ProjectState, RoundRow, Store, now
from ml_backend.teacher import distillation
from ml_backend.teacher.teacher_labels import TeacherLabels, load_teacher_labels

EXPLORE_EVERY_VERSIONS = 10  # in one of so many versions, the publisher tries the method that was slower


@dataclass(frozen=True)
class RoundContext:
    """The dependencies and the state of one round.

    project                the id of the project
    pool                   the tasks of the project, kept from round to round
    aggregator             the labels of the project, kept from round to round
    check_lease            raises if the lease was lost: then nothing more may be written to Label Studio
    newer_round_requested  whether a newer round of this or of another project is requested; waits up to the given
                           number of seconds for such a request
    lease                  the lease under which versions are stored; None if no other worker can have the project
    stages                 the seconds that each stage took
    """

    settings: Settings
    store: Store
    client: LabelStudioClient
    project: int
    pool: ProjectPool
    aggregator: LabelAggregator
    check_lease: Callable[[], None]
    newer_round_requested: Callable[[float], bool]
    lease: Lease | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the seconds of a stage. Checks the lease before the stage, so that a stopped or superseded worker
        never writes under a version number that another worker owns."""
        self.check_lease()
        start = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round(time.monotonic() - start, 4)


def run_round(context: RoundContext) -> RoundRow | None:
    """Fits a learner on all labels and publishes a new queue; returns None if nothing has changed since the last one.

    If it raises ApprenticeError, the earlier version goes on serving.
    """
    started_at, store, project = now(), context.store, context.project
    with context.stage("reconcile"):
        reconcile(
            context.client,
            store,
            project,
            context.settings.reconcile_seconds,
            context.check_lease,
            context.pool.sketch_ahead,
        )
    project_row = store.projects.ensure(project)
    options, _ = context.settings.for_project(project_row.extra_params)
    schema = read_schema(project_row.label_config, project_row.choices)

    with context.stage("encode"):
        project_row, record_problems = feature_space.update_space(store, context.settings, project_row, schema, options)
        encoder = feature_space.project_encoder(context.settings, project_row)
        options, fallback = apply_acquisition_fallback(
            options.with_form_defaults(feature_space.task_form(encoder)), project_row.watch
        )
        context.pool.use_encoder(encoder)
        context.pool.refresh(project_row.tasks_revision)
        label_snapshot = context.aggregator.refresh(schema)
        labels = label_snapshot.aggregated.without_tasks(context.pool.tasks[context.pool.unreadable])
        serving, problem = fitted_model.load_best(store, _serving_version(context, project_row), context.pool.space)
        teacher_labels = _load_teacher_labels(context, options, schema, labels)
        is_unchanged = (
            _fingerprint(project_row, options, label_snapshot, context.pool, teacher_labels) == project_row.fingerprint
        )
        active = store.versions.active(project)
        # a round is also needed if no version is active, or if the active version has another learner
        if is_unchanged and active is not None and active.learner == (serving.number if serving else None):
            project_stats.update(
                store, project, schema, context.pool, context.aggregator, serving, teacher_labels, context.lease
            )
            return None

    number = store.versions.next_number(project)
    # the name is new to Label Studio, also if another store has published to the project
    name = f"apprentice-{number}-{uuid.uuid4().hex[:4]}"
    with context.stage("fit"):
        candidate, fit = _fit(context, project_row, schema, options, labels, serving, number)

    with context.stage("assess"):
        learner, accuracy, reason = _assess(context, project_row, serving, candidate, fit, len(labels.tasks))

    with context.stage("rank"):
        record_encoder = feature_space.project_record_encoder(context.settings, project_row)
        ranking_context = RankingContext(
            context.settings, options, schema, labels, learner, project, number, name, teacher_labels, record_encoder
        )
        queue = rank(store, context.pool, ranking_context)

    with context.stage("publish"):
        remarks = [record_problems, fallback, problem, _changed_labels(serving, schema), reason]
        version = ModelVersion(
            project=project,
            number=number,
            name=name,
            learner=learner.number if learner else None,
            labelled=len(labels.tasks),
            accuracy=accuracy,
            created_at=now(),
            note="; ".join(filter(None, remarks)),
            acquisition=options.acquisition,
        )
        artifact = fitted_model.save(store, project, learner) if learner is not None and learner is candidate else None
        try:
            store.versions.add(version, artifact, len(queue), context.lease)
        except ApprenticeError:  # another worker has the lease: no version refers to the artifact
            if artifact:
                store.artifacts.remove(artifact[0])
            raise
        # computed again, because the stage "rank" may have encoded more tasks
        fingerprint = _fingerprint(project_row, options, label_snapshot, context.pool, teacher_labels)
        timings, explores = PublishTimings(**(project_row.pace or {})), number % EXPLORE_EVERY_VERSIONS == 0
        publisher = Publisher(context.client, project, schema, name, context.check_lease, timings, explores)
        with _stored_timings(context, publisher):
            rest = _switch(context, project_row, publisher, version, queue)
            # before the rest of the queue, which the next annotation may interrupt
            project_stats.update(
                store, project, schema, context.pool, context.aggregator, learner, teacher_labels, context.lease
            )
            _complete(context, publisher, version, rest, fingerprint, project_row.republish)
    return RoundRow(version.name, started_at, now(), context.stages)


def _load_teacher_labels(
    context: RoundContext, options: ProjectSettings, schema: TaskSchema, labels: AggregatedLabels
) -> TeacherLabels | None:
    """The labels of the teacher so far; None without a teacher that can be asked."""
    teacher = registry.teacher(options.teacher, context.settings.teacher_options(options))
    return (
        load_teacher_labels(context.store, teacher.name, schema, context.pool, context.project, labels)
        if teacher
        else None
    )


def _serving_version(context: RoundContext, project_row: ProjectState) -> ModelVersion | None:
    if project_row.pinned is not None:
        return context.store.versions.get(context.project, project_row.pinned)
    return context.store.versions.active(context.project)


def _fit(
    context: RoundContext,
    project_row: ProjectState,
    schema: TaskSchema,
    options: ProjectSettings,
    labels: AggregatedLabels,
    serving: FittedModel | None,
    number: int,
) -> tuple[FittedModel, Fit] | tuple[None, None]:
    """Fits a new model; (None, None) if it would be the same, if the targets do not differ, or during a rollback."""
    labelled = context.pool.rows_of(labels.tasks)
    context.pool.encode_missing(labelled, context.pool.at_once)
    # after an import of many labels, the other labelled tasks are fitted on when they are encoded
    rows = labelled[context.pool.encoded[labelled]]
    priors = distillation.load_priors(context.store, project_row, options.learner, context.pool.space, schema)
    snapshot = TrainingSnapshot(
        plugin=options.learner,
        space=context.pool.space,
        labels=schema.labels,
        multiple=schema.multiple,
        tasks=context.pool.tasks[rows],
        texts=context.pool.keys_of(rows),
        targets=labels.targets[np.isin(labels.tasks, context.pool.tasks[rows], assume_unique=True)],
        prior=priors.name,
    )
    if project_row.pinned is not None or (serving is not None and serving.snapshot.same(snapshot)):
        return None, None
    judges = context.pool.is_not_generated(snapshot.tasks) & ~priors.is_distilled(snapshot.texts)
    return fitted_model.fit_model(snapshot, context.pool.vectors_at(rows), serving, number, priors.tensors, judges)


def _assess(
    context: RoundContext,
    project_row: ProjectState,
    serving: FittedModel | None,
    candidate: FittedModel | None,
    fit: Fit | None,
    n_labelled: int,
) -> tuple[FittedModel | None, Estimate | None, str]:
    """The learner that serves in the new version, its accuracy, and the reason of the promotion gate."""
    if candidate is None or fit is None:
        if n_labelled == 0 and project_row.pinned is None:
            return None, None, "no labels are left: drafts come from the teacher" if serving else ""
        return serving, _stored_accuracy(context, project_row, serving), ""
    snapshot = candidate.snapshot
    audited = np.array(context.store.versions.audited(context.project), np.int64)
    is_real = context.pool.is_not_generated(snapshot.tasks)
    fit, tasks, targets = fit.of(is_real), snapshot.tasks[is_real], snapshot.targets[is_real]
    decision = decide_promotion(fit, targets, snapshot.multiple, np.isin(tasks, audited))
    if not decision.promote:
        return serving, _stored_accuracy(context, project_row, serving), decision.reason
    accuracy = audit_sample.estimate_accuracy(fit.held_out, targets, tasks, audited, snapshot.multiple)
    return candidate, accuracy, decision.reason


def _stored_accuracy(context: RoundContext, project_row: ProjectState, learner: FittedModel | None) -> Estimate | None:
    """The accuracy of a learner that the version which fitted it has. All versions that it serves have the same."""
    fitting_version = context.store.versions.get(context.project, learner.number) if learner else None
    version = fitting_version or _serving_version(context, project_row)
    return version.accuracy if version else None


def _changed_labels(serving: FittedModel | None, schema: TaskSchema) -> str:
    """A remark on labels that were added or removed since the serving learner was fitted, "" if none were."""
    if serving is None or set(serving.snapshot.labels) == set(schema.labels):
        return ""
    added = [label for label in schema.labels if label not in serving.snapshot.labels]
    removed = [label for label in serving.snapshot.labels if label not in schema.labels]
    changes = [f"{change} {', '.join(labels)}" for change, labels in (("added", added), ("removed", removed)) if labels]
    return f"labels changed: {'; '.join(changes)}"


def _switch(
    context: RoundContext,
    project_row: ProjectState,
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
        _undo_switch(context, project_row)
        raise
    return rest


def _undo_switch(context: RoundContext, project_row: ProjectState) -> None:
    """Undoes the switch of a worker that lost its lease between the check of the lease and the switch. If the project
    was disconnected meanwhile, it gets back the model version that it had before `connect`; else it is published
    again."""
    current_row = context.store.projects.get(context.project)
    is_connected = current_row is not None and current_row.is_connected
    if project_row.is_connected and not is_connected:
        restore_model_version(context.client, context.project, project_row.connection or {})
    else:
        context.store.publications.request(context.project)
        context.store.jobs.request(context.project)


def _complete(
    context: RoundContext, publisher: Publisher, version: ModelVersion, rest: Sequence[Prediction], fingerprint: str,
    republish: int,
) -> None:  # fmt: skip
    """Publishes the rest of the queue. Stores the fingerprint if all rows are published: a queue that was interrupted
    is published again."""
    n_planned = publisher.written + len(rest)
    if publisher.publish_rest(rest, context.newer_round_requested):
        context.store.publications.settle(context.project, fingerprint, republish, context.lease)
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
        context.store.publications.measure(context.project, publisher.timings.bulk, publisher.timings.single)


def _fingerprint(
    project_row: ProjectState,
    options: ProjectSettings,
    label_snapshot: LabelSnapshot,
    pool: ProjectPool,
    teacher_labels: TeacherLabels | None,
) -> str:
    """A hash of everything that a queue is made from: the queue changes only if the hash changes."""
    n_encoded = int(pool.encoded.sum())
    prior = (project_row.prior or {}).get("sha256", "") if len(label_snapshot.aggregated.tasks) >= MIN_TARGETS else ""
    parts = {
        "config": project_row.label_config,
        "options": options.model_dump(),
        "pinned": project_row.pinned,
        "tasks": project_row.tasks_revision,
        # the queue changes when the number of encoded tasks has doubled, and when all tasks are encoded
        "space": pool.space,
        "encoded": "all" if not pool.missing.any() else n_encoded.bit_length(),
        "prior": prior,
        "recalled": teacher_labels.digest if teacher_labels else "",
        "answers": label_snapshot.digest,
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
