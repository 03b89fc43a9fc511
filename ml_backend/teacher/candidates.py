"""What the teacher is asked next: the queue's head, then for cues, once, then tasks that the learner is distilled from.

It works ahead of the annotators and never on the audit slice, whose answers are to be influenced by nobody.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import Floats, Ints, Pool, TaskSchema
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.training_sample import MOST_FITTED, random_rows
from ml_backend.pool.feature_space import descriptions as descriptions_of_fields
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher import few_shot_selection, prompts
from ml_backend.teacher.descriptions import feature_scores
from ml_backend.teacher.descriptions.label_descriptions import descriptions
from ml_backend.teacher.project_snapshot import ProjectSnapshot

PORTION = 32  # tasks chosen at a time for distillation: the queue's head moves on meanwhile
SHOWN, RECORDS = 30, 3  # tasks that a teacher sees when it is asked for cues, or what fields say
Asked = list[tuple[Question, bytes | None]]


def cues(store: Store, sight: ProjectSnapshot, teacher: str) -> Asked:
    """The question for cues, or of records those for what their fields say, as long as nobody has answered them or
    written something by hand."""
    record, pool, schema = sight.record, sight.pool, sight.schema
    if (record.cues is not None and not schema.is_record) or not len(pool.tasks):
        return []
    random = np.random.default_rng(record.id)  # the same tasks whenever it is asked
    tasks = np.sort(random.choice(pool.tasks, min(SHOWN, len(pool.tasks)), replace=False))
    texts = [text for text in store.tasks.texts(record.id, tasks.tolist()) if text]
    if schema.is_record:
        if sight.records is None:
            return []
        told = descriptions_of_fields(sight.options, record.features)
        asked = feature_scores.asked(record, sight.records, schema, told, texts[:RECORDS], teacher)
    else:
        asked = [prompts.describe(schema, texts, teacher)]
    known = store.questions.answers(record.id, [each.id for each in asked])
    return [(each, None) for each in asked if each.id not in known]


def head(store: Store, record: ProjectRecord, options: ProjectSettings) -> Ints:
    """The tasks at the published queue's head that are shown with a draft."""
    if not record.published:
        return np.empty(0, np.int64)
    shown = store.shown.of(record.id, record.published)
    return np.array([each.task for each in shown if each.author is not None][: options.teacher_ahead], np.int64)


def room(
    store: Store, options: ProjectSettings, schema: TaskSchema, project: int, teacher: str
) -> tuple[int, list[bytes]]:
    """How many labels are still to be given for there to be `teacher_labels`, and the content keys of the tasks that
    have theirs: given for the labels that there are now. What waits for a batch with these labels is as good as given;
    what another teacher did not answer is asked again."""
    questions = store.questions
    known = questions.given(project, teacher).keys_for(schema.labels)
    if options.teacher == registry.BY_FILE:
        known |= questions.keys_waiting(project, teacher, schema.labels, schema.multiple)
    return options.teacher_labels - len(known), list(known)


def further(
    pool: ProjectPool, options: ProjectSettings, learner: FittedModel | None, schema: TaskSchema, known: list[bytes],
    apart: Ints, touched: Ints, left: int,
) -> Ints:  # fmt: skip
    """The next tasks for the teacher to label, by a strategy of its own, of `left` at most.

    known    content keys of those that it has labelled: they count as labelled here, too
    apart    tasks that it is not asked about; `touched`: those with an answer or a skip
    """
    view = pool.encoded_view()
    if not len(view.rows):
        return np.empty(0, np.int64)
    mine, _ = pool.rows_with(known)
    tasks = pool.tasks[view.rows]
    labelled = np.isin(tasks, touched) | np.isin(view.rows, mine)
    seen = Pool(
        vectors=view.vectors,
        probabilities=learner.predict(schema, view.vectors) if learner else None,
        labelled=labelled,
        available=~(labelled | pool.synthetic[view.rows] | pool.without_text[view.rows] | np.isin(tasks, apart)),
        multiple=schema.multiple,
    )
    strategy = registry.acquisition(options.teacher_acquisition)
    return np.asarray(tasks[strategy.select(seen, min(left, PORTION), seed=int(labelled.sum())).rows])


def label(
    store: Store, pool: ProjectPool, record: ProjectRecord, schema: TaskSchema, learner: FittedModel | None,
    teacher: str, tasks: Ints,
) -> Asked:  # fmt: skip
    """A question for each of some tasks that has no answer yet, with examples from the annotators' own labels if it is
    encoded and there is a learner: what was said with answers in sight is a draft, and never distilled. Not of a
    synthetic one: the teacher has labelled it before it became a task."""
    tasks = tasks[pool.real(tasks)]
    told = descriptions(record.cues, schema)
    texts = store.tasks.texts(record.id, tasks.tolist())
    rows = pool.rows_of(tasks)
    if len(rows) != len(tasks):  # a task went meanwhile: the next look sees it
        return []
    if learner is not None and (learner.lesson.labels, learner.lesson.multiple) != (schema.labels, schema.multiple):
        learner = None  # its answers are not those that may be given now
    keyed = [(row, pool.keys_of(rows[n : n + 1]), text) for n, (row, text) in enumerate(zip(rows, texts, strict=True))]
    asked = {
        int(row): (prompts.label(schema, key, text, teacher, told), key) for row, key, text in keyed if text.strip()
    }
    known = store.questions.answers(record.id, [each.id for each, _ in asked.values()])
    open_ = {row: pair for row, pair in asked.items() if pair[0].id not in known}
    there = np.array([row for row in open_ if pool.encoded[row]], np.int64)
    shown = dict(
        zip(there.tolist(), labelled_examples(store, pool, record.id, learner, pool.ensure(there)), strict=True)
    )
    return [
        (replace(each, examples=prompts.as_examples(schema, shown.get(row, []))), key)
        for row, (each, key) in open_.items()
    ]


def labelled_examples(
    store: Store, pool: ProjectPool, project: int, learner: FittedModel | None, asked: Floats
) -> list[list[tuple[str, list[str]]]]:
    """For each of the texts with vectors `asked` (n, d), others with the annotators' labels, from what a learner has
    learnt; nothing without one. None of the audit slice, which is to be influenced by nobody."""
    if learner is None:
        return [[] for _ in asked]
    lesson = learner.lesson
    certain = (lesson.targets.max(axis=1) == 1.0) | lesson.multiple  # no tie between annotators
    certain &= ~np.isin(lesson.tasks, np.array(store.versions.audited(project), np.int64))
    theirs = pool.rows_of(lesson.tasks)
    usable = np.flatnonzero(certain & np.isin(lesson.tasks, pool.tasks))
    if len(theirs) != len(lesson.tasks) or not len(usable):
        return [[] for _ in asked]
    usable = usable[random_rows(lesson.tasks[usable], MOST_FITTED)]
    tasks, answers = lesson.tasks[usable], lesson.targets[usable] > 0.5
    if not pool.encoded[theirs[usable]].all():
        return [[] for _ in asked]
    vectors, errors = pool.ensure(theirs[usable]), learner.errors(tasks)
    names = np.array(lesson.labels)
    found = [few_shot_selection.choose(vector, vectors, errors) for vector in asked]
    rows = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    texts = dict(zip(rows.tolist(), store.tasks.texts(project, tasks[rows].tolist()), strict=True))
    return [[(texts[row], names[answers[row]].tolist()) for row in chosen.tolist()] for chosen in found]
