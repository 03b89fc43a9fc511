"""Rounds of EvoKD on a control that marks spans, with a teacher that writes from a script: what is asked and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from authors import NEW_NAMES, NEW_PLACES, SpanAuthor, new_sentence, rounds_of, synthetic
from fake_label_studio import FakeLabelStudio
from located_answer_kind import LOCATED_ANSWER_PLUGINS
from projects import synthetic_tasks
from round_fixtures import MakeRound
from span_evolving import confused, teacher
from span_project import fake_encoder, server

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError, RepliesAwaitedError
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.kinds import reply_problems
from ml_backend.kinds.spans.values import spans_of
from ml_backend.loop.round import run_round
from ml_backend.rendering.evolution_text import round_lines
from ml_backend.storage import Spending, Store
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.evolution_run import EvolutionRun, check_texts_can_be_written, require_evolvable
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, POOL, TASKS, TAUGHT
from ml_backend.teacher.evolution.part_analysis import MAX_RIGHT, MAX_WRONG
from ml_backend.teacher.project_context import load_project_context

__all__ = ["confused", "fake_encoder", "server", "teacher"]


def question_of(teacher: SpanAuthor, purpose: str, n: int = 0) -> Question:
    return [question for question in teacher.asked if question.purpose == purpose][n]


def test_a_round_diagnoses_writes_labels_examines_and_then_makes_tasks(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, confused: FakeLabelStudio, store: Store
) -> None:
    (round_,) = evolving().run(1)
    assert [question.purpose for question in teacher.asked] == ["diagnose", "write", *["label"] * 12]
    assert "It misses places." in round_.weaknesses and "more verbs" in round_.weaknesses
    assert (round_.written, round_.used, round_.done) == (12, 6, True)
    tasks = synthetic(confused)
    assert sorted(data[SYNTHETIC_FIELD] for data in tasks.values()) == ["easy"] * 3 + ["hard"] * 3
    assert {data["text"] for data in tasks.values()} == {text.text for text in round_.texts[:6]}
    assert synthetic_tasks(store, 5) == sorted(tasks)
    assert rounds_of(store) == (round_,), "what is read is what was stored"


def test_the_diagnosis_marks_the_spans_in_the_texts_and_names_the_errors(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    list(evolving(TAUGHT).run(1))
    shown = json.loads(question_of(teacher, "diagnose").text)
    assert "wrong label: Place -> Person: 4 times" in shown["figures"] and "recall" in shown["figures"]
    assert 0 < len(shown["wrong"]) <= MAX_WRONG and 0 < len(shown["right"]) <= MAX_RIGHT
    wrong = next(text for text in shown["wrong"] if text["text"] == "Ann went to Paris on day 0")
    assert wrong["annotated"] == "<Place>Ann</Place> went to <Place>Paris</Place> on day 0"
    assert wrong["drafted"] == "<Person>Ann</Person> went to <Place>Paris</Place> on day 0"
    assert wrong["errors"] == ["wrong label: Place -> Person"]
    assert all("errors" not in text and "</" in text["annotated"] for text in shown["right"])


def test_texts_are_written_without_labels_after_five_examples_of_the_pool(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, confused: FakeLabelStudio
) -> None:
    list(evolving(TAUGHT).run(1))
    asked = question_of(teacher, "write")
    examples = json.loads(asked.text)["examples"]
    texts = {task["data"]["text"] for task in confused.tasks.values()}
    assert len(examples) == 5 and all({*example} == {"text"} and example["text"] in texts for example in examples)
    assert set(asked.reply["properties"]) == {"hard", "easy"}
    assert "2 each must have no span" in asked.instructions, "a third of the annotated tasks has none"


def test_a_text_is_labelled_as_a_task_is_after_examples_of_which_one_has_no_span(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    (round_,) = evolving(TASKS).run(1)
    asked = question_of(teacher, "label")
    replies = [json.loads(reply)["ner"]["spans"] for _, reply in asked.examples]
    assert [] in replies and any(replies) and "none of them" not in asked.instructions
    assert asked.value_fields and not asked.fields
    labels = {text.text: spans_of(text.label) for text in round_.texts}
    drive = next(text for text in labels if " drove to " in text)
    (name, _, _, place, *_) = drive.split()
    assert [drive[start:end] for start, end, _ in labels[drive]] == [name, place]
    assert [label for *_, label in labels[drive]] == ["Person", "Place"]


def test_labels_that_are_distilled_are_given_without_examples(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    list(evolving(TAUGHT).run(1))
    assert not any(question.examples for question in teacher.asked)


def test_no_text_of_the_audit_sample_is_quoted(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, confused: FakeLabelStudio, store: Store
) -> None:
    annotated = [number for number, task in confused.tasks.items() if task["annotations"]]
    audited = annotated[:45]
    store.versions.draw_audit(5, audited)
    (round_,) = evolving(TAUGHT).run(1)
    shown = " ".join(question.text for question in teacher.asked[:2])
    assert not [task for task in audited if f'"{confused.tasks[task]["data"]["text"]}"' in shown]
    assert round_.shown and not {*round_.shown} & {*audited}


@pytest.mark.parametrize("way", [TASKS, TAUGHT])
def test_unfit_texts_are_dropped_and_counted_with_the_reason(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, way: str
) -> None:
    twice = new_sentence(6)
    teacher.extra = ["", "Gil", f"Gil met {'many ' * 20}people", "Ann went to Paris on day 0", twice]
    teacher.refuses, teacher.misquotes = "8", "Riga"
    (round_,) = evolving(way, per_round=11).run(1)
    assert round_.dropped[generated_texts.EMPTY] == 1
    assert round_.dropped[generated_texts.WRONG_LENGTH] == 2
    assert round_.dropped[generated_texts.DUPLICATE_OF_TASK] == 1
    assert round_.dropped[generated_texts.DUPLICATE_OF_TEXT] == 1
    assert round_.dropped[reply_problems.REFUSED] == 1, "the sentence with the number 8"
    kept = {text.text: text for text in round_.texts}
    partly = kept[new_sentence(6)]
    assert [label for *_, label in spans_of(partly.label)] == ["Person"] and partly.predicted[2] == (1.0, 1.0, 1.0)
    assert round_.dropped[reply_problems.UNUSABLE] == 1, "the only span of the sentence with the number 11 is not found"
    lines = "\n".join(round_lines(round_, Spending()))
    assert "1 ambiguous" in lines and "strict F1" in lines


def test_texts_without_a_span_are_at_most_as_frequent_as_among_the_annotated_tasks(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    teacher.extra = [f"at dusk {n} it was very quiet" for n in range(8)]
    (round_,) = evolving(TAUGHT, per_round=14).run(1)
    n_without = sum(not text.label for text in round_.texts)
    assert round_.dropped["too many without a span"] > 0
    assert n_without / len(round_.texts) == pytest.approx(1 / 3, abs=0.1), "a third of the annotated tasks has none"


def test_a_made_up_text_without_a_new_name_is_not_learnt_from(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    seen, new = "Ann drove to Paris in May 2", "Ann drove to Quito in May 3"
    teacher.extra = [seen, new]
    (round_,) = evolving(TAUGHT, per_round=8).run(1)
    assert round_.dropped[generated_texts.ANNOTATED_PARTS] == 1
    texts = {text.text for text in round_.texts}
    assert seen not in texts and new in texts
    (round_,) = evolving(TASKS, per_round=8).run(1)
    assert generated_texts.ANNOTATED_PARTS not in round_.dropped


def test_the_learner_is_measured_before_it_is_trained_and_the_result_is_the_next_feedback(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    first, _ = evolving(TAUGHT).run(2)
    assert {text.right for text in first.texts} == {True, False}
    for text in first.texts:
        assert text.right == (spans_of(text.said) == spans_of(text.label)) == (not text.errors)
    assert first.metric == "strict F1" and {*first.metrics} == {HARD, EASY}
    right, n = first.score(HARD)
    feedback = json.loads(question_of(teacher, "write", 1).text)["feedback"]
    assert f"Round 1: it got {right} of {n} hard texts right" in feedback
    assert f"its strict F1 is {first.metrics[HARD]:.2f} on the hard ones" in feedback
    wrong = next(text for text in first.texts if text.errors)
    assert f'"{wrong.text}" wrong: {"; ".join(wrong.errors)}' in feedback
    assert "strict F1" in "\n".join(round_lines(first, Spending()))


def test_a_task_made_of_a_text_has_the_teachers_spans_as_its_draft(
    evolving: Callable[..., EvolutionRun], confused: FakeLabelStudio, make_round: MakeRound,
    options: Callable[..., None],
) -> None:  # fmt: skip
    (round_,) = evolving().run(1)
    options(queue_size=100, audit_share=0.0)
    run_round(make_round(confused))
    spans = {text.text: spans_of(text.label) for text in round_.texts}
    drafts = {draft["task"]: draft["result"] for draft in confused.current_predictions()}
    drafted = {
        data["text"]: tuple((v["start"], v["end"], v["labels"][0]) for v in (r["value"] for r in drafts[task]))
        for task, data in synthetic(confused).items()
    }
    assert drafted == {text: spans[text] for text in drafted} and any(drafted.values())


def test_tasks_of_the_pool_are_labelled_near_the_errors(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, confused: FakeLabelStudio
) -> None:
    round_, other = evolving(POOL, per_round=4).run(2)
    tasks = {task["data"]["text"]: task for task in confused.tasks.values()}
    assert [question.purpose for question in teacher.asked] == ["label"] * 20
    assert len({text.text for text in (*round_.texts, *other.texts)}) == 20, "no task is labelled twice"
    assert not any(tasks[text.text]["annotations"] for text in round_.texts)
    assert round_.weaknesses.startswith("wrong label: Place -> Person (4)")
    assert {*round_.metrics} == {POOL} and "for these tasks" in "\n".join(round_lines(round_, Spending()))


@pytest.mark.parametrize("calls", [0, 1, 5])
def test_a_round_resumes_where_it_was_interrupted_and_asks_nothing_twice(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, confused: FakeLabelStudio, calls: int
) -> None:
    teacher.calls = calls
    with pytest.raises(RepliesAwaitedError, match=r"waiting for \d+ answers?; the same command goes on from here"):
        list(evolving().run(1))
    teacher.calls = 10**6
    (round_,) = evolving().run(1)
    ids = [question.id for question in teacher.asked]
    assert round_.done and len(ids) == len(set(ids)) == 14 and len(synthetic(confused)) == 6


def test_a_round_without_usable_replies_ends_without_texts(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor
) -> None:
    teacher.failing = {"diagnose", "label"}
    (round_,) = evolving().run(1)
    assert "Errors in spans, the most frequent first:" in round_.weaknesses
    assert (round_.texts, dict(round_.dropped), round_.done) == ((), {reply_problems.UNUSABLE: 12}, True)


def test_texts_for_html_and_dialogues_are_refused_and_their_tasks_can_be_labelled(
    confused: FakeLabelStudio, settings: Settings, store: Store
) -> None:
    labels = '<{0} name="ner" toName="text"><Label value="Person"/></{0}>'
    contents: dict[str, Any] = {
        "HTML in which parts are marked": f'{labels.format("HyperTextLabels")}<HyperText name="text" value="$text"/>',
        "dialogues": f'{labels.format("ParagraphLabels")}<Paragraphs name="text" value="$text"/>',
    }
    for content, tags in contents.items():
        store.projects.set_label_config(5, f"<View>{tags}</View>")
        context = load_project_context(settings, store, 5)
        check_texts_can_be_written(context, POOL)
        with pytest.raises(ApprenticeError, match=f"The tasks of project 5 are {content}.*--from-pool"):
            check_texts_can_be_written(context, TASKS)


def test_a_kind_without_labels_and_without_parts_is_refused(
    evolving: Callable[..., EvolutionRun], settings: Settings, store: Store
) -> None:
    answer = ControlSchema("a", "text", kind="answer", tag="TextArea")
    context = replace(load_project_context(settings, store, 5), control=answer)
    refusal = pytest.raises(ApprenticeError, match=r"'a' of project 5 is a <TextArea>: only labels .* with --control")
    with registry.overridden(LOCATED_ANSWER_PLUGINS), refusal:
        require_evolvable(context)


def test_an_author_writes_names_that_no_task_has(confused: FakeLabelStudio) -> None:
    words = {word for task in confused.tasks.values() for word in task["data"]["text"].split()}
    assert words.isdisjoint({*NEW_NAMES, *NEW_PLACES})
