"""The aggregation of annotations, compared with counting votes by hand in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemas import as_choices, chosen, labelled, text_schema

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.aggregation import aggregate_annotations

SINGLE = text_schema(("a", "b", "c"))
MULTIPLE = text_schema(("a", "b", "c"), multiple=True)


def by_hand(schema: ProjectSchema, annotations: list[Annotation]) -> dict[int, list[Fraction]]:
    targets, control = {}, as_choices(schema.controls[0])
    for task in {annotation.task for annotation in annotations}:
        of_task = sorted(
            (annotation for annotation in annotations if annotation.task == task and not annotation.cancelled),
            key=lambda annotation: (annotation.updated_at, annotation.id),
        )
        latest = [
            annotation
            for n, annotation in enumerate(of_task)
            if annotation.annotator is None
            or annotation.annotator not in [later.annotator for later in of_task[n + 1 :]]
        ]
        latest = [annotation for annotation in latest if annotation.ground_truth] or latest
        votes = []
        for annotation in latest:
            labels = [label for label in chosen(annotation) if label in control.labels]
            if labels or (control.multiple and not chosen(annotation)):
                weight = Fraction(1) if control.multiple else Fraction(1, max(len(labels), 1))
                votes.append([weight if label in labels else Fraction(0) for label in control.labels])
        if not votes:
            continue
        shares = [sum(column, Fraction(0)) / len(votes) for column in zip(*votes, strict=True)]
        half = Fraction(1, 2)
        if control.multiple:
            targets[task] = [half if share == half else Fraction(share > half) for share in shares]
        else:
            is_winner = [share == max(shares) for share in shares]
            targets[task] = [Fraction(wins, sum(is_winner)) for wins in is_winner]
    return targets


def annotation_lists(max_choices: int) -> st.SearchStrategy[list[Annotation]]:
    return st.lists(
        st.builds(
            Annotation,
            id=st.integers(1, 10**6),
            task=st.integers(1, 3),
            annotator=st.none() | st.integers(1, 4),
            labels=st.lists(st.sampled_from("abcxy"), unique=True, max_size=max_choices).map(
                lambda names: labelled(*names)
            ),
            cancelled=st.booleans(),
            ground_truth=st.sampled_from([False, False, False, True]),
            updated_at=st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
        ),
        max_size=10,
        unique_by=lambda annotation: annotation.id,
    )


@pytest.mark.parametrize("schema", [SINGLE, MULTIPLE], ids=["single", "multiple"])
@given(data=st.data())
@hypothesis_settings(max_examples=300)
def test_the_targets_equal_votes_counted_by_hand(schema: ProjectSchema, data: st.DataObject) -> None:
    drawn = data.draw(annotation_lists(5 if as_choices(schema.controls[0]).multiple else 1))
    expected = by_hand(schema, drawn)
    aggregated = aggregate_annotations(schema.controls[0], drawn)
    assert aggregated.tasks.tolist() == sorted(expected)
    assert aggregated.targets.shape == (len(expected), 3)
    for row, task in enumerate(aggregated.tasks.tolist()):
        assert np.allclose(aggregated.targets[row], [float(share) for share in expected[task]], atol=1e-6)
    assert aggregated.annotated_or_skipped.tolist() == sorted({annotation.task for annotation in drawn})


def test_a_tie_stays_a_soft_label() -> None:
    aggregated = aggregate_annotations(
        SINGLE.controls[0], [Annotation(1, 1, 1, labelled("a")), Annotation(2, 1, 2, labelled("b"))]
    )
    assert aggregated.targets.tolist() == [[0.5, 0.5, 0.0]]


def test_a_ground_truth_overrules_the_majority() -> None:
    votes = [Annotation(n, 1, n, labelled("a")) for n in range(1, 4)]
    truth = Annotation(9, 1, 9, labelled("c"), ground_truth=True)
    assert aggregate_annotations(SINGLE.controls[0], [*votes, truth]).targets.tolist() == [[0, 0, 1]]


def test_only_the_latest_annotation_of_an_annotator_counts() -> None:
    old = Annotation(2, 1, 1, labelled("a"), updated_at="2026-01-01")
    new = Annotation(1, 1, 1, labelled("b"), updated_at="2026-01-02")
    assert aggregate_annotations(SINGLE.controls[0], [new, old]).targets.tolist() == [[0, 1, 0]]


def test_a_skipped_task_counts_as_skipped_and_has_no_target() -> None:
    aggregated = aggregate_annotations(SINGLE.controls[0], [Annotation(1, 7, 1, labelled(), cancelled=True)])
    assert (aggregated.tasks.tolist(), aggregated.annotated_or_skipped.tolist()) == ([], [7])
    assert aggregated.targets.shape == (0, 3)


def test_an_empty_annotation_means_no_label_with_several_choices_and_does_not_count_with_one() -> None:
    empty = [Annotation(1, 1, 1, labelled())]
    assert aggregate_annotations(MULTIPLE.controls[0], empty).targets.tolist() == [[0, 0, 0]]
    assert aggregate_annotations(SINGLE.controls[0], empty).tasks.tolist() == []


def test_an_annotation_with_only_removed_labels_does_not_count() -> None:
    for schema in (SINGLE, MULTIPLE):
        assert aggregate_annotations(schema.controls[0], [Annotation(1, 1, 1, labelled("gone"))]).tasks.tolist() == []
