"""The queue of one round: which tasks, in which order, with which draft, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import Clustering, Draft, Ints, Mask, Prediction, Selection, TaskSchema
from ml_backend.evaluation import audit_sample
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.loop.query_selection import choose, pool_of
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.pre_annotation import because, draft
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.teacher.teacher_labels import TeacherLabels

MOST_COMPARED = 20_000
"""Free tasks that a query strategy chooses among. If there are more, so many are drawn at random, anew after each
answer."""
RANKED = 0.5  # scores below it are the published queue, above it what /predict adds on request


@dataclass(frozen=True, slots=True)
class RankingContext:
    """What a queue is made from: version `number` of `project`, the learner that serves it, if there is one, and what
    the teacher has said, if there is one to be asked; `records`: the encoder of a project of records."""

    settings: Settings
    options: ProjectSettings
    schema: TaskSchema
    answers: AggregatedLabels
    learner: FittedModel | None
    project: int
    number: int
    name: str
    recalled: TeacherLabels | None = None
    records: RecordEncoder | None = None

    @property
    def seed(self) -> int:
        """The same for the same learner and answers: a round that only has other drafts keeps the order of the queue.
        Another order would be another head for the teacher to draft, whose drafts would be another round."""
        what = (self.project, self.learner.number if self.learner else 0, len(self.answers.touched))
        return int(np.random.SeedSequence(what).generate_state(1)[0])


def rank(store: Store, pool: ProjectPool, basis: RankingContext) -> list[Prediction]:
    """At most `queue_size` predictions, the first to be served first; empty if nothing is left to label. A task without
    a text is none of them: Label Studio serves what has no prediction after all that has one."""
    random = np.random.default_rng(basis.seed)
    untouched = np.isin(pool.tasks, basis.answers.touched, assume_unique=True, invert=True) & ~pool.without_text
    slots = audit_sample.places(min(basis.options.queue_size, int(untouched.sum())), basis.options.audit_share, random)

    drawn = np.array(store.versions.audited(basis.project), np.int64)
    waiting = drawn[np.isin(drawn, pool.tasks[untouched])]
    others = int(untouched.sum()) - len(waiting)
    # towards the end only waiting tasks may be left: then they take the places that nobody else can
    places = max(int(slots.sum()), len(slots) - others)
    audited = audit_sample.draw(waiting, pool.tasks[untouched & ~pool.synthetic], places, random)
    store.versions.draw_audit(basis.project, audited.tolist())

    free = untouched & ~np.isin(pool.tasks, np.concatenate([waiting, audited]))
    ranked = _ranked(store, pool, basis, free, len(slots) - len(audited))
    blind = ((task, None, "") for task in audited.tolist())
    queue = [item for is_audit in slots if (item := next(blind if is_audit else ranked, None)) is not None]
    queue += [*blind, *ranked]  # where one kind had run out, the other has more
    return [
        Prediction(task, RANKED * place / len(queue), drafted, reason)
        for place, (task, drafted, reason) in enumerate(queue)
    ]


def _ranked(
    store: Store, pool: ProjectPool, basis: RankingContext, free: Mask, n: int
) -> Iterator[tuple[int, Draft | None, str]]:
    """The n tasks that acquisition wants next, with their drafts and reasons."""
    view = pool.view(free, with_learner=basis.learner is not None)
    clustering = pool.clusters(view, registry.clusterer())
    places = _compared(free[view.rows], basis.seed)
    if places is not None:
        view, clustering = view.subset(places), clustering and clustering.of(places)
    labelled = np.isin(pool.tasks[view.rows], basis.answers.tasks, assume_unique=True)
    seen = pool_of(
        basis.schema,
        basis.learner,
        pool.tasks[view.rows],
        view.vectors,
        labelled=labelled,
        free=free[view.rows],
        clustering=clustering,
        nearest=pool.nearest(view, labelled),
    )
    if seen.errors is not None:  # hard by design: no sign of where the learner is weak
        seen = replace(seen, errors=np.where(pool.synthetic[view.rows], np.nan, seen.errors))
    field = basis.options.group_by
    groups = pool.groups(field)[view.rows] if field and basis.options.balance else None
    selection = choose(basis.options, seen, groups, n, seed=basis.seed)
    pool.encode_missing(view.rows[selection.rows], n)
    selection = selection.where(pool.encoded[view.rows[selection.rows]])  # not those that turn out to be of no use
    tasks: Ints = pool.tasks[view.rows[selection.rows]]
    texts, vectors = store.tasks.texts(basis.project, tasks.tolist()), pool.ensure(view.rows[selection.rows])
    expected = basis.recalled.of(tasks) if basis.recalled else None
    own = pool.synthetic[view.rows[selection.rows]]
    drafts = draft(basis.settings, basis.schema, basis.learner, texts, vectors, expected, own, basis.records)
    return iter([*zip(tasks.tolist(), drafts, _reasons(selection, drafts, clustering, basis), strict=True)])


def _compared(free: Mask, seed: int) -> Ints | None:
    """The places, ascending, that the query strategy is shown: those of all tasks that are not free, and of at most
    `MOST_COMPARED` that are. None: all places."""
    places = np.flatnonzero(free)
    if len(places) <= MOST_COMPARED:
        return None
    shown = ~free
    shown[np.random.default_rng(seed).choice(places, MOST_COMPARED, replace=False)] = True
    return np.flatnonzero(shown)


def _reasons(
    selection: Selection, drafts: Sequence[Draft | None], clustering: Clustering | None, basis: RankingContext
) -> Iterator[str]:
    """A few words for the annotator: whose draft it is and what speaks for it, cluster, uncertainty, model version."""
    for row, uncertainty, each in zip(selection.rows.tolist(), selection.uncertainty.tolist(), drafts, strict=True):
        whose = f"{each.author}'s draft{because(each)}" if each else "no draft"
        where = "" if clustering is None else f"cluster {clustering.assignment[row] + 1}"
        unsure = "no model yet" if math.isnan(uncertainty) else f"uncertainty {uncertainty:.2f}"
        yield f"{', '.join(filter(None, [whose, where, selection.ground, unsure]))} ({basis.name})"
