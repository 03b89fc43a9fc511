"""Labels that imply their ancestors: decisions are made consistent."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from schemas import choices_control

from ml_backend.core.arrays import Mask
from ml_backend.core.schema import ChoicesSchema
from ml_backend.kinds.choices.hierarchy import ancestors_of, consistent_decisions, deepest_labels, with_ancestors


@st.composite
def hierarchies(draw: st.DrawFn) -> ChoicesSchema:
    """A control with up to eight labels in a forest, with or without a limit."""
    count = draw(st.integers(1, 8))
    parents = tuple(draw(st.integers(-1, label - 1)) for label in range(count))
    labels = [f"label {label}" for label in range(count)]
    return choices_control(labels, multiple=True, parents=parents, max_usages=draw(st.integers(0, 3)))


def is_consistent(chosen: Mask, control: ChoicesSchema) -> bool:
    return all(not chosen[label] or chosen[parent] for label, parent in enumerate(control.parents) if parent >= 0)


def deepest_count(chosen: Mask, control: ChoicesSchema) -> int:
    return len(deepest_labels([control.labels[label] for label in np.flatnonzero(chosen)], control))


@given(control=hierarchies(), seed=st.integers(0, 99))
def test_a_label_brings_its_ancestors_and_no_others(control: ChoicesSchema, seed: int) -> None:
    probabilities = np.random.default_rng(seed).random((6, len(control.labels))).astype(np.float32)
    decided = probabilities >= 0.4
    kept = consistent_decisions(decided, probabilities, control)
    for row in range(len(kept)):
        names = [control.labels[label] for label in np.flatnonzero(decided[row])]
        closed = {*with_ancestors(names, control)}
        kept_names = {control.labels[label] for label in np.flatnonzero(kept[row])}
        assert is_consistent(kept[row], control)
        if control.max_usages:
            assert kept_names <= closed and deepest_count(kept[row], control) <= control.max_usages
        else:
            assert kept_names == closed


@given(control=hierarchies(), seed=st.integers(0, 99))
def test_consistent_decisions_within_the_limit_stay_as_they_are(control: ChoicesSchema, seed: int) -> None:
    probabilities = np.random.default_rng(seed).random((6, len(control.labels))).astype(np.float32)
    kept = consistent_decisions(probabilities >= 0.4, probabilities, control)
    assert (consistent_decisions(kept, probabilities, control) == kept).all()


def test_the_most_probable_labels_are_kept_with_their_ancestors() -> None:
    control = choices_control(["a", "a > b", "c", "d"], multiple=True, parents=(-1, 0, -1, -1), max_usages=2)
    probabilities = np.array([[0.9, 0.6, 0.7, 0.8]], np.float32)
    assert consistent_decisions(probabilities > 0, probabilities, control).tolist() == [[False, False, True, True]]
    assert consistent_decisions(probabilities > 0.65, probabilities, control).tolist() == [[True, False, False, True]]


@given(control=hierarchies(), data=st.data())
def test_the_deepest_labels_and_their_ancestors_are_all_labels(control: ChoicesSchema, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(control.labels), unique=True))
    closed = with_ancestors(chosen, control)
    assert {*with_ancestors(deepest_labels(closed, control), control)} == {*closed} >= {*chosen}
    assert all({*ancestors_of(label, control)} <= {*closed[:n]} for n, label in enumerate(closed))
