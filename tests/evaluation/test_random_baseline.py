"""Acquisition against random order: what each learner is fitted on, the interval, the error rate, and clear cases."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from schemas import ONE_CHOICE, scorer
from scipy.stats import norm

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation.prequential import MIN_BLOCK_ANSWERS
from ml_backend.evaluation.random_baseline import (
    ALPHA,
    FIRST_LOOK,
    REPEATS,
    compare_with_random,
    count_looks,
    error_rate,
    exchanges,
    interval,
)

TYPES = 60
LABEL_OF_TYPE = np.arange(TYPES) % 7  # the label of each type of task


class MemorisingLearner:
    """Predicts the label of every type of task that it was fitted on, and label 7 for the others.

    The first column of a vector is the type, the second the row's place in answering order.
    """

    def __init__(self) -> None:
        self.fitted_rows: list[npt.NDArray[Any]] = []
        self.judged: list[npt.NDArray[Any]] = []

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        self.fitted_rows.append(train.vectors[:, 1].astype(int))
        labels = np.full(TYPES, 7)
        labels[train.vectors[:, 0].astype(int)] = train.targets.argmax(axis=1)
        return Fit({"knows": labels}, train.targets)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        self.judged.append(vectors[:, 1].astype(int))
        return np.asarray(np.eye(8, dtype=np.float32)[np.asarray(tensors["knows"], int)[vectors[:, 0].astype(int)]])


def answers(
    chosen: npt.NDArray[Any], audits: int, random: np.random.Generator, allowed_rows: Sequence[int] = ()
) -> tuple[TrainingSet, npt.NDArray[Any]]:
    """Rows of chosen types in their order, with audited ones of any type, at random rows of `allowed_rows`."""
    n = len(chosen) + audits
    audited = np.zeros(n, bool)
    audited[random.choice(allowed_rows or range(n), audits, replace=False)] = True
    types = np.zeros(n, int)
    types[audited], types[~audited] = random.integers(0, TYPES, audits), chosen
    vectors = np.column_stack([types, np.arange(n)]).astype(np.float32)
    return TrainingSet(
        vectors, np.eye(8, dtype=np.float32)[LABEL_OF_TYPE[types]], np.ones(n, np.float32), ONE_CHOICE
    ), audited


def test_a_look_is_due_whenever_the_audited_answers_have_doubled() -> None:
    assert [count_looks(n) for n in (0, 19, 20, 39, 40, 79, 80, 159, 160, 320)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]


def test_no_learner_knows_what_was_answered_after_its_tasks_and_all_have_as_many_answers(
    rng: np.random.Generator,
) -> None:
    train, audited = answers(rng.integers(0, TYPES, 200), 45, rng)
    learner = MemorisingLearner()
    gains = exchanges(learner, train, audited, np.flatnonzero(audited), 1, scorer())
    judged_by = np.concatenate(learner.judged[:: 1 + REPEATS])
    assert judged_by.tolist() == np.flatnonzero(audited)[45 - len(gains) :].tolist()
    assert len(gains) >= 45 - 2 * MIN_BLOCK_ANSWERS
    for i in range(0, len(learner.fitted_rows), 1 + REPEATS):
        judged = learner.judged[i]
        row_sets = {tuple(sorted(rows)) for rows in learner.fitted_rows[i : i + 1 + REPEATS]}
        (chosen,) = [rows for rows in row_sets if not audited[list(rows)].any()]
        assert list(chosen) == [row for row in range(judged[0]) if not audited[row]]
        for exchanged in row_sets - {chosen}:
            assert len(exchanged) == len(set(exchanged)) == len(chosen)
            assert set(np.flatnonzero(audited[: judged[0]])) <= set(exchanged)
            assert max(exchanged) < judged[0]


def test_the_gain_is_that_of_counting_who_is_right(rng: np.random.Generator) -> None:
    train, audited = answers(rng.integers(0, TYPES, 90), 30, rng)
    learner = MemorisingLearner()
    gains = exchanges(learner, train, audited, np.flatnonzero(audited), 1, scorer())
    types = train.vectors[:, 0].astype(int)
    expected = []
    for i in range(0, len(learner.fitted_rows), 1 + REPEATS):
        label_sets = [
            set(LABEL_OF_TYPE[types[rows]] * TYPES + types[rows]) for rows in learner.fitted_rows[i : i + 1 + REPEATS]
        ]
        chosen_rows = [
            rows for rows, labels in zip(learner.fitted_rows[i:], label_sets, strict=False) if not audited[rows].any()
        ]
        assert len(chosen_rows) == 1
        for row in learner.judged[i]:
            hits = [types[row] in types[rows] for rows in learner.fitted_rows[i : i + 1 + REPEATS]]
            chosen_hit = types[row] in types[chosen_rows[0]]
            expected.append(chosen_hit - (sum(hits) - chosen_hit) / REPEATS)
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
            mean, half = interval(gains[: FIRST_LOOK * 2 ** (look - 1)], error_rate(look))
            run |= [mean - half > 0, mean + half < 0]
    assert (wrong.mean(axis=0) < ALPHA).all()


def test_a_strategy_that_asks_the_same_again_is_not_winning(rng: np.random.Generator) -> None:
    comparison = compare_with_random(MemorisingLearner(), *answers(np.zeros(120, int), 40, rng), 1, scorer())
    assert comparison.verdict == "not winning"
    assert comparison.gain is not None
    assert comparison.high is not None
    assert comparison.gain < comparison.high < 0
    assert 40 - 2 * MIN_BLOCK_ANSWERS <= comparison.judged_by < 40
    assert comparison.exchanged is not None
    assert 40 / 120 <= comparison.exchanged < 0.4, "40 audited answers in place of up to 120 chosen ones"


def test_a_strategy_that_never_asks_the_same_twice_wins(rng: np.random.Generator) -> None:
    comparison = compare_with_random(
        MemorisingLearner(), *answers(np.arange(TYPES), 50, rng, allowed_rows=range(TYPES, TYPES + 50)), 1, scorer()
    )
    assert comparison.verdict == "winning"
    assert comparison.low is not None
    assert comparison.low > 0


def test_random_order_itself_is_no_evidence(rng: np.random.Generator) -> None:
    verdicts = [
        compare_with_random(MemorisingLearner(), *answers(rng.integers(0, TYPES, 200), 40, rng), 1, scorer()).verdict
        for _ in range(40)
    ]
    assert verdicts.count("not enough evidence") >= 37


def test_without_chosen_answers_there_is_nothing_to_exchange(rng: np.random.Generator) -> None:
    comparison = compare_with_random(MemorisingLearner(), *answers(np.arange(2), 40, rng), 1, scorer())
    assert (comparison.verdict, comparison.gain, comparison.judged_by) == ("not enough evidence", 0.0, 0)


def test_before_the_first_look_nothing_is_compared(rng: np.random.Generator) -> None:
    learner = MemorisingLearner()
    comparison = compare_with_random(learner, *answers(np.arange(TYPES), FIRST_LOOK - 1, rng), 1, scorer())
    assert (comparison.verdict, comparison.gain, comparison.judged_by) == ("not enough evidence", None, 0)
    assert comparison.exchanged is None
    assert not learner.fitted_rows


def test_between_looks_the_result_stays_as_it_is(rng: np.random.Generator) -> None:
    train, audited = answers(rng.integers(0, TYPES, 150), 39, rng)
    end = np.flatnonzero(audited)[FIRST_LOOK - 1] + 1
    earlier_train = TrainingSet(train.vectors[:end], train.targets[:end], train.weights[:end], ONE_CHOICE)
    assert compare_with_random(MemorisingLearner(), earlier_train, audited[:end], 1, scorer()) == compare_with_random(
        MemorisingLearner(), train, audited, 1, scorer()
    )
