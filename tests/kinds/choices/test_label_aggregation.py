"""Several annotators, one target: compared with counting votes by hand, in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ml_backend.core.types import Annotation, TaskSchema
from ml_backend.kinds.choices.label_aggregation import consensus

SINGLE = TaskSchema(("a", "b", "c"), False, "label", "text", "text")
MULTIPLE = TaskSchema(("a", "b", "c"), True, "label", "text", "text")


def by_hand(schema: TaskSchema, annotations: list[Annotation]) -> dict[int, list[Fraction]]:
    found = {}
    for task in {each.task for each in annotations}:
        mine = sorted((each for each in annotations if each.task == task), key=lambda each: (each.updated_at, each.id))
        answers = [each for each in mine if not each.cancelled]
        last = [
            each
            for n, each in enumerate(answers)
            if each.annotator is None or each.annotator not in [later.annotator for later in answers[n + 1 :]]
        ]
        last = [each for each in last if each.ground_truth] or last
        ballots = []
        for each in last:
            known = [label for label in each.choices if label in schema.labels]
            if known or (schema.multiple and not each.choices):
                share = Fraction(1) if schema.multiple else Fraction(1, max(len(known), 1))
                ballots.append([share if label in known else Fraction(0) for label in schema.labels])
        if not ballots:
            continue
        votes = [sum(column, Fraction(0)) / len(ballots) for column in zip(*ballots, strict=True)]
        half = Fraction(1, 2)
        if schema.multiple:
            found[task] = [half if vote == half else Fraction(vote > half) for vote in votes]
        else:
            won = [vote == max(votes) for vote in votes]
            found[task] = [Fraction(each, sum(won)) for each in won]
    return found


def annotations(most: int) -> st.SearchStrategy[list[Annotation]]:
    return st.lists(
        st.builds(
            Annotation,
            id=st.integers(1, 10**6),
            task=st.integers(1, 3),
            annotator=st.none() | st.integers(1, 4),
            choices=st.lists(st.sampled_from("abcxy"), unique=True, max_size=most).map(tuple),
            cancelled=st.booleans(),
            ground_truth=st.sampled_from([False, False, False, True]),
            updated_at=st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
        ),
        max_size=10,
        unique_by=lambda each: each.id,
    )


@pytest.mark.parametrize("schema", [SINGLE, MULTIPLE], ids=["single", "multiple"])
@given(data=st.data())
@hypothesis_settings(max_examples=300)
def test_it_agrees_with_counting_by_hand(schema: TaskSchema, data: st.DataObject) -> None:
    given_ = data.draw(annotations(5 if schema.multiple else 1))
    expected = by_hand(schema, given_)
    answers = consensus(schema, given_)
    assert answers.tasks.tolist() == sorted(expected)
    assert answers.targets.shape == (len(expected), 3)
    for row, task in enumerate(answers.tasks.tolist()):
        assert np.allclose(answers.targets[row], [float(share) for share in expected[task]], atol=1e-6)
    assert answers.touched.tolist() == sorted({each.task for each in given_})


def test_a_tie_stays_a_soft_label() -> None:
    answers = consensus(SINGLE, [Annotation(1, 1, 1, ("a",)), Annotation(2, 1, 2, ("b",))])
    assert answers.targets.tolist() == [[0.5, 0.5, 0.0]]


def test_a_ground_truth_stands_above_the_majority() -> None:
    votes = [Annotation(n, 1, n, ("a",)) for n in range(1, 4)]
    truth = Annotation(9, 1, 9, ("c",), ground_truth=True)
    assert consensus(SINGLE, [*votes, truth]).targets.tolist() == [[0, 0, 1]]


def test_only_the_latest_answer_of_a_person_counts() -> None:
    old = Annotation(2, 1, 1, ("a",), updated_at="2026-01-01")
    new = Annotation(1, 1, 1, ("b",), updated_at="2026-01-02")
    assert consensus(SINGLE, [new, old]).targets.tolist() == [[0, 1, 0]]


def test_a_skip_touches_the_task_and_says_nothing() -> None:
    answers = consensus(SINGLE, [Annotation(1, 7, 1, (), cancelled=True)])
    assert (answers.tasks.tolist(), answers.touched.tolist()) == ([], [7])
    assert answers.targets.shape == (0, 3)


def test_an_empty_answer_says_none_where_several_may_hold_and_nothing_where_one_must() -> None:
    empty = [Annotation(1, 1, 1, ())]
    assert consensus(MULTIPLE, empty).targets.tolist() == [[0, 0, 0]]
    assert consensus(SINGLE, empty).tasks.tolist() == []


def test_an_answer_with_removed_labels_alone_is_no_answer() -> None:
    for schema in (SINGLE, MULTIPLE):
        assert consensus(schema, [Annotation(1, 1, 1, ("gone",))]).tasks.tolist() == []
