"""Builds the queue of a round: tasks in their order, with drafts and reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Clustering, Ints, Mask, Pool, Selection
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import Draft, Prediction
from ml_backend.evaluation import audit_sample
from ml_backend.loop.context import RoundContext, RoundInputs
from ml_backend.loop.query_selection import select_queries
from ml_backend.model.pool_predictions import with_predictions
from ml_backend.model.pre_annotation import DraftedTasks, draft_origin, make_drafts
from ml_backend.model.project_model import ProjectModel, models_of
from ml_backend.model.training_sample import MAX_COMPARED_TEXTS
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.teacher.teacher_labels import TeacherLabels

MAX_COMPARED_TASKS = 20_000
"""Maximum number of free tasks that a query strategy selects from. If there are more, the strategy gets a random sample
of this size, another one after each annotation."""
MAX_QUEUE_SCORE = 0.5  # upper bound of the scores of the published queue; /predict gives higher scores


@dataclass(frozen=True, slots=True)
class RankingContext:
    """The input of a queue.

    labelled        (n,) the tasks with a label that can be learnt from, ascending
    annotated_or_skipped  (m,) the tasks with an annotation or a skip, ascending
    model           the models that serve in the version, None before there is one
    project         the id of the project
    number          the number of the version
    name            the name of the version
    teacher_labels  the labels of the teacher by control; none without a teacher that can be asked
    record_encoder  the encoder of records, None for a project of texts
    """

    settings: Settings
    options: ProjectSettings
    schema: ProjectSchema
    labelled: Ints
    annotated_or_skipped: Ints
    model: ProjectModel | None
    project: int
    number: int
    name: str
    teacher_labels: Mapping[str, TeacherLabels] = field(default_factory=dict)
    record_encoder: RecordEncoder | None = None

    @classmethod
    def of(
        cls, context: RoundContext, inputs: RoundInputs, model: ProjectModel | None, number: int, name: str
    ) -> RankingContext:
        """The input of the queue that version `number`, called `name`, publishes."""
        return cls(
            settings=context.settings,
            options=inputs.options,
            schema=inputs.schema,
            labelled=inputs.labelled,
            annotated_or_skipped=inputs.label_snapshot.annotated_or_skipped,
            model=model,
            project=context.project,
            number=number,
            name=name,
            teacher_labels=inputs.teacher_labels,
            record_encoder=inputs.record_encoder,
        )

    @property
    def seed(self) -> int:
        """A seed that depends on the project, the learners and the number of annotated tasks, so that a round that only
        has new drafts keeps the order of the queue. Another order would have another head, which the teacher would
        label, and its new drafts would cause another round."""
        learners = [model.number for model in models_of(self.model).values()] or [0]
        entropy = (self.project, *learners, len(self.annotated_or_skipped))
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def rank(store: Store, pool: ProjectPool, context: RankingContext) -> list[Prediction]:
    """At most `queue_size` predictions in serving order; empty if no task is left to label.

    Tasks without a text are left out: Label Studio serves tasks without a prediction after all tasks with one.
    """
    random = np.random.default_rng(context.seed)
    is_open = np.isin(pool.tasks, context.annotated_or_skipped, assume_unique=True, invert=True) & ~pool.without_text
    n_open = int(is_open.sum())
    is_audit_place = audit_sample.draw_audit_places(
        min(context.options.queue_size, n_open), context.options.audit_share, random
    )

    drawn_before = np.array(store.versions.audited(context.project), np.int64)
    waiting = drawn_before[np.isin(drawn_before, pool.tasks[is_open])]
    # if few other tasks are left, tasks that wait for the audit also take the places of the query strategy
    n_audit_places = max(int(is_audit_place.sum()), len(is_audit_place) - (n_open - len(waiting)))
    audited = audit_sample.draw_audit_tasks(waiting, pool.tasks[is_open & ~pool.synthetic], n_audit_places, random)
    store.versions.draw_audit(context.project, audited.tolist())

    free = is_open & ~np.isin(pool.tasks, np.concatenate([waiting, audited]))
    selected = _selected_tasks(store, pool, context, free, len(is_audit_place) - len(audited))
    without_draft: Iterator[tuple[int, dict[str, Draft], str]] = ((task, {}, "") for task in audited.tolist())
    queue = [
        entry
        for is_audit in is_audit_place
        if (entry := next(without_draft if is_audit else selected, None)) is not None
    ]
    queue += [*without_draft, *selected]  # tasks of one kind that were left because the other kind has too few
    return [
        Prediction(task, MAX_QUEUE_SCORE * position / len(queue), task_drafts, reason)
        for position, (task, task_drafts, reason) in enumerate(queue)
    ]


def _selected_tasks(
    store: Store, pool: ProjectPool, context: RankingContext, free: Mask, n: int
) -> Iterator[tuple[int, dict[str, Draft], str]]:
    """At most n tasks that the query strategy selects, with their drafts and reasons. `free`: a mask of the pool's rows
    that may be selected."""
    view = pool.view(free, with_learner=context.model is not None)
    clustering = pool.clusters(view, registry.clusterer())
    most = MAX_COMPARED_TEXTS if context.schema.input.reads_words else MAX_COMPARED_TASKS
    compared = _compared_rows(free[view.rows], most, context.seed)
    if compared is not None:
        view, clustering = view.subset(compared), clustering and clustering.take(compared)
    labelled = np.isin(pool.tasks[view.rows], context.labelled, assume_unique=True)
    query_pool = Pool(
        vectors=view.vectors,
        predictions=None,
        labelled=labelled,
        available=free[view.rows],
        clustering=clustering,
        nearest=pool.nearest(view, labelled),
        words=pool.word_counts(view.rows) if context.options.cost == "words" else None,
    )
    models = models_of(context.model)
    tasks: Ints = pool.tasks[view.rows]
    query_pool = with_predictions(
        query_pool,
        models,
        context.schema.controls,
        context.options,
        tasks,
        pool.texts(tasks),
    )
    if query_pool.errors is not None:  # generated texts are hard by design: their errors show no weakness
        query_pool = replace(query_pool, errors=np.where(pool.synthetic[view.rows], np.nan, query_pool.errors))
    field = context.options.group_by
    groups = pool.groups(field)[view.rows] if field and context.options.balance else None
    selection = select_queries(context.options, query_pool, groups, n, seed=context.seed)
    pool.encode_missing(view.rows[selection.rows], n)
    selection = selection.where(pool.encoded[view.rows[selection.rows]])  # without unusable rows
    tasks = tasks[selection.rows]
    texts, vectors = store.tasks.texts(context.project, tasks.tolist()), pool.encoded_vectors(view.rows[selection.rows])
    drafted = DraftedTasks(
        texts,
        vectors,
        teacher_predicted={control: labels.of(tasks) for control, labels in context.teacher_labels.items()},
        is_generated=pool.synthetic[view.rows[selection.rows]],
        words=None if (words := pool.words) is None else words(texts),
    )
    drafts = make_drafts(context.settings, context.schema, models, drafted, context.record_encoder)
    return iter([*zip(tasks.tolist(), drafts, _reasons(selection, drafts, clustering, context), strict=True)])


def _compared_rows(free: Mask, most: int, seed: int) -> Ints | None:
    """The rows, ascending, that the query strategy gets: all rows that are not free, and at most `most` free rows. None
    if these are all rows."""
    free_rows = np.flatnonzero(free)
    if len(free_rows) <= most:
        return None
    is_compared = ~free
    is_compared[np.random.default_rng(seed).choice(free_rows, most, replace=False)] = True
    return np.flatnonzero(is_compared)


def _reasons(
    selection: Selection, drafts: Sequence[Mapping[str, Draft]], clustering: Clustering | None, context: RankingContext
) -> Iterator[str]:
    """Yields a reason for each selected task: the drafts' authors and explanations, the cluster, the uncertainty, and
    the version."""
    rows, uncertainties = selection.rows.tolist(), selection.uncertainty.tolist()
    for row, uncertainty, task_drafts in zip(rows, uncertainties, drafts, strict=True):
        origin = draft_origin(task_drafts)
        cluster = "" if clustering is None else f"cluster {clustering.assignment[row] + 1}"
        measure = "no model yet" if math.isnan(uncertainty) else f"uncertainty {uncertainty:.2f}"
        yield f"{', '.join(filter(None, [origin, cluster, selection.ground, measure]))} ({context.name})"
