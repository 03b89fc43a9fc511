"""Accuracy by learners of the answers before: who may know what, what is counted, and that it is not fooled."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.core.types import Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation.metrics import ENOUGH, correct
from ml_backend.evaluation.prequential import FEWEST, accuracy, blocks
from plugins.learners.logistic import Logistic

CLASSES = 8


class Nearest:
    """Says the label of the nearest row that it was taught; a vector's last column is the row's place."""

    def __init__(self) -> None:
        self.told: list[tuple[int, list[int]]] = []  # rows known, places judged
        self._known = 0

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        self._known = len(train.vectors)
        assert train.vectors[:, -1].astype(int).tolist() == list(range(self._known)), "the first answers, all of them"
        return Fit({"x": train.vectors[:, :-1], "y": train.targets}, train.targets)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        self.told.append((self._known, vectors[:, -1].astype(int).tolist()))
        x, y = np.asarray(tensors["x"], np.float32), np.asarray(tensors["y"], np.float32)
        return np.asarray(y[((vectors[:, None, :-1] - x) ** 2).sum(axis=2).argmin(axis=1)])


def make(n: int, audited: int, rng: np.random.Generator) -> tuple[TrainingSet, np.ndarray]:
    vectors = np.column_stack([rng.normal(size=(n, 3)), np.arange(n)]).astype(np.float32)
    targets = np.eye(CLASSES, dtype=np.float32)[(vectors[:, :3] > 0) @ [4, 2, 1]]
    places = np.isin(np.arange(n), rng.choice(np.arange(FEWEST, n), audited, replace=False))
    return TrainingSet(vectors, targets, np.ones(n, np.float32), False), places


@pytest.mark.parametrize(("audited", "judged"), [(24, 20), (30, 20), (40, 20), (41, 21), (90, 45)])
def test_the_later_half_of_the_audited_answers_is_judged_but_at_least_twenty(
    audited: int, judged: int, rng: np.random.Generator
) -> None:
    train, places = make(200, audited, rng)
    learner = Nearest()
    found = accuracy(learner, train, places, 0)
    assert found is not None and found.n == judged >= ENOUGH
    assert [row for _, rows in learner.told for row in rows] == np.flatnonzero(places)[-judged:].tolist()
    assert all(known <= min(rows) for known, rows in learner.told), "a learner knew an answer that was given later"


def test_the_share_is_that_of_counting_who_is_right(rng: np.random.Generator) -> None:
    train, places = make(150, 60, rng)
    learner = Nearest()
    found = accuracy(learner, train, places, 0)
    assert found is not None
    hits = 0
    for known, rows in learner.told:
        for row in rows:
            distances = ((train.vectors[:known, :3] - train.vectors[row, :3]) ** 2).sum(axis=1)
            hits += int((train.targets[distances.argmin()] == train.targets[row]).all())
    assert found.value == hits / found.n and found.low <= found.value <= found.high
    assert f"{learner.told[0][1][0]} to {np.flatnonzero(places)[-1]}" in found.source


@pytest.mark.parametrize("audited", [0, 1, 19, 23])
def test_few_audited_answers_are_no_estimate(audited: int, rng: np.random.Generator) -> None:
    train, places = make(100, audited, rng)
    assert accuracy(Nearest(), train, places, 0) is None


def test_every_place_is_in_one_block_and_a_block_is_a_fifth_of_what_came_before() -> None:
    places = np.arange(0, 1000, 5)
    found = list(blocks(places, 30))
    assert np.concatenate(found).tolist() == places[30:].tolist()
    before = 30
    for block in found[:-1]:
        assert len(block) == max(FEWEST, before // 5)
        before += len(block)
    assert list(blocks(places, len(places))) == []


def test_it_is_not_fooled_by_a_strategy_that_knows_the_audited_answers(rng: np.random.Generator) -> None:
    """Acquisition that asks for the nearest neighbours of what it knows: cross-validation is sure, and wrong."""
    topics = rng.normal(size=(150, 32))
    topic = rng.integers(0, len(topics), 2000)
    pool = (topics[topic] + 0.3 * rng.normal(size=(2000, 32))).astype(np.float32)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    targets = np.eye(CLASSES, dtype=np.float32)[topic % CLASSES]
    gaps = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        order = random.choice(len(pool), 8, replace=False).tolist()
        audited = [True] * 8
        while len(order) < 300:
            is_audit = random.random() < 0.25
            left = np.setdiff1d(np.arange(len(pool)), order)
            near = ((pool[left] - pool[random.choice(order)]) ** 2).sum(axis=1)
            order.append(int(random.choice(left) if is_audit else left[near.argmin()]))
            audited.append(is_audit)
        train = TrainingSet(pool[order], targets[order], np.ones(len(order), np.float32), False)
        fit, places = Logistic().fit(train, 0), np.array(audited)
        rest = np.setdiff1d(np.arange(len(pool)), order)
        truth = correct(Logistic().predict(fit.tensors, pool[rest]), targets[rest], False).mean()
        crossed = correct(fit.held_out, train.targets, False)[places].mean()
        found = accuracy(Logistic(), train, places, 0)
        assert found is not None
        gaps.append((crossed - truth, found.value - truth))
    crossed_gap, gap = np.mean(gaps, axis=0)
    assert crossed_gap > 0.05 > abs(gap), (crossed_gap, gap)
