"""Erasure: no table and no file holds the text of a deleted task."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from schemas import CONTROL
from statements import recorded_statements
from stored_texts import LONG, OTHER, SECRET, SHORT, annotation, asking, everything, example, files_with, spread

from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import content_key
from ml_backend.storage import EvolutionRow, Store
from ml_backend.storage.erasure import count_rows
from ml_backend.storage.locks import EVOLUTION, locked
from ml_backend.storage.quote_erasure import ErasureLimits, QuoteEraser
from ml_backend.storage.schema import question
from ml_backend.teacher.evolution.analysis_prompt import quoted_text

TO_THE_END = ErasureLimits(step_seconds=600.0, keep_seconds=0.0)
"""A step searches to the end, on slow machines, too, and forgets the deleted texts at once."""


def eraser_of(store: Store, **limits: Any) -> QuoteEraser:
    return QuoteEraser(store.database, replace(TO_THE_END, **limits))


def n_steps(eraser: QuoteEraser) -> int:
    """Removes all quotes, and returns the number of steps."""
    return next(steps for steps in itertools.count() if not eraser.step(5))


def erase_all(store: Store) -> int:
    return n_steps(eraser_of(store))


@pytest.mark.parametrize("text", [SECRET, LONG, SHORT])
def test_the_text_of_a_deleted_task_is_in_no_table_and_no_file(any_store: Store, tmp_path: Path, text: str) -> None:
    spread(any_store, text)
    assert len({table for table, row in everything(any_store) if text[:60] in row}) >= 3, "it was"
    any_store.tasks.remove(5, [1])
    erase_all(any_store)
    any_store.database.wipe()
    assert [row for row in everything(any_store) if text[:60] in row[1]] == []
    assert files_with(tmp_path, text[:60]) == []
    about = {"annotation", "audit", "shown", "task"}
    assert count_rows(any_store.database, 5).keys() >= about, "another task's rows stay"
    assert [annotation.id for annotation in any_store.annotations.of(5)] == [2]
    assert any_store.versions.audited(5) == [2] and [draft.task for draft in any_store.published_drafts.of(5)] == [2]
    assert any_store.tasks.texts(5, [2]) == [OTHER]
    questions = {question.id: question for question in any_store.questions.all(5)}
    assert questions.keys() == {"describe", "write", "plain", "other"}
    with any_store.database.read() as connection:
        unanswered = sa.select(sa.func.count()).where(question.c.shares.is_(None), question.c.content.is_(None))
        assert connection.execute(unanswered).scalar_one() == 4, "only texts are changed"
    assert OTHER in questions["describe"].text and OTHER in questions["plain"].text
    assert [shown for shown, _ in questions["other"].examples] == ["", "more"], "as many as there were"
    (evolution,) = any_store.evolution_rounds.rounds(5)
    assert [written["text"] for written in evolution.body["texts"]] == ["", OTHER]


def test_a_text_stays_until_the_last_task_with_it_is_deleted(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.tasks.put(5, [example(3, SECRET)])
    before = any_store.questions.all(5)
    any_store.tasks.remove(5, [1])
    assert not any_store.erase_quotes(5)
    assert any_store.questions.all(5) == before
    any_store.tasks.remove(5, [3])
    assert erase_all(any_store)
    assert [row for row in everything(any_store) if SECRET in row[1]] == []


def test_quotes_of_a_text_that_returns_before_the_search_stay(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.tasks.remove(5, [1])
    before = any_store.questions.all(5)
    any_store.tasks.put(5, [example(3, SECRET)])
    erase_all(any_store)
    assert any_store.questions.all(5) == before
    assert "deleted_text" not in dict(everything(any_store)), "the text is not searched for any more"


@pytest.mark.parametrize("texts", [1, 300])
def test_a_step_searches_few_rows_and_the_next_step_continues(any_store: Store, texts: int) -> None:
    deleted = [f"{SECRET}, and the text of number {number}" for number in range(texts)]
    any_store.tasks.put(5, [example(task, text) for task, text in enumerate(deleted, start=1)])
    body = {"weaknesses": f"it fails at {deleted[-1]}", "texts": []}
    for number in range(1, 31):
        any_store.evolution_rounds.save(5, EvolutionRow(number, CONTROL, "tasks", "teacher", True, body))
    asked = [(asking(f"q{number}", f"{number}", deleted[0]), content_key(f"{number}")) for number in range(30)]
    any_store.questions.add(5, "teacher", asked)
    any_store.tasks.remove(5, range(1, texts + 1))
    assert n_steps(eraser_of(any_store, step_seconds=0.0, rows_per_query=7)) > 60, "a row at a time"
    assert [row for row in everything(any_store) if SECRET[:60] in row[1]] == []


def test_quotes_of_a_text_that_returns_during_the_search_stay(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.questions.add(5, "teacher", [(asking("zz", f"as in {SECRET}", purpose="write"), None)])
    eraser = eraser_of(any_store, step_seconds=0.0, rows_per_query=1)
    any_store.tasks.remove(5, [1])
    assert eraser.step(5)
    any_store.tasks.put(5, [example(3, SECRET)])
    n_steps(eraser)
    assert any_store.questions.with_ids(5, ["zz"])[0].text == f"as in {SECRET}"


def test_quotes_of_many_texts_are_searched_for_in_batches(any_store: Store) -> None:
    texts = [f"the text of number {number}, long enough" for number in range(10)]
    any_store.tasks.put(5, [example(task, text) for task, text in enumerate(texts, start=1)])
    any_store.questions.add(5, "teacher", [(asking("q", str(texts), purpose="describe"), None)])
    any_store.tasks.remove(5, range(1, 10))
    assert n_steps(eraser_of(any_store, texts_per_search=4)) == 3
    [cleaned] = any_store.questions.all(5)
    assert [text for text in texts if text in cleaned.text] == texts[-1:]


def test_a_text_that_was_read_before_its_deletion_is_not_written_after_it(any_store: Store) -> None:
    spread(any_store, SECRET)
    about = (asking("late", SECRET), content_key(SECRET))
    prose = (asking("prose", f"it got {quoted_text(SECRET)} wrong", purpose="write"), None)
    with any_store.evolution_rounds.lock(5):
        any_store.tasks.remove(5, [1])
        erase_all(any_store)
        texts = [{"text": text, "kind": "hard", "label": ["fruit"]} for text in (SECRET, OTHER)]
        body = {"weaknesses": f'it fails at "{SECRET}"', "texts": texts}
        any_store.evolution_rounds.save(5, EvolutionRow(2, CONTROL, "tasks", "teacher", False, body))
        any_store.questions.add(5, "teacher", [about, prose])
        answer = Answer("describe", {"summary": f'It fails at "{SECRET}"', "patterns": []}, None)
        any_store.questions.store_answer(5, answer, [])
        any_store.label_descriptions.put(5, CONTROL, {"fruit": {"description": f"such as {SECRET}"}})
        problems = [{"code": "values unreadable", "values": {"value": f"e.g. {SECRET}"}}]
        profile = {"profile": SECRET, "problems": problems, "tasks": 1, "made_of": {"a": [SECRET]}, "seen": 1}
        any_store.record_profiles.put(5, profile)
        tables = {table for table, row in everything(any_store) if SECRET in row}
        assert tables == {"deleted_text"}, "the text that is kept out of all other tables"
        assert not any_store.erase_quotes(5), "the text stays as long as a process may still write it"
    erase_all(any_store)
    assert [row for row in everything(any_store) if SECRET in row[1]] == []
    assert [question.id for question in any_store.questions.with_ids(5, ["late", "prose"])] == ["prose"]
    assert any_store.questions.answers(5, ["describe"])["describe"].content == {
        "summary": 'It fails at ""', "patterns": [],
    }  # fmt: skip
    assert [text["text"] for text in any_store.evolution_rounds.rounds(5)[1].body["texts"]] == ["", OTHER]


def test_a_deleted_text_is_kept_out_of_an_answer_in_prose_while_the_teacher_is_asked(
    any_store: Store,
) -> None:
    spread(any_store, SECRET)
    assert any_store.questions.take(5, "teacher", ["describe"]) == ["describe"]
    any_store.tasks.remove(5, [1])
    assert not any(any_store.erase_quotes(5) for _ in range(3)), "the search can only wait"
    any_store.questions.store_answer(5, Answer("describe", {"summary": f"It fails at {SECRET}"}, None), [])
    erase_all(any_store)
    assert [row for row in everything(any_store) if SECRET in row[1]] == []


def test_a_text_that_is_deleted_again_is_searched_for_again(any_store: Store) -> None:
    spread(any_store, SECRET)
    with any_store.evolution_rounds.lock(5):
        any_store.tasks.remove(5, [1])
        erase_all(any_store)
        any_store.tasks.put(5, [example(3, SECRET)])
        any_store.label_descriptions.put(5, CONTROL, {"fruit": {"description": f"such as {SECRET}"}})
        assert SECRET in dict(everything(any_store))["label_description"], "a task has it again"
        any_store.tasks.remove(5, [3])
    erase_all(any_store)
    assert [row for row in everything(any_store) if SECRET in row[1]] == []


def test_quotes_are_removed_while_evolve_runs(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.label_descriptions.put(5, CONTROL, {"fruit": {"description": f"such as {OTHER}"}})
    with any_store.evolution_rounds.lock(5):
        any_store.tasks.remove(5, [1])
        erase_all(any_store)
        any_store.tasks.remove(5, [2])
        erase_all(any_store)
        assert {table for table, row in everything(any_store) if OTHER in row} == {"deleted_text"}


def test_a_text_that_was_read_just_before_its_deletion_is_not_written_just_after_it(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.tasks.remove(5, [1])
    n_steps(eraser_of(any_store, keep_seconds=3600.0))
    any_store.label_descriptions.put(5, CONTROL, {"fruit": {"description": f"such as {SECRET}"}})
    assert {table for table, row in everything(any_store) if SECRET in row} == {"deleted_text"}
    erase_all(any_store)
    assert [row for row in everything(any_store) if SECRET in row[1]] == []


def reads_of_texts(statements: Sequence[tuple[str, Any]]) -> list[str]:
    """The statements that read the texts for the search index."""
    return [text for text, _ in statements if text.startswith("SELECT deleted_text.text")]


def test_the_search_index_of_deleted_texts_is_built_once_for_many_writes(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.tasks.remove(5, [1])
    with recorded_statements() as statements:
        for number in range(5):
            any_store.questions.add(5, "teacher", [(asking(f"own{number}", OTHER), content_key(OTHER))])
        assert not reads_of_texts(statements), "the question of a label without examples quotes nothing"
        for number in range(5):
            any_store.label_descriptions.put(
                5, CONTROL, {"fruit": {"description": f"number {number}, such as {SECRET}"}}
            )
        assert len(reads_of_texts(statements)) == 1
    assert "such as" in (row := dict(everything(any_store))["label_description"]) and SECRET not in row


def test_evolve_starts_while_a_worker_checks_whether_it_is_running(any_store: Store, any_settings: Settings) -> None:
    spread(any_store, SECRET)
    begun, done = threading.Event(), threading.Event()

    def look() -> None:
        with locked(any_store.database, EVOLUTION, 5):
            begun.set()
            done.wait(0.1)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(look)
        assert begun.wait(10)
        with any_store.evolution_rounds.lock(5):
            done.set()


def test_an_annotation_of_a_deleted_task_does_not_come_back_with_a_late_event(any_store: Store) -> None:
    spread(any_store, SECRET)
    any_store.tasks.remove(5, [1])
    any_store.annotations.put(5, [annotation(1, 1)])
    assert [annotation.id for annotation in any_store.annotations.of(5)] == [2]
    assert any_store.annotations.deleted_at(5, any_store.annotations.revision(5).number, [1, 2]) == {1}


def test_vectors_of_deleted_texts_are_removed_and_the_others_stay(any_store: Store, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(40)]
    any_store.tasks.put(5, [example(task, text) for task, text in enumerate(texts, start=1)])
    any_store.questions.add(5, "teacher", [(asking("written", "by the teacher"), content_key("by the teacher"))])
    vectors = np.arange(44, dtype=np.float32).reshape(44, 1)
    keys = [*map(content_key, texts), content_key("by the teacher"), *map(content_key, ("old", "older", "oldest"))]
    for space in ("minilm", "other"):
        cache = any_store.vectors(5, space)
        for start in range(0, 44, 11):
            cache.add(keys[start : start + 11], vectors[start : start + 11])
    any_store.tasks.remove(5, range(1, 6))
    dropped: list[int] = []
    while not dropped or dropped[-1]:
        dropped.append(any_store.remove_unused_vectors(5))
    assert sum(dropped) == 2 * (5 + 3)
    assert max(dropped) <= 11, "a shard at a time"
    for space in ("minilm", "other"):
        cache = any_store.vectors(5, space)
        places = cache.find(keys)
        assert (places[:5] < 0).all() and (places[41:] < 0).all()
        assert np.array_equal(cache.read(places[5:41]), vectors[5:41])
    for key in (content_key("old"), content_key("text 0")):
        assert [path for path in tmp_path.rglob("*.npy") if key in path.read_bytes()] == []
