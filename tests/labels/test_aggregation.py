"""Labels that are aggregated task by task, compared with aggregating all annotations at once."""

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
from schemas import CONTROL, by_control, labelled, only, text_schema
from statements import read_all_annotations

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Annotation, Draft, Prediction
from ml_backend.kinds.aggregation import aggregate_annotations, digest_text, digest_value
from ml_backend.label_studio.label_review import single_annotations
from ml_backend.labels.aggregation import LabelAggregator, LabelAggregators
from ml_backend.labels.draft_acceptance import DraftUse
from ml_backend.storage import Store

SINGLE = text_schema(("a", "b", "c"))
MULTIPLE = text_schema(("a", "b", "c"), multiple=True)
WIDER = text_schema(("b", "a", "c", "x"))
TASKS = (1, 2, 3, 4)

_projects = itertools.count(1000)


def annotation(number: int, task: int, *choices: str, at: int = 1, **values: Any) -> Annotation:
    return Annotation(
        number, task, values.pop("annotator", 1), labelled(*choices), updated_at=f"2026-01-{at:02}", **values
    )


def assert_equals_all_at_once(aggregator: LabelAggregator, store: Store, project: int, schema: ProjectSchema) -> None:
    """Compares all values of an aggregator with the current annotations and published drafts."""
    snapshot, annotations, shown = (
        aggregator.refresh(schema.controls),
        store.annotations.of(project),
        store.published_drafts.of(project),
    )
    expected = aggregate_annotations(schema.controls[0], annotations)
    for name in ("tasks", "targets", "annotated_or_skipped"):
        array, expected_array = getattr(only(snapshot.by_control), name), getattr(expected, name)
        assert (array.dtype, array.shape) == (expected_array.dtype, expected_array.shape), name
        assert array.tobytes() == expected_array.tobytes(), name
    assert snapshot.digest == digest_text(digest_value(expected))
    submitted = [annotation for annotation in annotations if not annotation.cancelled]
    first = [
        min((annotation.updated_at for annotation in submitted if annotation.task == task), default="")
        for task in TASKS
    ]
    assert aggregator.first_annotated_at(np.array(TASKS)) == first
    assert aggregator.overlaps == Counter(Counter(annotation.task for annotation in submitted).values())
    single = {task for task, annotation in single_annotations(annotations).items() if not annotation.ground_truth}
    assert aggregator.has_single_annotation(np.array(TASKS)).tolist() == [task in single for task in TASKS]
    for excluded in ((), (2, 3)):
        annotated = [pair for pair in pairs(shown, annotations) if pair[0].task not in excluded]
        assert aggregator.draft_use(CONTROL, excluded) == DraftUse(len(shown), received(annotated))
        assert aggregator.time_saved(excluded) == saved(annotated)


any_annotation = st.builds(
    Annotation,
    id=st.integers(1, 8),
    task=st.sampled_from(TASKS),
    annotator=st.none() | st.integers(1, 2),
    labels=st.builds(
        lambda names, unread: labelled(*names, unread=unread),
        st.lists(st.sampled_from("abx"), unique=True, max_size=2),
        st.sampled_from(["", "", "label", "partly"]),
    ),
    cancelled=st.booleans(),
    ground_truth=st.sampled_from([False, False, False, True]),
    updated_at=st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
    lead_time=st.none() | st.sampled_from([0.0, 1.0, 2.5, 7.0, 900.0]),
)
drafts = st.none() | st.builds(
    Draft, value=st.sampled_from([("a",), ("a", "b"), ()]), confidence=st.just(0.5),
    author=st.sampled_from(["learner", "teacher"]),
)  # fmt: skip
queues = st.dictionaries(st.sampled_from(TASKS), drafts, max_size=3)
numbers = st.lists(st.integers(1, 8), min_size=1, max_size=3)
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(any_annotation, min_size=1, max_size=4)),
    st.tuples(st.just("put"), st.lists(any_annotation, min_size=1, max_size=2)),
    st.tuples(st.just("show"), queues),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("revive"), numbers),
    st.tuples(st.just("remove"), st.lists(st.sampled_from(TASKS), min_size=1, max_size=2)),
    st.tuples(st.just("schema"), st.sampled_from([SINGLE, MULTIPLE, WIDER])),
    st.tuples(st.just("refresh"), st.sampled_from([0, 1])),
)


@given(history=st.lists(steps, max_size=25))
@hypothesis_settings(max_examples=60)
def test_after_any_history_two_aggregators_equal_aggregating_everything_at_once(
    any_store: Store, history: list[tuple[str, Any]]
) -> None:
    store, project, schema = any_store, next(_projects), SINGLE
    offset = 100 * project  # Label Studio's numbers are unique across projects
    aggregators = [LabelAggregator(store, project), LabelAggregator(store, project)]
    for action, value in history:
        if action == "put":
            store.annotations.put(project, [replace(drawn, id=drawn.id + offset) for drawn in value])
        elif action == "show":
            store.published_drafts.put(
                project, "v", [Prediction(task, 0.1, by_control(draft)) for task, draft in value.items()]
            )
        elif action in ("delete", "revive"):
            getattr(store.annotations, action)(project, [number + offset for number in value])
        elif action == "remove":
            store.tasks.remove(project, value)
        elif action == "schema":
            schema = value
        else:
            assert_equals_all_at_once(aggregators[value], store, project, schema)
    for aggregator in aggregators:
        assert_equals_all_at_once(aggregator, store, project, schema)


def test_a_removed_task_without_an_annotation_no_longer_counts_as_published(any_store: Store) -> None:
    any_store.published_drafts.put(5, "v", [Prediction(task, 0.1, by_control(None)) for task in TASKS])
    aggregator = LabelAggregator(any_store, 5)
    aggregator.refresh(SINGLE.controls)
    assert aggregator.draft_use(CONTROL, ()).published == len(TASKS)
    any_store.tasks.remove(5, TASKS[:3])
    aggregator.refresh(SINGLE.controls)
    assert aggregator.draft_use(CONTROL, ()).published == 1
    for drafts in (any_store.published_drafts.of(5), any_store.published_drafts.of(5, "v")):
        assert [draft.task for draft in drafts] == [4]


@pytest.mark.parametrize("n", [10, 1000])
def test_after_one_more_annotation_only_its_task_is_read(store: Store, statements: list[str], n: int) -> None:
    store.annotations.put(5, [annotation(number, number, "a") for number in range(1, n + 1)])
    aggregator = LabelAggregator(store, 5)
    aggregator.refresh(SINGLE.controls)
    store.annotations.put(5, [annotation(n + 1, n + 1, "b")])
    statements.clear()
    snapshot = aggregator.refresh(SINGLE.controls)
    assert only(snapshot.by_control).targets[-1].tolist() == [0, 1, 0]
    assert len(statements) == 5 and not read_all_annotations(statements)
    statements.clear()
    assert only(aggregator.refresh(SINGLE.controls).by_control) is only(snapshot.by_control)
    assert len(statements) == 1


def test_a_returned_snapshot_never_changes(store: Store) -> None:
    store.annotations.put(5, [annotation(1, 1, "a"), annotation(2, 2, "a")])
    aggregator = LabelAggregator(store, 5)
    before = aggregator.refresh(SINGLE.controls)
    store.annotations.put(5, [annotation(1, 1, "b", at=2), annotation(3, 3, "c")])
    store.annotations.delete(5, [2])
    aggregator.refresh(SINGLE.controls)
    assert only(before.by_control).tasks.tolist() == [1, 2]
    assert only(before.by_control).targets.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_a_new_project_with_the_same_number_is_read_from_the_beginning(store: Store) -> None:
    store.annotations.put(5, [annotation(1, 1, "a")])
    aggregator = LabelAggregator(store, 5)
    aggregator.refresh(SINGLE.controls)
    with store.database.begin() as connection:
        for table in ("annotation", "annotation_revision"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    store.annotations.put(5, [annotation(2, 2, "b")])
    assert_equals_all_at_once(aggregator, store, 5, SINGLE)


def test_other_annotations_have_another_digest() -> None:
    annotated = [annotation(1, 1, "a"), annotation(2, 2, "b"), annotation(3, 3, cancelled=True)]
    changed = [annotated[0], replace(annotated[1], labels=labelled("c")), annotated[2]]
    variants: tuple[list[Annotation], ...] = (annotated, annotated[:2], annotated[1:], changed, [])
    digests = {digest_value(aggregate_annotations(SINGLE.controls[0], variant)) for variant in variants}
    assert len(digests) == 5
    assert digest_value(aggregate_annotations(SINGLE.controls[0], annotated[::-1])) in digests


def test_aggregators_of_other_projects_are_discarded(store: Store) -> None:
    aggregators = LabelAggregators(store)
    kept, discarded = aggregators.of(5), aggregators.of(6)
    aggregators.keep({5: "a pool"})
    assert aggregators.of(5) is kept
    assert aggregators.of(6) is not discarded
