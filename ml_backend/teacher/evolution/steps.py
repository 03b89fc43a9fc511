"""What the steps of a round of `apprentice evolve` ask, and what they make of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from ml_backend.core.teacher_types import Answer, Question
from ml_backend.core.types import Floats, Ints, TaskSchema
from ml_backend.evaluation.metrics import correct, decide
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Reply
from ml_backend.teacher import candidates, prompts
from ml_backend.teacher.candidates import Asked
from ml_backend.teacher.descriptions.label_descriptions import descriptions
from ml_backend.teacher.evolution import report_text
from ml_backend.teacher.evolution.confusions import NOTHING, QuotedAnswer
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis
from ml_backend.teacher.evolution.generated_texts import (
    EASY,
    HARD,
    POOL,
    REFUSED,
    UNSURE,
    UNUSABLE,
    DroppedText,
    EvolutionRound,
    GeneratedText,
    vectors,
)
from ml_backend.teacher.project_context import ProjectContext
from ml_backend.teacher.teacher_labels import shares

SURE = 0.6
"""Least probability of what the teacher says of its own text; of each decision, if there are several."""
REFUSAL = "none of them, or ambiguous"
MISTAKES = 30  # that it sees
LIKE = 8  # of the project's own texts that the teacher sees
REVIEWED, LATEST = 2, 6
"""Texts of each kind that are shown again, of every earlier round and of the latest."""


def diagnose(report: ErrorAnalysis, teacher: str, number: int) -> Question:
    wrong = [(each.text, " + ".join(each.label), " + ".join(each.said)) for each in _quoted_mistakes(report)]
    right = [(each.text, " + ".join(each.label)) for each in report.right[: report_text.MOST]]
    return prompts.diagnose("\n".join(report_text.lines(report)), wrong, right, teacher, number)


def quoted_tasks(report: ErrorAnalysis) -> tuple[int, ...]:
    """The answered tasks whose text and label stand in the question for a diagnosis."""
    return tuple(dict.fromkeys(each.task for each in [*_quoted_mistakes(report), *report.right[: report_text.MOST]]))


def _quoted_mistakes(report: ErrorAnalysis) -> list[QuotedAnswer]:
    typical = (each for pair in report.pairs[: report_text.MOST] for each in pair.typical)
    return [*typical, *report.single][:MISTAKES]


def diagnosed(answer: Answer, report: ErrorAnalysis) -> str:
    """The weaknesses in words: the teacher's, or the figures where it had none."""
    if answer.content is None:
        return "\n".join(report_text.lines(report))
    patterns = (
        f"{', '.join(each['labels'])}: {each['weakness']} {each['advice']}" for each in answer.content["patterns"]
    )
    return "\n".join([answer.content["summary"], *patterns])


def write(
    site: ProjectContext, one: EvolutionRound, rounds: Sequence[EvolutionRound], learner: FittedModel, unquoted: Ints
) -> tuple[Question, tuple[int, ...]]:
    """The question for texts, and the answered tasks that it quotes with their label: none of `unquoted`."""
    random = np.random.default_rng([site.record.id, one.number])
    answered = _of_each_label(learner.lesson, site.pool, unquoted, random)
    others = site.pool.tasks[~site.pool.synthetic & ~np.isin(site.pool.tasks, [*unquoted, *answered])]
    tasks = [*answered, *random.permutation(others)[: LIKE - len(answered)].tolist()]
    golds = [" + ".join(answered.get(task, ())) for task in tasks]
    like = list(zip(site.store.tasks.texts(site.record.id, tasks), golds, strict=True))
    told = descriptions(site.record.cues, site.schema)
    asked = prompts.write(site.schema, one.weaknesses, like, feedback(rounds), one.n, told, one.teacher, one.number)
    return asked, tuple(answered)


def _of_each_label(
    lesson: TrainingSnapshot, pool: ProjectPool, unquoted: Ints, random: np.random.Generator
) -> dict[int, tuple[str, ...]]:
    """LIKE answered tasks with their labels, drawn at random, as many as possible of different labels."""
    usable = np.isin(lesson.tasks, pool.tasks) & pool.real(lesson.tasks) & ~np.isin(lesson.tasks, unquoted)
    usable &= ((lesson.targets == 0) | (lesson.targets == 1)).all(axis=1) & lesson.targets.any(axis=1)
    names, seen = np.array(lesson.labels), Counter[tuple[str, ...]]()
    drawn: list[tuple[int, int, tuple[str, ...]]] = []
    for row in random.permutation(np.flatnonzero(usable)).tolist():
        labels = tuple(names[lesson.targets[row] == 1].tolist())
        drawn.append((seen[labels], int(lesson.tasks[row]), labels))
        seen[labels] += 1
    return {task: labels for _, task, labels in sorted(drawn, key=lambda each: each[0])[:LIKE]}


def feedback(rounds: Sequence[EvolutionRound]) -> str:
    """What the learner made of the texts of earlier rounds before it was taught them, hard and easy ones, the mistakes
    first; the latest round last."""
    told = []
    for one in rounds:
        (hard, of_hard), (easy, of_easy) = one.score(HARD), one.score(EASY)
        if not of_hard + of_easy:
            continue
        most = LATEST if one is rounds[-1] else REVIEWED
        told.append(
            f"Round {one.number}: it got {hard} of {of_hard} hard texts right and {easy} of {of_easy} easy ones."
        )
        for kind in (HARD, EASY):
            mine = sorted((text for text in one.texts if text.kind == kind), key=lambda text: text.right)
            told += [f"  {kind}: {_judged(text)}" for text in mine[:most]]
    return "\n".join(told)


def _judged(text: GeneratedText) -> str:
    said = (
        f"right: {_named(text.label)}" if text.right else f"wrong: it is {_named(text.label)}, not {_named(text.said)}"
    )
    return f"{report_text.cut(text.text)} {said}"


def _named(labels: Sequence[str]) -> str:
    return " + ".join(labels) or NOTHING


def label(site: ProjectContext, learner: FittedModel | None, texts: Sequence[GeneratedText], teacher: str) -> Asked:
    """A question for the label of each text, which may be refused, with examples from the annotators' own labels, that
    a learner has learnt; without one, as what is taught must be, with none."""
    told = descriptions(site.record.cues, site.schema)
    where = vectors(site.store, site.encoder, site.record.id, texts)
    shown = candidates.labelled_examples(site.store, site.pool, site.record.id, learner, where)
    return [
        (
            replace(
                prompts.label(site.schema, each.key, each.text, teacher, told, REFUSAL),
                examples=prompts.as_examples(site.schema, pairs),
            ),
            each.key,
        )
        for each, pairs in zip(texts, shown, strict=True)
    ]


def labelled(
    schema: TaskSchema, asked: Sequence[tuple[GeneratedText, Answer, Question]]
) -> tuple[list[GeneratedText], list[DroppedText]]:
    """The texts with the teacher's labels, and those that have none. Of its own texts it must be sure."""
    dropped: list[DroppedText] = []
    kept: list[GeneratedText] = []
    for each, answer, question in asked:
        if answer.content is None or answer.shares is None:
            dropped.append(DroppedText(UNUSABLE, each.text))
            continue
        said = dict(zip(question.labels, answer.shares.tolist(), strict=True))
        refused = said.pop(REFUSAL, 0.0)
        probabilities = shares(schema, [Reply(each.key, said)])
        chosen = decide(probabilities, schema.multiple)[0]
        if each.kind != POOL and (refused >= (0.5 if schema.multiple else max(said.values())) or not chosen.any()):
            dropped.append(DroppedText(REFUSED, each.text))
        elif each.kind != POOL and _least_sure(schema, said) < SURE:
            dropped.append(DroppedText(UNSURE, each.text))
        else:
            names = tuple(np.array(schema.labels)[chosen].tolist())
            kept.append(replace(each, label=names, shares={name: round(p, 6) for name, p in said.items()}))
    return kept, dropped


def examined(site: ProjectContext, learner: FittedModel, texts: Sequence[GeneratedText]) -> tuple[GeneratedText, ...]:
    """What the learner says of labelled texts, and whether that is right."""
    if not texts:
        return ()
    schema = site.schema
    found = learner.predict(schema, vectors(site.store, site.encoder, site.record.id, texts))
    targets = np.array([[name in each.label for name in schema.labels] for each in texts], np.float32)
    right, names = correct(found, targets, schema.multiple), np.array(schema.labels)
    return tuple(
        replace(each, said=tuple(names[said].tolist()), right=bool(is_right))
        for each, said, is_right in zip(texts, decide(found, schema.multiple), right, strict=True)
    )


def for_annotators(texts: Sequence[GeneratedText], n: int) -> list[GeneratedText]:
    """At most n: hard and easy ones in turn, those first that the learner gets wrong."""
    kinds = [
        sorted((each for each in texts if each.kind == kind), key=lambda each: each.right) for kind in (HARD, EASY)
    ]
    return [each for pair in zip_longest(*kinds) for each in pair if each is not None][:n]


def from_pool(site: ProjectContext, mistakes: Sequence[Sequence[int]], one: EvolutionRound, apart: Ints) -> Asked:
    """Questions for the labels of as many tasks as a round writes texts, of the weak slices of the pool: nearest to the
    tasks that the learner is mistaken in, of each kind of `mistakes` in proportion. Not of the tasks `apart`, nor of
    any that the teacher has labelled."""
    store, pool, project = site.store, site.pool, site.record.id
    free = pool.encoded & ~pool.synthetic & ~np.isin(pool.tasks, apart)
    known, _ = pool.rows_with(store.questions.given(project, one.teacher).keys)
    free[known] = False
    rows = np.flatnonzero(free)
    wrong = [pool.ensure(pool.rows_of(np.array(tasks, np.int64))) for tasks in mistakes]
    chosen = rows[nearest(pool.ensure(rows), wrong, 2 * one.n + 2)]  # for as many calls as a diagnosis and writing
    return candidates.label(store, pool, site.record, site.schema, None, one.teacher, pool.tasks[chosen])


def nearest(pool: Floats, mistakes: Sequence[Floats], n: int) -> list[int]:
    """At most n rows of `pool` (m, d), nearest first to one of the mistakes (k, d) of a kind: of each kind in
    proportion to k, dealt out by D'Hondt's method."""
    orders = [iter(np.argsort(-(pool @ kind.T).max(axis=1), kind="stable").tolist()) for kind in mistakes]
    dealt = [0] * len(mistakes)
    chosen: dict[int, None] = {}
    while mistakes and len(chosen) < min(n, len(pool)):
        kind = max(range(len(mistakes)), key=lambda each: len(mistakes[each]) / (dealt[each] + 1))
        chosen[next(row for row in orders[kind] if row not in chosen)] = None
        dealt[kind] += 1
    return list(chosen)


def _least_sure(schema: TaskSchema, said: Mapping[str, float]) -> float:
    if schema.multiple:
        return min(max(p, 1 - p) for p in said.values())
    return max(said.values())
