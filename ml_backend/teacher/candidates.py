"""Chooses the next questions for the teacher: labels of the tasks at the queue's head, then label descriptions or field
scores, then labels of tasks for distillation.

The questions run ahead of the annotators. Tasks of the audit sample are never asked about, because no draft may
influence their annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Mask, Pool
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import LabelValue
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.pool_predictions import with_predictions
from ml_backend.model.training_sample import MAX_COMPARED_TEXTS, MAX_FITTED_TASKS, random_rows
from ml_backend.pool.feature_space import field_descriptions
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher import few_shot_selection, prompts
from ml_backend.teacher.context_limit import context_tokens, with_fitting_examples
from ml_backend.teacher.descriptions import description_prompts, feature_scores
from ml_backend.teacher.descriptions.label_descriptions import descriptions as label_descriptions
from ml_backend.teacher.loaded_project import LoadedProject

MAX_TASKS_PER_SELECTION = 32
"""Number of tasks that are chosen at a time for distillation: the queue's head changes while they are asked about."""
MAX_EXAMPLE_TASKS, MAX_EXAMPLE_RECORDS = 30, 3  # tasks in a question for label descriptions; records in one for scores
QuestionsWithKeys = list[tuple[Question, bytes | None]]
"""Questions with the content keys of the tasks that they are about; None: the question is about no single task."""


def description_questions(store: Store, project: LoadedProject, teacher: str) -> QuestionsWithKeys:
    """The open questions for label descriptions, one for each control that has some, or those for field scores
    of records. Empty if people have written them by hand, or all are answered."""
    controls = project.schema.controls
    return [pair for control in controls for pair in _control_questions(store, project.with_control(control), teacher)]


def _control_questions(store: Store, project: LoadedProject, teacher: str) -> QuestionsWithKeys:
    project_row, pool, schema, control = project.project_row, project.pool, project.schema, project.control
    if not kind_of(control).describes_labels(control):
        return []
    if (project.label_descriptions is not None and not schema.input.is_record) or not len(pool.tasks):
        return []
    rng = np.random.default_rng(project_row.id)  # a fixed seed: the question has the same tasks each time
    tasks = np.sort(rng.choice(pool.tasks, min(MAX_EXAMPLE_TASKS, len(pool.tasks)), replace=False))
    texts = [text for text in store.tasks.texts(project_row.id, tasks.tolist()) if text]
    if schema.input.is_record:
        if project.record_encoder is None:
            return []
        descriptions = field_descriptions(project.options, project_row.field_overrides)
        questions = feature_scores.score_questions(
            project_row, project.record_encoder, control, descriptions, texts[:MAX_EXAMPLE_RECORDS], teacher
        )
    else:
        questions = [description_prompts.description_question(control, texts, teacher)]
    answers = store.questions.answers(project_row.id, [question.id for question in questions])
    return [(question, None) for question in questions if question.id not in answers]


def queue_head(store: Store, project_row: ProjectRow, options: ProjectSettings) -> Ints:
    """The ids of the first `teacher_ahead` tasks of the published queue that are shown with a draft."""
    if not project_row.published:
        return np.empty(0, np.int64)
    drafts = store.published_drafts.of(project_row.id, project_row.published)
    tasks = [published.task for published in drafts if published.drafts]
    return np.array(tasks[: options.teacher_ahead], np.int64)


@dataclass(frozen=True, slots=True)
class RemainingLabels:
    """The number of tasks that the teacher must still label, and the content keys of those that it has labelled, which
    count as labelled for its query strategy."""

    count: int
    labelled_keys: list[bytes]


def remaining_labels(
    store: Store, options: ProjectSettings, schema: ProjectSchema, project: int, teacher: str
) -> RemainingLabels:
    """What is left to reach the setting `teacher_labels`. A task is labelled if the teacher has given labels of all
    controls, with the present labels. Questions with the present labels that wait for a batch count as answered. The
    labels of other teachers do not count."""
    questions = store.questions
    asked = prompts.LabelPrompt(schema.controls).asked_controls
    keys = [questions.cached_replies(project, teacher, control).keys_for(control) for control in asked]
    labelled_keys = set.intersection(*keys) if keys else set()
    if options.teacher == registry.BATCH_TEACHER:
        prompt = prompts.LabelPrompt(schema.controls, named=schema.names_controls)
        labelled_keys |= questions.keys_waiting(project, teacher, prompt.reply_fields)
    return RemainingLabels(options.teacher_labels - len(labelled_keys), list(labelled_keys))


def tasks_to_distil(
    store: Store,
    project: LoadedProject,
    models: Mapping[str, FittedModel],
    remaining: RemainingLabels,
    excluded: Ints,
    annotated_or_skipped: Ints,
) -> Ints:
    """The ids of the next tasks to label for distillation, at most `remaining.count`, which the teacher's query
    strategy chooses.

    models                the learner of each control that has one
    excluded              ids of tasks that are not chosen
    annotated_or_skipped  ids of tasks with an annotation or a skip, which count as labelled
    """
    pool, schema = project.pool, project.schema
    view = pool.encoded_view()
    if not len(view.rows):
        return np.empty(0, np.int64)
    labelled_rows, _ = pool.rows_with(remaining.labelled_keys)
    is_labelled = np.isin(pool.tasks[view.rows], annotated_or_skipped) | np.isin(view.rows, labelled_rows)
    seed = int(is_labelled.sum())
    if schema.input.reads_words and len(view.rows) > MAX_COMPARED_TEXTS:
        compared = np.random.default_rng(seed).choice(len(view.rows), MAX_COMPARED_TEXTS, replace=False)
        kept = np.union1d(np.flatnonzero(is_labelled), compared)
        view, is_labelled = view.subset(kept), is_labelled[kept]
    tasks = pool.tasks[view.rows]
    is_excluded = pool.synthetic[view.rows] | pool.without_text[view.rows] | np.isin(tasks, excluded)
    strategy_pool = Pool(
        vectors=view.vectors,
        predictions=None,
        labelled=is_labelled,
        available=~(is_labelled | is_excluded),
    )
    texts = pool.texts(tasks)
    strategy_pool = with_predictions(strategy_pool, models, schema.controls, project.options, tasks, texts)
    strategy = registry.acquisition(project.options.teacher_acquisition)
    selection = strategy.select(strategy_pool, min(remaining.count, MAX_TASKS_PER_SELECTION), seed=seed)
    return np.asarray(tasks[selection.rows])


def label_questions(
    store: Store, project: LoadedProject, models: Mapping[str, FittedModel], teacher: str, tasks: Ints,
    control: ControlSchema | None = None,
) -> QuestionsWithKeys:  # fmt: skip
    """The unanswered questions for the labels of tasks, each for the labels of all controls. A question about an
    encoded task has few-shot examples from the annotators' labels that `models` were trained on. A teacher label that
    was given with examples is used as a draft and never distilled. Tasks that the teacher wrote are left out, because
    it labelled them before they became tasks.

    models   the learner of each control that has one
    control  the only control that is asked about, None for all
    """
    pool, project_row = project.pool, project.project_row
    controls = project.schema.controls if control is None else (control,)
    if not prompts.LabelPrompt(controls).asked_controls:
        return []
    tasks = tasks[pool.is_not_generated(tasks)]
    descriptions = {
        control.name: label_descriptions(project_row.label_descriptions.get(control.name), control)
        for control in controls
    }
    prompt = prompts.LabelPrompt(controls, descriptions, named=project.schema.names_controls)
    texts = store.tasks.texts(project_row.id, tasks.tolist())
    rows = pool.rows_of(tasks)
    if len(rows) != len(tasks):  # a task was deleted in the meantime; the next snapshot has no such task
        return []
    questions: dict[int, tuple[Question, bytes]] = {}
    for i, (row, text) in enumerate(zip(rows.tolist(), texts, strict=True)):
        if text.strip():
            key = pool.keys_of(rows[i : i + 1])
            questions[row] = prompts.label_question(prompt, key, text, teacher), key
    answers = store.questions.answers(project_row.id, [question.id for question, _ in questions.values()])
    unanswered = {row: pair for row, pair in questions.items() if pair[0].id not in answers}
    encoded_rows = np.array([row for row in unanswered if pool.encoded[row]], np.int64)
    current = {  # without learners that were trained on other labels
        control.name: model
        for control in controls
        if (model := models.get(control.name)) and model.snapshot.is_for(control)
    }
    examples = labelled_examples(store, project, current, np.asarray(pool.vectors_at(encoded_rows)))
    examples_of_row = dict(zip(encoded_rows.tolist(), examples, strict=True))
    tokens = context_tokens(project.options)
    out: QuestionsWithKeys = []
    for row, (question, key) in unanswered.items():
        with_examples = replace(question, examples=prompts.as_examples(prompt, examples_of_row.get(row, [])))
        out.append((with_fitting_examples(with_examples, tokens), key))
    return out


LabelledExample = tuple[str, Mapping[str, LabelValue]]
"""The text of a few-shot example and the annotators' values, by the name of the control."""


def labelled_examples(
    store: Store, loaded: LoadedProject, models: Mapping[str, FittedModel], vectors: Floats
) -> list[list[LabelledExample]]:
    """Few-shot examples for each of the texts with `vectors` (n, d): other texts with the annotators' labels, from the
    training data of `models`; none without a model. Tasks of the audit sample are left out, because they must not
    influence a draft. If values have parts, one of the examples has none, so that a teacher sees that there may be
    none."""
    no_examples: list[list[LabelledExample]] = [[] for _ in vectors]
    if not len(vectors) or not models:
        return no_examples
    pool, project = loaded.pool, loaded.project_row.id
    audited = np.array(store.versions.audited(project), np.int64)
    of_controls = [model.snapshot.tasks[_is_certain(model)] for model in models.values()]
    tasks = np.unique(np.concatenate(of_controls))
    tasks = tasks[~np.isin(tasks, audited) & np.isin(tasks, pool.tasks)]
    tasks = tasks[random_rows(tasks, MAX_FITTED_TASKS)]
    rows = pool.rows_of(tasks)
    if not len(tasks) or not pool.encoded[rows].all():
        return no_examples
    candidate_vectors = np.asarray(pool.vectors_at(rows))
    asked = [control for control in loaded.schema.controls if control.name in models]
    # where values have parts, a high error says more of the learner than of the annotators: it misses most parts
    error_rates = np.fmax.reduce(
        [
            np.full(len(tasks), np.nan, np.float32),
            *(models[control.name].errors(tasks, control) for control in asked if not kind_of(control).part_name),
        ]
    )
    without_parts = [
        tasks_without_parts(models[control.name].snapshot) for control in asked if kind_of(control).part_name
    ]
    is_wanted = np.isin(tasks, np.concatenate(without_parts)) if without_parts else None
    chosen = [
        few_shot_selection.choose_examples(vector, candidate_vectors, error_rates, is_wanted=is_wanted)
        for vector in vectors
    ]
    used = np.unique(np.concatenate(chosen))
    values_of_task: dict[int, dict[str, LabelValue]] = {int(task): {} for task in tasks[used]}
    for name, model in models.items():
        for task, value in _certain_values(model, tasks[used]).items():
            values_of_task[task][name] = value
    texts = dict(zip(used.tolist(), store.tasks.texts(project, tasks[used].tolist()), strict=True))
    return [[(texts[row], values_of_task[int(tasks[row])]) for row in selection.tolist()] for selection in chosen]


def tasks_without_parts(snapshot: TrainingSnapshot) -> Ints:
    """(m,) the tasks of a snapshot in which the annotators have marked nothing."""
    values = kind_of(snapshot.control).target_values(snapshot.control, snapshot.targets)
    return np.asarray(snapshot.tasks[np.array([not value for value in values], np.bool_)])


def _is_certain(model: FittedModel) -> Mask:
    """(n,) bool: the tasks of the model's snapshot on which the annotators are not evenly split."""
    snapshot = model.snapshot
    return ~kind_of(snapshot.control).are_tied(snapshot.control, snapshot.targets)


def _certain_values(model: FittedModel, tasks: Ints) -> dict[int, LabelValue]:
    """The value of each of `tasks` that a model was trained on, without tasks on which the annotators are evenly
    split."""
    snapshot = model.snapshot
    rows = np.flatnonzero(np.isin(snapshot.tasks, tasks) & _is_certain(model))
    values = kind_of(snapshot.control).target_values(snapshot.control, snapshot.targets[rows])
    return dict(zip(snapshot.tasks[rows].tolist(), values, strict=True))
