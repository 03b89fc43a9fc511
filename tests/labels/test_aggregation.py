"""Labels that are kept up to date task by task, against counting all annotations anew."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from draft_acceptance_reference import pairs, received, saved
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ml_backend.core.types import Annotation, Draft, Prediction, TaskSchema
from ml_backend.kinds.choices.label_aggregation import as_digest, consensus, mark_of
from ml_backend.label_studio.label_review import sole_answers
from ml_backend.labels.aggregation import LabelAggregator, LabelAggregators
from ml_backend.storage import Store

SINGLE = TaskSchema(("a", "b", "c"), False, "label", "text", "text")
MULTIPLE = TaskSchema(("a", "b", "c"), True, "label", "text", "text")
WIDER = TaskSchema(("b", "a", "c", "x"), False, "label", "text", "text")
TASKS = (1, 2, 3, 4)

_projects = itertools.count(1000)


def annotation(number: int, task: int, *choices: str, at: int = 1, **values: Any) -> Annotation:
    return Annotation(number, task, values.pop("annotator", 1), choices, updated_at=f"2026-01-{at:02}", **values)


def same_as_all_at_once(aggregator: LabelAggregator, store: Store, project: int, schema: TaskSchema) -> None:
    """Everything that is kept, against the annotations and shown drafts as they are now."""
    found, annotations, shown = aggregator.refresh(schema), store.labels.of(project), store.shown.of(project)
    expected = consensus(schema, annotations)
    for name in ("tasks", "targets", "touched"):
        mine, theirs = getattr(found.answers, name), getattr(expected, name)
        assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes()), name
    assert found.digest == as_digest(mark_of(expected))
    answers = [each for each in annotations if not each.cancelled]
    first = [min((each.updated_at for each in answers if each.task == task), default="") for task in TASKS]
    assert aggregator.first_answered(np.array(TASKS)) == first
    assert aggregator.overlaps == Counter(Counter(each.task for each in answers).values())
    sole = {task for task, answer in sole_answers(annotations).items() if not answer.ground_truth}
    assert aggregator.has_sole_answer(np.array(TASKS)).tolist() == [task in sole for task in TASKS]
    for apart in ((), (2, 3)):
        answered = [pair for pair in pairs(shown, annotations) if pair[0].task not in apart]
        assert aggregator.reception(apart) == (len(shown), received(answered), saved(answered))


annotations = st.builds(
    Annotation,
    id=st.integers(1, 8),
    task=st.sampled_from(TASKS),
    annotator=st.none() | st.integers(1, 2),
    choices=st.lists(st.sampled_from("abx"), unique=True, max_size=2).map(tuple),
    cancelled=st.booleans(),
    ground_truth=st.sampled_from([False, False, False, True]),
    updated_at=st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
    lead_time=st.none() | st.sampled_from([0.0, 1.0, 2.5, 7.0, 900.0]),
    unread=st.sampled_from(["", "", "label", "partly"]),
)
drafts = st.none() | st.builds(
    Draft, choices=st.sampled_from([("a",), ("a", "b"), ()]), confidence=st.just(0.5),
    author=st.sampled_from(["learner", "teacher"]),
)  # fmt: skip
queues = st.dictionaries(st.sampled_from(TASKS), drafts, max_size=3)
numbers = st.lists(st.integers(1, 8), min_size=1, max_size=3)
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(annotations, min_size=1, max_size=4)),
    st.tuples(st.just("put"), st.lists(annotations, min_size=1, max_size=2)),
    st.tuples(st.just("show"), queues),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("revive"), numbers),
    st.tuples(st.just("remove"), st.lists(st.sampled_from(TASKS), min_size=1, max_size=2)),
    st.tuples(st.just("schema"), st.sampled_from([SINGLE, MULTIPLE, WIDER])),
    st.tuples(st.just("look"), st.sampled_from([0, 1])),
)


@given(history=st.lists(steps, max_size=25))
@hypothesis_settings(max_examples=60)
def test_it_equals_counting_everything_anew_whatever_happens_and_whoever_looks(
    any_store: Store, history: list[tuple[str, Any]]
) -> None:
    store, project, schema = any_store, next(_projects), SINGLE
    offset = 100 * project  # Label Studio's numbers are unique across projects
    readers = [LabelAggregator(store, project), LabelAggregator(store, project)]
    for what, value in history:
        if what == "put":
            store.labels.put(project, [replace(each, id=each.id + offset) for each in value])
        elif what == "show":
            store.shown.put(project, "v", [Prediction(task, 0.1, draft) for task, draft in value.items()])
        elif what in ("delete", "revive"):
            getattr(store.labels, what)(project, [number + offset for number in value])
        elif what == "remove":
            store.tasks.remove(project, value)
        elif what == "schema":
            schema = value
        else:
            same_as_all_at_once(readers[value], store, project, schema)
    for reader in readers:
        same_as_all_at_once(reader, store, project, schema)


def test_a_task_that_was_shown_and_is_removed_without_an_answer_counts_as_shown_no_more(any_store: Store) -> None:
    any_store.shown.put(5, "v", [Prediction(task, 0.1, None) for task in TASKS])
    aggregator = LabelAggregator(any_store, 5)
    aggregator.refresh(SINGLE)
    assert aggregator.reception(())[0] == len(TASKS)
    any_store.tasks.remove(5, TASKS[:3])
    aggregator.refresh(SINGLE)
    assert aggregator.reception(())[0] == 1
    assert [each.task for each in any_store.shown.of(5)] == [each.task for each in any_store.shown.of(5, "v")] == [4]


@pytest.mark.parametrize("n", [10, 1000])
def test_one_more_answer_is_one_task_read_however_many_there_are(
    store: Store, statements: list[str], monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    store.labels.put(5, [annotation(number, number, "a") for number in range(1, n + 1)])
    aggregator = LabelAggregator(store, 5)
    aggregator.refresh(SINGLE)
    store.labels.put(5, [annotation(n + 1, n + 1, "b")])
    monkeypatch.setattr(store.labels, "of", lambda _: pytest.fail("everything was read again"))
    statements.clear()
    found = aggregator.refresh(SINGLE)
    assert found.answers.targets[-1].tolist() == [0, 1, 0]
    assert len(statements) == 5
    statements.clear()
    assert aggregator.refresh(SINGLE).answers is found.answers
    assert len(statements) == 1


def test_what_was_returned_stays_as_it_was(store: Store) -> None:
    store.labels.put(5, [annotation(1, 1, "a"), annotation(2, 2, "a")])
    aggregator = LabelAggregator(store, 5)
    before = aggregator.refresh(SINGLE)
    store.labels.put(5, [annotation(1, 1, "b", at=2), annotation(3, 3, "c")])
    store.labels.delete(5, [2])
    aggregator.refresh(SINGLE)
    assert before.answers.tasks.tolist() == [1, 2]
    assert before.answers.targets.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_a_project_that_came_back_under_the_same_number_is_read_anew(store: Store) -> None:
    store.labels.put(5, [annotation(1, 1, "a")])
    aggregator = LabelAggregator(store, 5)
    aggregator.refresh(SINGLE)
    with store.database.begin() as connection:
        for table in ("annotation", "annotation_revision"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    store.labels.put(5, [annotation(2, 2, "b")])
    same_as_all_at_once(aggregator, store, 5, SINGLE)


def test_the_digest_is_another_one_for_other_answers() -> None:
    answers = [annotation(1, 1, "a"), annotation(2, 2, "b"), annotation(3, 3, cancelled=True)]
    changed = [answers[0], replace(answers[1], choices=("c",)), answers[2]]
    digests = {mark_of(consensus(SINGLE, each)) for each in (answers, answers[:2], answers[1:], changed, [])}
    assert len(digests) == 5
    assert mark_of(consensus(SINGLE, answers[::-1])) in digests


def test_projects_that_a_worker_no_longer_serves_are_let_go(store: Store) -> None:
    aggregators = LabelAggregators(store)
    kept, gone = aggregators.of(5), aggregators.of(6)
    aggregators.keep({5: "a pool"})
    assert aggregators.of(5) is kept
    assert aggregators.of(6) is not gone
