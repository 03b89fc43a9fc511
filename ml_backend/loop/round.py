"""One round, top to bottom: reconcile -> encode -> fit -> assess -> rank -> publish.

The data goes one way. What a stage needs from outside comes from the store, what it found goes down to the next one.
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
from ml_backend.core.exceptions import ApprenticeError, LeaseLostError, RequestRefusedError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import Estimate, Fit, ModelVersion, Prediction, TaskSchema
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.gate_test import judge
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
from ml_backend.monitoring.monitor import fall_back
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Lease, ProjectRecord, RoundRecord, Store, now
from ml_backend.teacher import distillation
from ml_backend.teacher.teacher_labels import TeacherLabels, recall

EXPLORE_EVERY = 10  # versions: how often the way to publish that seems slower is tried


@dataclass(frozen=True)
class RoundContext:
    """What one round works with.

    aggregator  follows the project's labels from round to round
    guard       raises if the lease was lost: nothing may be written to Label Studio after that
    superseded  whether a newer round, or another project's, is wanted; waits up to so many seconds for that
    lease       under which versions are stored; None where nobody else works on the project
    """

    settings: Settings
    store: Store
    client: LabelStudioClient
    project: int
    pool: ProjectPool
    aggregator: LabelAggregator
    guard: Callable[[], None]
    superseded: Callable[[float], bool]
    lease: Lease | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage. None begins without the right to publish: a stop is heeded, and a worker that was overtaken
        writes nothing under a number that is another's by now."""
        self.guard()
        begin = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round(time.monotonic() - begin, 4)


def run_round(work: RoundContext) -> RoundRecord | None:
    """Learns from all that is known and publishes the new queue; None if nothing has changed since the last one.

    Raises ApprenticeError, and then the earlier version goes on serving.
    """
    started, store, project = now(), work.store, work.project
    with work.stage("reconcile"):
        reconcile(work.client, store, project, work.settings.reconcile_seconds, work.guard, work.pool.sketch_ahead)
    record = store.projects.ensure(project)
    options, _ = work.settings.for_project(record.extra_params)
    schema = read_schema(record.label_config, record.choices)

    with work.stage("encode"):
        record, odd = feature_space.update_space(store, work.settings, record, schema, options)
        encoder = feature_space.encoder_of(work.settings, record)
        options, moved = fall_back(options.of_form(feature_space.form(encoder)), record.watch)
        work.pool.use(encoder)
        work.pool.refresh(record.tasks_revision)
        labels = work.aggregator.refresh(schema)
        answers = labels.answers.but_for(work.pool.tasks[work.pool.unreadable])
        serving, problem = fitted_model.load_best(store, _serving_version(work, record), work.pool.space)
        recalled = _recalled(work, options, schema, answers)
        unchanged = _fingerprint(record, options, labels, work.pool, recalled) == record.fingerprint
        active = store.versions.active(project)
        # without an active version, or with another learner than the active one has, there is something to mend
        if unchanged and active is not None and active.learner == (serving.number if serving else None):
            project_stats.update(store, project, schema, work.pool, work.aggregator, serving, recalled, work.lease)
            return None

    number = store.versions.next_number(project)
    # never a name that Label Studio has seen, not even from another store
    name = f"apprentice-{number}-{uuid.uuid4().hex[:4]}"
    with work.stage("fit"):
        candidate, fit = _fit(work, record, schema, options, answers, serving, number)

    with work.stage("assess"):
        learner, accuracy, reason = _assess(work, record, serving, candidate, fit, len(answers.tasks))

    with work.stage("rank"):
        records = feature_space.records_of(work.settings, record)
        basis = RankingContext(
            work.settings, options, schema, answers, learner, project, number, name, recalled, records
        )
        queue = rank(store, work.pool, basis)

    with work.stage("publish"):
        version = ModelVersion(
            project=project,
            number=number,
            name=name,
            learner=learner.number if learner else None,
            labelled=len(answers.tasks),
            accuracy=accuracy,
            created_at=now(),
            note="; ".join(filter(None, [odd, moved, problem, _changed_labels(serving, schema), reason])),
            acquisition=options.acquisition,
        )
        artifact = fitted_model.save(store, project, learner) if learner is not None and learner is candidate else None
        try:
            store.versions.add(version, artifact, len(queue), work.lease)
        except ApprenticeError:  # another worker has taken over: what nobody refers to would stay for ever
            if artifact:
                store.artifacts.remove(artifact[0])
            raise
        fingerprint = _fingerprint(record, options, labels, work.pool, recalled)  # again: ranking may have encoded more
        pace, explores = PublishTimings(**(record.pace or {})), number % EXPLORE_EVERY == 0
        publisher = Publisher(work.client, project, schema, name, work.guard, pace, explores)
        with _measured(work, publisher):
            rest = _switch(work, record, publisher, version, queue)
            # before the rest, which the next answer may cut short
            project_stats.update(store, project, schema, work.pool, work.aggregator, learner, recalled, work.lease)
            _complete(work, publisher, version, rest, fingerprint, record.republish)
    return RoundRecord(version.name, started, now(), work.stages)


def _recalled(
    work: RoundContext, options: ProjectSettings, schema: TaskSchema, answers: AggregatedLabels
) -> TeacherLabels | None:
    """What the teacher has said so far; None if there is none to be asked."""
    teacher = registry.teacher(options.teacher, work.settings.teacher_options(options))
    return recall(work.store, teacher.name, schema, work.pool, work.project, answers) if teacher else None


def _serving_version(work: RoundContext, record: ProjectRecord) -> ModelVersion | None:
    if record.pinned is not None:
        return work.store.versions.get(work.project, record.pinned)
    return work.store.versions.active(work.project)


def _fit(
    work: RoundContext,
    record: ProjectRecord,
    schema: TaskSchema,
    options: ProjectSettings,
    answers: AggregatedLabels,
    serving: FittedModel | None,
    number: int,
) -> tuple[FittedModel, Fit] | tuple[None, None]:
    """A new learner, unless it would be the same again, there is nothing to tell apart, or a rollback holds."""
    labelled = work.pool.rows_of(answers.tasks)
    work.pool.encode_missing(labelled, work.pool.at_once)
    rows = labelled[work.pool.encoded[labelled]]  # after an import of many labels, the others come as they are encoded
    priors = distillation.load(work.store, record, options.learner, work.pool.space, schema)
    lesson = TrainingSnapshot(
        plugin=options.learner,
        space=work.pool.space,
        labels=schema.labels,
        multiple=schema.multiple,
        tasks=work.pool.tasks[rows],
        texts=work.pool.keys_of(rows),
        targets=answers.targets[np.isin(answers.tasks, work.pool.tasks[rows], assume_unique=True)],
        prior=priors.name,
    )
    if record.pinned is not None or (serving is not None and serving.lesson.same(lesson)):
        return None, None
    judges = work.pool.real(lesson.tasks) & ~priors.taught_among(lesson.texts)
    return fitted_model.learn(lesson, work.pool.vectors_at(rows), serving, number, priors.tensors, judges)


def _assess(
    work: RoundContext,
    record: ProjectRecord,
    serving: FittedModel | None,
    candidate: FittedModel | None,
    fit: Fit | None,
    n: int,
) -> tuple[FittedModel | None, Estimate | None, str]:
    """Which learner serves from now on, given n human labels, how accurate it is, and why it was chosen."""
    if candidate is None or fit is None:
        if n == 0 and record.pinned is None:
            return None, None, "no labels are left: drafts come from the teacher" if serving else ""
        return serving, _figure_of(work, record, serving), ""
    lesson = candidate.lesson
    audited = np.array(work.store.versions.audited(work.project), np.int64)
    real = work.pool.real(lesson.tasks)
    fit, tasks, targets = fit.of(real), lesson.tasks[real], lesson.targets[real]
    verdict = judge(fit, targets, lesson.multiple, np.isin(tasks, audited))
    if not verdict.promote:
        return serving, _figure_of(work, record, serving), verdict.reason
    return candidate, audit_sample.accuracy(fit.held_out, targets, tasks, audited, lesson.multiple), verdict.reason


def _figure_of(work: RoundContext, record: ProjectRecord, learner: FittedModel | None) -> Estimate | None:
    """The accuracy of a learner as the version that made it has it: it is the same in all versions that serve it."""
    own = work.store.versions.get(work.project, learner.number) if learner else None
    version = own or _serving_version(work, record)
    return version.accuracy if version else None


def _changed_labels(serving: FittedModel | None, schema: TaskSchema) -> str:
    """What the project's owner did to the labels since the serving learner was fitted, "" if nothing."""
    if serving is None or set(serving.lesson.labels) == set(schema.labels):
        return ""
    added = [label for label in schema.labels if label not in serving.lesson.labels]
    removed = [label for label in serving.lesson.labels if label not in schema.labels]
    told = [f"{what} {', '.join(labels)}" for what, labels in (("added", added), ("removed", removed)) if labels]
    return f"labels changed: {'; '.join(told)}"


def _switch(
    work: RoundContext, record: ProjectRecord, publisher: Publisher, version: ModelVersion, queue: Sequence[Prediction]
) -> Sequence[Prediction]:
    """Head of the queue, then the version serves; returns the rest. Without tasks left to label the version serves
    /predict alone."""
    if not queue:
        work.store.versions.activate(work.project, version.number, work.lease)
        return queue
    rest = publisher.head(queue)
    try:
        work.guard()
        # not before the head: annotators went on seeing earlier drafts
        work.store.publications.switch(version, queue, work.lease)
    except LeaseLostError:
        _undo_switch(work, record)
        raise
    return rest


def _undo_switch(work: RoundContext, record: ProjectRecord) -> None:
    """Mends what a worker did that was held between the check of its lease and the switch. A project that was
    disconnected meanwhile serves what it served before `connect`; any other one is published again."""
    project = work.store.projects.get(work.project)
    is_connected = project is not None and project.is_connected
    if record.is_connected and not is_connected:
        restore_model_version(work.client, work.project, record.connection or {})
    else:
        work.store.publications.request(work.project)
        work.store.jobs.request(work.project)


def _complete(
    work: RoundContext, publisher: Publisher, version: ModelVersion, rest: Sequence[Prediction], fingerprint: str,
    republish: int,
) -> None:  # fmt: skip
    """The rest of the queue. The fingerprint is kept only when all rows stand: one that was cut short is published
    again."""
    planned = publisher.written + len(rest)
    if publisher.rest(rest, work.superseded):
        work.store.publications.settle(work.project, fingerprint, republish, work.lease)
    if publisher.written != planned:
        work.store.versions.set_rows(work.project, version.number, publisher.written)


@contextmanager
def _measured(work: RoundContext, publisher: Publisher) -> Iterator[None]:
    """Keeps the measured pace, also after a failure. If Label Studio refuses a row, the project is read anew: a task or
    a label must have gone unnoticed."""
    try:
        yield
    except RequestRefusedError:
        work.store.synchronisation.look_again(work.project)
        raise
    finally:
        work.store.publications.measure(work.project, publisher.pace.bulk, publisher.pace.single)


def _fingerprint(
    record: ProjectRecord,
    options: ProjectSettings,
    labels: LabelSnapshot,
    pool: ProjectPool,
    recalled: TeacherLabels | None,
) -> str:
    """Of everything that a queue is made from: if it has not changed, neither has the queue."""
    encoded = int(pool.encoded.sum())
    parts = {
        "config": record.label_config,
        "options": options.model_dump(),
        "pinned": record.pinned,
        "tasks": record.tasks_revision,
        # the queue improves at every doubling of the encoded part, and when all is encoded
        "space": pool.space,
        "encoded": "all" if not pool.missing.any() else encoded.bit_length(),
        "prior": (record.prior or {}).get("sha256", "") if len(labels.answers.tasks) >= MIN_TARGETS else "",
        "recalled": recalled.digest if recalled else "",
        "answers": labels.digest,
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
