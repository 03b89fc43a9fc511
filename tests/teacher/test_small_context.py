"""Questions of evolve for a teacher with a small context: they are shortened to it, and the round says by how much."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from authors import SpanAuthor, rounds_of
from fake_label_studio import FakeLabelStudio
from span_evolving import confused, teacher
from span_project import fake_encoder, server

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import BYTES_PER_TOKEN, Question
from ml_backend.rendering.evolution_text import round_lines
from ml_backend.storage import Spending, Store
from ml_backend.teacher import context_limit
from ml_backend.teacher.context_limit import MIN_REPLY_TOKENS, context_tokens, first_fitting, with_fitting_examples
from ml_backend.teacher.evolution.evolution_prompts import ExampleText, ShownDrafts, WritingBrief
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import TASKS, TAUGHT
from ml_backend.teacher.evolution.part_analysis import QuotedDraft
from ml_backend.teacher.evolution.shorter_prompts import (
    EXAMPLES,
    FEW_SHOT,
    MIN_EXAMPLES,
    MIN_RIGHT,
    MIN_WRONG,
    RIGHT,
    SHORT_TEXT_LENGTH,
    TO_WRITE,
    WRONG,
    shorter_briefs,
    shorter_drafts,
)

__all__ = ["confused", "fake_encoder", "server", "teacher"]


def asked_by_purpose(teacher: SpanAuthor) -> dict[str, Question]:
    return {question.purpose: question for question in reversed(teacher.asked)}


def sent_bytes(question: Question) -> int:
    """The bytes of what a server reads, without the schema of the reply."""
    examples = "".join(part for example in question.examples for part in example)
    return len((question.instructions + examples + question.text).encode())


@pytest.mark.parametrize("tokens", [4096, 2200, 1900])
def test_all_questions_of_a_round_fit_and_the_round_counts_what_is_left_out(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, options: Callable[..., None], store: Store, tokens: int
) -> None:
    list(evolving(TASKS).run(1))
    whole = asked_by_purpose(teacher)
    teacher.asked.clear()
    options(teacher_context=tokens)
    (round_,) = evolving(TASKS).run(1)
    short = asked_by_purpose(teacher)
    for question in teacher.asked:
        assert sent_bytes(question) / BYTES_PER_TOKEN + question.longest <= tokens
    wrong, right, examples = (
        [len(json.loads(questions[purpose].text)[name]) for questions in (whole, short)]
        for purpose, name in (("diagnose", "wrong"), ("diagnose", "right"), ("write", "examples"))
    )
    assert wrong[1] >= min(MIN_WRONG, wrong[0]) and right[1] >= min(MIN_RIGHT, right[0])
    labelled = [question for question in teacher.asked if question.purpose == "label"]
    n_few_shot = sum(len(whole["label"].examples) - len(question.examples) for question in labelled)
    n_texts = [questions["write"].reply["properties"]["hard"]["maxItems"] for questions in (whole, short)]
    counts = {
        WRONG: wrong[0] - wrong[1],
        RIGHT: right[0] - right[1],
        EXAMPLES: examples[0] - examples[1],
        TO_WRITE: 2 * (n_texts[0] - n_texts[1]),
        FEW_SHOT: n_few_shot,
    }
    assert round_.left_out == {name: n for name, n in counts.items() if n}
    assert bool(round_.left_out) == (tokens < 4096)
    assert rounds_of(store)[1] == round_, "what is read is what was stored"
    line = f"which must fit teacher_context: {', '.join(f'{n} {name}' for name, n in round_.left_out.items())}"
    assert (line in "\n".join(round_lines(round_, Spending()))) == bool(round_.left_out)


def test_only_tasks_that_a_short_diagnosis_quotes_count_as_shown(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, options: Callable[..., None],
    confused: FakeLabelStudio,
) -> None:  # fmt: skip
    options(teacher_context=1500)
    (round_,) = evolving(TAUGHT).run(1)
    shown = json.loads(asked_by_purpose(teacher)["diagnose"].text)
    quoted = {text["text"] for name in ("wrong", "right") for text in shown[name]}
    assert quoted == {confused.tasks[task]["data"]["text"] for task in round_.shown}
    assert len(quoted) == MIN_WRONG + MIN_RIGHT


def test_a_reply_gets_what_a_question_leaves_of_a_context_that_is_too_small(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, options: Callable[..., None]
) -> None:
    options(teacher_context=300)
    (round_,) = evolving(TAUGHT).run(1)
    assert round_.done and {question.longest for question in teacher.asked} == {MIN_REPLY_TOKENS}


@pytest.mark.parametrize("tokens", [0, 100_000])
def test_no_question_is_shortened_for_an_unknown_or_a_large_context(tokens: int) -> None:
    drafts = ShownDrafts("span", ["a", "b"], drafts_of(30, 900), drafts_of(20, 10), 400)
    shown, _ = first_fitting(shorter_drafts(drafts, 1), lambda _: plain_question("x" * 9000, longest=900), tokens)
    assert shown == drafts and context_tokens(ProjectSettings(teacher_context=tokens)) == tokens


def test_the_strings_of_a_reply_have_a_maximum_length_only_for_a_known_context(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, options: Callable[..., None],
    confused: FakeLabelStudio,
) -> None:  # fmt: skip
    list(evolving(TAUGHT).run(1))
    assert not any("maxLength" in json.dumps(question.reply) for question in teacher.asked)
    teacher.asked.clear()
    options(teacher_context=4096)
    list(evolving(TAUGHT).run(1))
    asked = asked_by_purpose(teacher)
    texts = asked["write"].reply["properties"]["hard"]["items"]
    lengths = [len(task["data"]["text"]) for task in confused.tasks.values()]
    assert texts["maxLength"] == int(np.percentile(lengths, 95)), "a longer text would be dropped"
    diagnosis = asked["diagnose"].reply["properties"]
    strings = [diagnosis["summary"], *diagnosis["patterns"]["items"]["properties"].values()]
    assert all("maxLength" in string.get("items", string) for string in strings)


def drafts_of(n: int, length: int) -> list[QuotedDraft]:
    """Drafts with an error of texts of n different lengths."""
    return [QuotedDraft(i, "x" * (length + i), f"a{i}", f"d{i}", ("missed: A",)) for i in range(n)]


def plain_question(text: str, **values: Any) -> Question:
    return Question("q", "label", "", text, {}, **values)


def test_drafts_become_shorter_step_by_step_and_the_longest_go_first() -> None:
    drafts = ShownDrafts("span", ["figure", "cluster"], drafts_of(5, 50), drafts_of(3, 150), 400)
    steps = list(shorter_drafts(drafts, 1))
    sizes = [len(json.dumps([list(map(step.shown, [*step.wrong, *step.right])), step.figures])) for step in steps]
    assert sizes == sorted(sizes, reverse=True) and steps[0] == drafts
    assert steps[1].max_text_length == SHORT_TEXT_LENGTH and list(steps[2].figures) == ["figure"]
    left = [(len(step.wrong), len(step.right)) for step in steps[2:]]
    assert left[:4] == [(5, 3), (5, 2), (5, 1), (4, 1)], "the texts without an error are longer"
    assert [draft.task for draft in steps[-1].wrong] == [0, 1] and [draft.task for draft in steps[-1].right] == [0]
    assert not steps[-1].figures


def test_a_brief_becomes_shorter_step_by_step_and_asks_for_fewer_texts_at_last() -> None:
    examples = [ExampleText(task, "x" * length, "") for task, length in enumerate((30, 500, 10, 20))]
    brief = WritingBrief("w" * 2000, examples, "feedback", 3)
    steps = list(shorter_briefs(brief))
    assert [[example.task for example in step.examples] for step in steps[1:4]] == [[0, 1, 2, 3], [0, 2, 3], [2, 3]]
    assert all(len(step.examples) >= MIN_EXAMPLES for step in steps)
    assert [step.n for step in steps] == [3] * (len(steps) - 2) + [2, 1]
    assert not steps[-3].feedback and len(steps[-3].weaknesses) < 1000


def test_few_shot_examples_are_left_out_only_as_far_as_needed() -> None:
    lengths = np.random.default_rng(0).integers(20, 900, 6).tolist()
    question = plain_question("t" * 60, examples=tuple(("x" * length, "{}") for length in lengths), longest=100)
    for tokens in range(500, 2000, 50):
        kept = with_fitting_examples(question, tokens).examples
        orders = sorted(lengths, reverse=True)
        fitting = [
            n
            for n in range(len(lengths) + 1)
            if sum(orders[n:]) + 60 + context_limit.REQUEST_OVERHEAD_BYTES + 300 < tokens * BYTES_PER_TOKEN - 100
        ]
        if fitting:  # 100 bytes are more than the punctuation of JSON here
            assert len(kept) >= len(lengths) - fitting[0]
        assert sorted(len(text) for text, _ in kept) == sorted(orders[len(lengths) - len(kept) :])


def test_the_reasoning_of_a_batch_counts() -> None:
    assert context_tokens(ProjectSettings(teacher="batch", teacher_context=4096)) == 3096
    assert context_tokens(ProjectSettings(teacher="openai", teacher_context=4096)) == 4096
