"""The steps of a round of `apprentice evolve`: the questions of each step, and the evaluation of their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.teacher_types import MAX_TEXT_LENGTH, Answer
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.teacher import candidates, prompts
from ml_backend.teacher.candidates import QuestionsWithKeys
from ml_backend.teacher.context_limit import context_tokens, first_fitting, with_fitting_examples
from ml_backend.teacher.descriptions.label_descriptions import descriptions
from ml_backend.teacher.evolution import analysis_prompt
from ml_backend.teacher.evolution.confusions import QuotedAnswer
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis
from ml_backend.teacher.evolution.evolution_prompts import (
    MAX_MARKED_TEXT_LENGTH,
    ExampleText,
    ShownDrafts,
    WritingBrief,
    diagnosis_question,
    writing_question,
)
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, EvolutionRound, GeneratedText, text_vectors
from ml_backend.teacher.evolution.labelled_texts import REFUSAL
from ml_backend.teacher.evolution.shorter_prompts import (
    FEW_SHOT,
    brief_left_out,
    drafts_left_out,
    shorter_briefs,
    shorter_drafts,
)
from ml_backend.teacher.evolution.text_filter import allowed_lengths
from ml_backend.teacher.project_context import ProjectContext

MAX_QUOTED_MISTAKES = 30  # in the question for a diagnosis
EXAMPLE_COUNT = 8  # texts of the project in the question for texts, with labels if possible
UNLABELLED_EXAMPLE_COUNT = 5  # the same if values have parts, which are not marked in them
FEEDBACK_TEXTS, LATEST_FEEDBACK_TEXTS = 2, 6
"""Texts of each kind in the feedback: of every earlier round, and of the latest round."""


class Asked(NamedTuple):
    """The questions of a step.

    quoted    the ids of the annotated tasks that the questions quote with their labels
    left_out  see `EvolutionRound.left_out`
    """

    questions: QuestionsWithKeys
    quoted: tuple[int, ...]
    left_out: Mapping[str, int]


def diagnose(analysis: ErrorAnalysis, teacher: str, number: int, tokens: int) -> Asked:
    """The question for a diagnosis of the learner's mistakes in round `number`, which fits into a context of so many
    tokens."""
    figures, parts = analysis_prompt.error_analysis_lines(analysis), analysis.parts
    drafts = ShownDrafts(
        "", figures, _mistakes(analysis), analysis.right[: analysis_prompt.MAX_LISTED], MAX_TEXT_LENGTH
    )
    if parts:
        drafts = ShownDrafts(parts.part, figures, parts.wrong, parts.right, MAX_MARKED_TEXT_LENGTH)
    drafts = replace(drafts, is_bounded=tokens > 0)
    shown, question = first_fitting(
        shorter_drafts(drafts, len(analysis_prompt.slice_lines(analysis))),
        lambda shorter: diagnosis_question(shorter, teacher, number),
        tokens,
    )
    quoted = tuple(dict.fromkeys(draft.task for draft in (*shown.wrong, *shown.right)))
    return Asked([(question, None)], quoted, drafts_left_out(drafts, shown))


def _mistakes(analysis: ErrorAnalysis) -> list[QuotedAnswer]:
    """The mistakes that the question for a diagnosis quotes."""
    typical = (mistake for pair in analysis.pairs[: analysis_prompt.MAX_LISTED] for mistake in pair.typical)
    return [*typical, *analysis.single][:MAX_QUOTED_MISTAKES]


def diagnosed(answer: Answer, analysis: ErrorAnalysis) -> str:
    """The weaknesses in words: the teacher's diagnosis, or the error analysis if the teacher gave none."""
    if answer.content is None:
        return "\n".join(analysis_prompt.error_analysis_lines(analysis))
    patterns = (
        f"{', '.join(pattern['labels'])}: {pattern['weakness']} {pattern['advice']}"
        for pattern in answer.content["patterns"]
    )
    return "\n".join([answer.content["summary"], *patterns])


def write(
    context: ProjectContext, current: EvolutionRound, rounds: Sequence[EvolutionRound], learner: FittedModel,
    unquoted: Ints,
) -> Asked:  # fmt: skip
    """The question for texts. It quotes none of the tasks in `unquoted`."""
    rng = np.random.default_rng([context.project_row.id, current.number])
    part = kind_of(context.control).part_name
    labels_of_task = {} if part else _sample_by_label(learner.snapshot, context.pool, unquoted, rng)
    is_other = ~context.pool.synthetic & ~np.isin(context.pool.tasks, [*unquoted, *labels_of_task])
    n_examples = UNLABELLED_EXAMPLE_COUNT if part else EXAMPLE_COUNT
    others = rng.permutation(context.pool.tasks[is_other])[: n_examples - len(labels_of_task)]
    tasks = [*labels_of_task, *others.tolist()]
    texts = context.store.tasks.texts(context.project_row.id, tasks)
    examples = [
        ExampleText(task, text, " + ".join(labels_of_task.get(task, ())))
        for task, text in zip(tasks, texts, strict=True)
    ]
    empty_share = share_without_parts(learner.snapshot, context.pool) if part else 0.0
    tokens = context_tokens(context.options)
    brief = WritingBrief(
        current.weaknesses,
        examples,
        feedback(rounds),
        current.n,
        part=part,
        empty_share=empty_share,
        max_written_length=int(allowed_lengths(context)[1]) if tokens else None,
    )
    names = descriptions(context.label_descriptions, context.control)
    shown, question = first_fitting(
        shorter_briefs(brief),
        lambda shorter: writing_question(context.control, shorter, names, current.teacher, current.number),
        tokens,
    )
    quoted = tuple(example.task for example in shown.examples if example.label)
    return Asked([(question, None)], quoted, brief_left_out(brief, shown))


def share_without_parts(snapshot: TrainingSnapshot, pool: ProjectPool) -> float:
    """The share of the annotated tasks in which nothing is marked, without tasks that a teacher wrote."""
    tasks = snapshot.tasks[pool.is_not_generated(snapshot.tasks)]
    return float(np.isin(tasks, candidates.tasks_without_parts(snapshot)).mean()) if len(tasks) else 0.0


def _sample_by_label(
    snapshot: TrainingSnapshot, pool: ProjectPool, unquoted: Ints, rng: np.random.Generator
) -> dict[int, tuple[str, ...]]:
    """EXAMPLE_COUNT annotated tasks with their labels, drawn at random, with as many different labels as possible."""
    control, of_kind = snapshot.control, kind_of(snapshot.control)
    is_usable = (
        np.isin(snapshot.tasks, pool.tasks) & pool.is_not_generated(snapshot.tasks) & ~np.isin(snapshot.tasks, unquoted)
    )
    is_usable &= ~of_kind.are_tied(control, snapshot.targets)
    values, counts = of_kind.target_values(control, snapshot.targets), Counter[tuple[str, ...]]()
    drawn: list[tuple[int, int, tuple[str, ...]]] = []
    for row in rng.permutation(np.flatnonzero(is_usable)).tolist():
        labels = of_kind.in_words(control, values[row])
        if not labels:
            continue
        drawn.append((counts[labels], int(snapshot.tasks[row]), labels))
        counts[labels] += 1
    return {task: labels for _, task, labels in sorted(drawn, key=lambda draw: draw[0])[:EXAMPLE_COUNT]}


def feedback(rounds: Sequence[EvolutionRound]) -> str:
    """The learner's predictions for the texts of earlier rounds before it was trained on them, for hard and easy texts,
    with the mistakes first. The latest round comes last."""
    lines = []
    for round_ in rounds:
        (hard, hard_total), (easy, easy_total) = round_.score(HARD), round_.score(EASY)
        if not hard_total + easy_total:
            continue
        shown = LATEST_FEEDBACK_TEXTS if round_ is rounds[-1] else FEEDBACK_TEXTS
        lines.append(
            f"Round {round_.number}: it got {hard} of {hard_total} hard texts right and {easy} of {easy_total} easy "
            f"ones{_metrics(round_)}."
        )
        for kind in (HARD, EASY):
            texts = sorted((text for text in round_.texts if text.kind == kind), key=lambda text: text.right)
            lines += [f"  {kind}: {_outcome(text)}" for text in texts[:shown]]
    return "\n".join(lines)


def _metrics(round_: EvolutionRound) -> str:
    """The main metric of the texts of each kind, if values have parts."""
    values = " and ".join(f"{value:.2f} on the {kind} ones" for kind, value in round_.metrics.items())
    return f"; its {round_.metric} is {values}" if values else ""


def _outcome(text: GeneratedText) -> str:
    if text.errors:  # without what is marked, which would be left of a text that is deleted
        return f"{analysis_prompt.quoted_text(text.text)} wrong: {'; '.join(text.errors)}"
    if text.predicted is not None:
        return f"{analysis_prompt.quoted_text(text.text)} right"
    label, predicted = analysis_prompt.label_names(text.label), analysis_prompt.label_names(text.said)
    outcome = f"right: {label}" if text.right else f"wrong: it is {label}, not {predicted}"
    return f"{analysis_prompt.quoted_text(text.text)} {outcome}"


def label(context: ProjectContext, learner: FittedModel | None, texts: Sequence[GeneratedText], teacher: str) -> Asked:
    """The questions for the label of each text, which the teacher may refuse to give. The questions have few-shot
    examples from the annotators' labels that `learner` was trained on; without a learner they have none, as is required
    of labels that are distilled."""
    control, vectors = context.control, text_vectors(context.store, context.encoder, context.project_row.id, texts)
    models = {control.name: learner} if learner else {}
    prompt = prompts.LabelPrompt(
        [control],
        {control.name: descriptions(context.label_descriptions, control)},
        REFUSAL,
        named=context.schema.names_controls,
    )
    examples = candidates.labelled_examples(context.store, context, models, vectors)
    questions: QuestionsWithKeys = []
    left_out = 0
    for text, pairs in zip(texts, examples, strict=True):
        question = prompts.label_question(prompt, text.key, text.text, teacher)
        question = replace(question, examples=prompts.as_examples(prompt, pairs))
        question = with_fitting_examples(question, context_tokens(context.options))
        questions.append((question, text.key))
        left_out += len(pairs) - len(question.examples)
    return Asked(questions, (), {FEW_SHOT: left_out})


def for_annotators(texts: Sequence[GeneratedText], n: int) -> list[GeneratedText]:
    """At most n texts, hard and easy ones in turn, those first that the learner predicts wrongly."""
    by_kind = [
        sorted((text for text in texts if text.kind == kind), key=lambda text: text.right) for kind in (HARD, EASY)
    ]
    return [text for pair in zip_longest(*by_kind) for text in pair if text is not None][:n]


def from_pool(
    context: ProjectContext, mistakes: Sequence[Sequence[int]], current: EvolutionRound, excluded: Ints
) -> QuestionsWithKeys:
    """The questions for the evolved control's labels of the pool's tasks that are nearest to the learner's mistakes.
    They take as many calls as a round that writes texts. Each kind of mistake gets tasks in proportion to the number of
    its mistakes.

    mistakes  the task ids of each kind of mistake
    excluded  ids of tasks that are not chosen; tasks that the teacher has labelled are not chosen either
    """
    store, pool, project = context.store, context.pool, context.project_row.id
    is_free = pool.encoded & ~pool.synthetic & ~np.isin(pool.tasks, excluded)
    replies = store.questions.cached_replies(project, current.teacher, context.control)
    labelled_rows, _ = pool.rows_with(replies.keys)
    is_free[labelled_rows] = False
    rows = np.flatnonzero(is_free)
    mistake_vectors = [pool.encoded_vectors(pool.rows_of(np.array(tasks, np.int64))) for tasks in mistakes]
    n = 2 * current.n + 2  # a diagnosis, the writing, and a label for each hard and each easy text
    chosen = rows[nearest(pool.encoded_vectors(rows), mistake_vectors, n)]
    return candidates.label_questions(store, context, {}, current.teacher, pool.tasks[chosen], context.control)


def nearest(pool: Floats, mistakes: Sequence[Floats], n: int) -> list[int]:
    """At most n rows of `pool` (m, d), for each kind of mistake the nearest to one of its mistakes. `mistakes`: the
    vectors (k, d) of the mistakes of each kind. Each kind gets rows in proportion to its k, by D'Hondt's method."""
    orders = [iter(np.argsort(-(pool @ kind.T).max(axis=1), kind="stable").tolist()) for kind in mistakes]
    allotted = [0] * len(mistakes)
    chosen: dict[int, None] = {}
    while mistakes and len(chosen) < min(n, len(pool)):
        kind = max(range(len(mistakes)), key=lambda i: len(mistakes[i]) / (allotted[i] + 1))
        chosen[next(row for row in orders[kind] if row not in chosen)] = None
        allotted[kind] += 1
    return list(chosen)
