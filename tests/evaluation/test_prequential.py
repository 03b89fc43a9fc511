"""Accuracy by learners of the earlier answers: what they are fitted on, what is counted, and that it is unbiased."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from schemas import ONE_CHOICE, scorer

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY, is_correct
from ml_backend.evaluation.prequential import MIN_BLOCK_ANSWERS, blocks, prequential_accuracy
from plugins.learners.logistic import Logistic

CLASSES = 8


class Nearest:
    """Predicts the label of the nearest row that it was fitted on; a vector's last column is the row number."""

    def __init__(self) -> None:
        self.judgements: list[tuple[int, list[int]]] = []  # number of rows fitted on, rows judged
        self._fitted_rows = 0

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        self._fitted_rows = len(train.vectors)
        assert train.vectors[:, -1].astype(int).tolist() == list(range(self._fitted_rows)), (
            "the first answers, all of them"
        )
        return Fit({"x": train.vectors[:, :-1], "y": train.targets}, train.targets)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        self.judgements.append((self._fitted_rows, vectors[:, -1].astype(int).tolist()))
        x, y = np.asarray(tensors["x"], np.float32), np.asarray(tensors["y"], np.float32)
        return np.asarray(y[((vectors[:, None, :-1] - x) ** 2).sum(axis=2).argmin(axis=1)])


def make(n: int, audited: int, rng: np.random.Generator) -> tuple[TrainingSet, npt.NDArray[Any]]:
    vectors = np.column_stack([rng.normal(size=(n, 3)), np.arange(n)]).astype(np.float32)
    targets = np.eye(CLASSES, dtype=np.float32)[(vectors[:, :3] > 0) @ [4, 2, 1]]
    is_audited = np.isin(np.arange(n), rng.choice(np.arange(MIN_BLOCK_ANSWERS, n), audited, replace=False))
    return TrainingSet(vectors, targets, np.ones(n, np.float32), ONE_CHOICE), is_audited


@pytest.mark.parametrize(("audited", "judged"), [(24, 20), (30, 20), (40, 20), (41, 21), (90, 45)])
def test_the_later_half_of_the_audited_answers_is_judged_but_at_least_twenty(
    audited: int, judged: int, rng: np.random.Generator
) -> None:
    train, is_audited = make(200, audited, rng)
    learner = Nearest()
    estimate = prequential_accuracy(learner, train, is_audited, 0, scorer())
    assert estimate is not None and estimate.n == judged >= MIN_ANSWERS_FOR_ACCURACY
    assert [row for _, rows in learner.judgements for row in rows] == np.flatnonzero(is_audited)[-judged:].tolist()
    assert all(fitted_rows <= min(rows) for fitted_rows, rows in learner.judgements), (
        "a learner was fitted on a later answer"
    )


def test_the_share_is_that_of_counting_who_is_right(rng: np.random.Generator) -> None:
    train, is_audited = make(150, 60, rng)
    learner = Nearest()
    estimate = prequential_accuracy(learner, train, is_audited, 0, scorer())
    assert estimate is not None
    hits = 0
    for fitted_rows, rows in learner.judgements:
        for row in rows:
            distances = ((train.vectors[:fitted_rows, :3] - train.vectors[row, :3]) ** 2).sum(axis=1)
            hits += int((train.targets[distances.argmin()] == train.targets[row]).all())
    assert estimate.value == hits / estimate.n and estimate.low <= estimate.value <= estimate.high
    fewest, most = learner.judgements[0][1][0], np.flatnonzero(is_audited)[-1]
    assert estimate.details == {"fewest": fewest, "most": most}


@pytest.mark.parametrize("audited", [0, 1, 19, 23])
def test_few_audited_answers_are_no_estimate(audited: int, rng: np.random.Generator) -> None:
    train, is_audited = make(100, audited, rng)
    assert prequential_accuracy(Nearest(), train, is_audited, 0, scorer()) is None


def test_every_place_is_in_one_block_and_a_block_is_a_fifth_of_what_came_before() -> None:
    audited_rows = np.arange(0, 1000, 5)
    row_blocks = list(blocks(audited_rows, 30))
    assert np.concatenate(row_blocks).tolist() == audited_rows[30:].tolist()
    before = 30
    for block in row_blocks[:-1]:
        assert len(block) == max(MIN_BLOCK_ANSWERS, before // 5)
        before += len(block)
    assert list(blocks(audited_rows, len(audited_rows))) == []


def test_it_is_unbiased_although_the_strategy_depends_on_the_audited_answers(rng: np.random.Generator) -> None:
    """Acquisition chooses nearest neighbours of labelled tasks, so that the cross-validated accuracy is too high."""
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
            remaining = np.setdiff1d(np.arange(len(pool)), order)
            distances = ((pool[remaining] - pool[random.choice(order)]) ** 2).sum(axis=1)
            order.append(int(random.choice(remaining) if is_audit else remaining[distances.argmin()]))
            audited.append(is_audit)
        train = TrainingSet(pool[order], targets[order], np.ones(len(order), np.float32), ONE_CHOICE)
        fit, is_audited = Logistic().fit(train, 0), np.array(audited)
        rest = np.setdiff1d(np.arange(len(pool)), order)
        truth = is_correct(Logistic().predict(fit.tensors, pool[rest]), targets[rest], False).mean()
        cross_validated = is_correct(fit.held_out, train.targets, False)[is_audited].mean()
        estimate = prequential_accuracy(Logistic(), train, is_audited, 0, scorer())
        assert estimate is not None
        gaps.append((cross_validated - truth, estimate.value - truth))
    cross_validated_gap, gap = np.mean(gaps, axis=0)
    assert cross_validated_gap > 0.05 > abs(gap), (cross_validated_gap, gap)
