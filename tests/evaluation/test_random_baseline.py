"""Acquisition against random order: who may know what, the interval, the chance of a wrong claim, and clear cases."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from ml_backend.core.types import Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation.random_baseline_test import (
    ALPHA,
    FEWEST,
    FIRST_LOOK,
    REPEATS,
    compare,
    exchanges,
    interval,
    looks,
)

TYPES = 60
KIND = np.arange(TYPES) % 7  # the label of each type of task


class ByHeart:
    """Knows the label of every type of task that it was taught, and says label 7 of the others.

    The first column of a vector is the type, the second the row's place in answering order.
    """

    def __init__(self) -> None:
        self.knew: list[np.ndarray] = []
        self.judged: list[np.ndarray] = []

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        self.knew.append(train.vectors[:, 1].astype(int))
        knows = np.full(TYPES, 7)
        knows[train.vectors[:, 0].astype(int)] = train.targets.argmax(axis=1)
        return Fit({"knows": knows}, train.targets)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        self.judged.append(vectors[:, 1].astype(int))
        return np.eye(8, dtype=np.float32)[np.asarray(tensors["knows"], int)[vectors[:, 0].astype(int)]]


def answers(
    chosen: np.ndarray, audits: int, random: np.random.Generator, among: Sequence[int] = ()
) -> tuple[TrainingSet, np.ndarray]:
    """Rows of chosen types in their order, with audited ones of any type in places drawn from `among`, if given."""
    n = len(chosen) + audits
    audited = np.zeros(n, bool)
    audited[random.choice(among or range(n), audits, replace=False)] = True
    types = np.zeros(n, int)
    types[audited], types[~audited] = random.integers(0, TYPES, audits), chosen
    vectors = np.column_stack([types, np.arange(n)]).astype(np.float32)
    return TrainingSet(vectors, np.eye(8, dtype=np.float32)[KIND[types]], np.ones(n, np.float32), False), audited


def test_a_look_is_due_whenever_the_audited_answers_have_doubled() -> None:
    assert [looks(n) for n in (0, 19, 20, 39, 40, 79, 80, 159, 160, 320)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]


def test_no_learner_knows_what_was_answered_after_its_tasks_and_all_have_as_many_answers(
    rng: np.random.Generator,
) -> None:
    train, audited = answers(rng.integers(0, TYPES, 200), 45, rng)
    learner = ByHeart()
    gains = exchanges(learner, train, audited, np.flatnonzero(audited), seed=1)
    judged_by = np.concatenate(learner.judged[:: 1 + REPEATS])
    assert judged_by.tolist() == np.flatnonzero(audited)[45 - len(gains) :].tolist()
    assert len(gains) >= 45 - 2 * FEWEST
    for i in range(0, len(learner.knew), 1 + REPEATS):
        judged = learner.judged[i]
        both = {tuple(sorted(rows)) for rows in learner.knew[i : i + 1 + REPEATS]}
        (chosen,) = [rows for rows in both if not audited[list(rows)].any()]
        assert list(chosen) == [row for row in range(judged[0]) if not audited[row]]
        for exchanged in both - {chosen}:
            assert len(exchanged) == len(set(exchanged)) == len(chosen)
            assert set(np.flatnonzero(audited[: judged[0]])) <= set(exchanged)
            assert max(exchanged) < judged[0]


def test_the_gain_is_that_of_counting_who_is_right(rng: np.random.Generator) -> None:
    train, audited = answers(rng.integers(0, TYPES, 90), 30, rng)
    learner = ByHeart()
    gains = exchanges(learner, train, audited, np.flatnonzero(audited), seed=1)
    types = train.vectors[:, 0].astype(int)
    expected = []
    for i in range(0, len(learner.knew), 1 + REPEATS):
        knows = [set(KIND[types[rows]] * TYPES + types[rows]) for rows in learner.knew[i : i + 1 + REPEATS]]
        kept = [rows for rows, each in zip(learner.knew[i:], knows, strict=False) if not audited[rows].any()]
        assert len(kept) == 1
        for row in learner.judged[i]:
            hits = [types[row] in types[rows] for rows in learner.knew[i : i + 1 + REPEATS]]
            alone = types[row] in types[kept[0]]
            expected.append(alone - (sum(hits) - alone) / REPEATS)
    assert gains.tolist() == expected


def test_the_interval_is_that_of_agresti_and_min(rng: np.random.Generator) -> None:
    gains = rng.choice([-1.0, 0.0, 1.0], 40, p=[0.1, 0.75, 0.15])
    won, lost, n = (gains == 1).sum() + 0.5, (gains == -1).sum() + 0.5, 42
    mean, half = interval(gains, 0.01)
    assert mean == pytest.approx((won - lost) / n)
    assert half == pytest.approx(norm.ppf(0.99) * sqrt((won + lost - (won - lost) ** 2 / n) / n**2))


@pytest.mark.parametrize("differ", [0.05, 0.2, 0.6])
def test_over_all_looks_a_strategy_like_random_is_seldom_said_to_win_or_not(
    differ: float, rng: np.random.Generator
) -> None:
    wrong = np.zeros((1000, 2), bool)
    for run in wrong:
        gains = rng.choice([-1.0, 0.0, 1.0], 160, p=[differ / 2, 1 - differ, differ / 2])
        for look in range(1, 5):
            mean, half = interval(gains[: FIRST_LOOK * 2 ** (look - 1)], ALPHA / (look * (look + 1)))
            run |= [mean - half > 0, mean + half < 0]
    assert (wrong.mean(axis=0) < ALPHA).all()


def test_a_strategy_that_asks_the_same_again_is_not_winning(rng: np.random.Generator) -> None:
    found = compare(ByHeart(), *answers(np.zeros(120, int), 40, rng), seed=1)
    assert found.verdict == "not winning"
    assert found.gain is not None
    assert found.high is not None
    assert found.gain < found.high < 0
    assert 40 - 2 * FEWEST <= found.judged_by < 40
    assert found.sentence.startswith("not winning: ")
    assert "points better" in found.sentence


def test_a_strategy_that_never_asks_the_same_twice_wins(rng: np.random.Generator) -> None:
    found = compare(ByHeart(), *answers(np.arange(TYPES), 50, rng, among=range(TYPES, TYPES + 50)), seed=1)
    assert found.verdict == "winning"
    assert found.low is not None
    assert found.low > 0
    assert "points worse" in found.sentence


def test_random_order_itself_is_no_evidence(rng: np.random.Generator) -> None:
    verdicts = [compare(ByHeart(), *answers(rng.integers(0, TYPES, 200), 40, rng), seed=1).verdict for _ in range(40)]
    assert verdicts.count("not enough evidence") >= 37


def test_without_chosen_answers_there_is_nothing_to_exchange(rng: np.random.Generator) -> None:
    found = compare(ByHeart(), *answers(np.arange(2), 40, rng), seed=1)
    assert (found.verdict, found.gain, found.judged_by) == ("not enough evidence", 0.0, 0)


def test_before_the_first_look_nothing_is_compared(rng: np.random.Generator) -> None:
    learner = ByHeart()
    found = compare(learner, *answers(np.arange(TYPES), FIRST_LOOK - 1, rng), seed=1)
    assert (found.verdict, found.gain, found.judged_by) == ("not enough evidence", None, 0)
    assert f"{FIRST_LOOK - 1} of the {FIRST_LOOK} audited answers" in found.sentence
    assert not learner.knew


def test_between_looks_the_result_stays_as_it_is(rng: np.random.Generator) -> None:
    train, audited = answers(rng.integers(0, TYPES, 150), 39, rng)
    until = np.flatnonzero(audited)[FIRST_LOOK - 1] + 1
    part = TrainingSet(train.vectors[:until], train.targets[:until], train.weights[:until], False)
    assert compare(ByHeart(), part, audited[:until], seed=1) == compare(ByHeart(), train, audited, seed=1)
