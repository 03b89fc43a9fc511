"""Accuracy, intervals, the sign test and the gate, against scipy and against counting."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from ml_backend.core.types import EstimateSource
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.metrics import (
    BINS,
    MIN_ANSWERS_FOR_ACCURACY,
    calibration_error,
    decide_labels,
    f1_scores,
    is_correct,
    wilson_interval,
)
from ml_backend.evaluation.promotion_gate import ALPHA, decide_promotion, sign_test


@given(n=st.integers(1, 3000), data=st.data())
@hypothesis_settings(max_examples=150)
def test_the_interval_is_scipys_score_interval(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    estimate = wilson_interval(right, n, EstimateSource.QUEUE)
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert estimate is not None
    assert estimate.value == right / n
    assert estimate.low == pytest.approx(expected.low, abs=1e-6)
    assert estimate.high == pytest.approx(expected.high, abs=1e-6)
    assert (estimate.n, estimate.source) == (n, EstimateSource.QUEUE)


def test_without_observations_there_is_no_estimate() -> None:
    assert wilson_interval(0, 0, EstimateSource.QUEUE) is None


@given(n=st.integers(1, 400), data=st.data())
@hypothesis_settings(max_examples=150)
def test_the_sign_test_is_scipys(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    assert sign_test(hits, n) == pytest.approx(binomtest(hits, n, 0.5, alternative="greater").pvalue, rel=1e-9)


@given(n=st.integers(1, 100_000), data=st.data())
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_sign_test_is_a_sum_of_logarithms_for_any_number_of_answers(n: int, data: st.DataObject) -> None:
    """Within six standard deviations of a tie, where the gate decides; beyond, a float holds nothing but 0 and 1."""
    middle, reach = n / 2, 3 * np.sqrt(n)
    hits = data.draw(st.integers(max(0, int(middle - reach)), min(n, int(middle + reach) + 1)))
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    at_least = factorials[n] - factorials[hits:] - factorials[n - np.arange(hits, n + 1)] - n * np.log(2)
    assert sign_test(hits, n) == pytest.approx(np.exp(at_least).sum(), rel=1e-6)


@pytest.mark.parametrize("n", [1023, 1024, 2000, 20_000])
def test_the_gate_decides_however_many_answers_the_learners_differ_on(n: int) -> None:
    """A float cannot hold 2 to the power of 1,024. One-sided 5 % lie 1.645 standard deviations from a tie."""
    edge = n / 2 + 1.645 * np.sqrt(n) / 2
    for lost, promoted in ((int(edge) - 3, True), (int(edge) + 4, False), (n, False), (0, True)):
        new, old = [1] * lost + [0] * (n - lost), [0] * lost + [1] * (n - lost)
        assert decide_promotion(*scores(new, old)).promote == promoted, lost


def test_one_choice_is_the_most_probable_and_several_are_all_from_one_half_up() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.5, 0.5, 0.0]], np.float32)
    assert decide_labels(probabilities, multiple=False).tolist() == [[False, True, False], [True, False, False]]
    assert decide_labels(probabilities, multiple=True).tolist() == [[False, True, False], [True, True, False]]


rows = st.lists(
    st.tuples(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
              st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3)),
    min_size=1, max_size=8,
)  # fmt: skip


@given(rows=rows)
def test_correct_agrees_with_looking_at_each_row(rows: list[tuple[list[float], list[float]]]) -> None:
    probabilities = np.array([row[0] for row in rows], np.float32)
    targets = np.array([row[1] for row in rows], np.float32)
    for row, (row_probabilities, row_targets) in enumerate(rows):
        best = max(range(3), key=lambda label: (row_probabilities[label], -label))
        assert is_correct(probabilities, targets, False)[row] == (row_targets[best] == max(row_targets))
        agrees = [
            row_targets[label] == 0.5 or (row_probabilities[label] >= 0.5) == (row_targets[label] == 1)
            for label in range(3)
        ]
        assert is_correct(probabilities, targets, True)[row] == all(agrees)


@given(data=st.data(), n=st.integers(1, 25), c=st.integers(2, 6), multiple=st.booleans())
@hypothesis_settings(max_examples=100)
def test_f1_is_scikit_learns_for_each_label_that_occurs(data: st.DataObject, n: int, c: int, multiple: bool) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    if multiple:
        drafted, truth = random.random((2, n, c)) < data.draw(st.sampled_from([0.05, 0.5]))
    else:  # of a part of the labels, so that the others do not occur
        drafted, truth = np.eye(c)[random.integers(0, random.integers(1, c + 1), (2, n))]
    probabilities = (0.6 * drafted + 0.4 * random.random((n, c))).astype(np.float32)
    probabilities = np.where(drafted, np.maximum(probabilities, 0.5), np.minimum(probabilities, 0.49)).astype(
        np.float32
    )
    scores, support = f1_scores(probabilities, truth.astype(np.float32), multiple)
    occurs = (drafted + truth).any(axis=0)
    assert scores == pytest.approx(f1_score(truth, drafted, average=None, zero_division=0)[occurs])
    assert support.tolist() == truth.sum(axis=0)[occurs].tolist()


def test_f1_of_a_split_answer_goes_by_its_strongest_label_or_by_all_from_one_half_up() -> None:
    targets = np.array([[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]], np.float32)
    probabilities = np.array([[0.9, 0.1, 0.0], [0.1, 0.1, 0.8]], np.float32)
    for multiple, scores, support in ((False, [1, 1], [1, 1]), (True, [1, 0, 1], [1, 1, 1])):
        result = f1_scores(probabilities, targets, multiple)
        assert (result[0].tolist(), result[1].tolist()) == (scores, support)


@given(data=st.data(), n=st.integers(1, 60), multiple=st.booleans())
@hypothesis_settings(max_examples=100)
def test_the_calibration_error_is_the_mean_gap_of_bins_weighted_by_their_size(
    data: st.DataObject, n: int, multiple: bool
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    targets = np.eye(3, dtype=np.float32)[random.integers(0, 3, n)]
    probabilities = random.dirichlet([0.4] * 3, n).astype(np.float32)
    probabilities[random.random(n) < 0.2] = [1, 0, 0]  # the last bin is closed
    decisions: list[tuple[float, bool]] = []
    for row, target in zip(probabilities.tolist(), targets.tolist(), strict=True):
        if multiple:
            decisions += [(max(p, 1 - p), (p >= 0.5) == (y == 1)) for p, y in zip(row, target, strict=True)]
        else:
            decisions.append((max(row), target[row.index(max(row))] == 1))
    gaps = []
    for bin_number in range(BINS):
        in_bin = [
            decision
            for decision in decisions
            if bin_number <= decision[0] * BINS < bin_number + 1 + (bin_number == BINS - 1)
        ]
        if in_bin:
            confidence, right = np.mean(in_bin, axis=0)
            gaps.append(len(in_bin) / len(decisions) * abs(right - confidence))
    assert calibration_error(probabilities, targets, multiple) == pytest.approx(sum(gaps), abs=1e-5)


def test_who_is_right_as_often_as_sure_is_calibrated_and_who_is_sure_and_wrong_is_not() -> None:
    eye = np.eye(2, dtype=np.float32)
    assert calibration_error(eye[[0, 1, 1]], eye[[0, 1, 1]], False) == 0.0
    assert calibration_error(eye[[1, 0, 0]], eye[[0, 1, 1]], False) == 1.0
    three_of_four = np.tile(np.array([0.75, 0.25], np.float32), (4, 1))
    assert calibration_error(three_of_four, eye[[0, 0, 0, 1]], False) == pytest.approx(0.0, abs=1e-6)


def scores(new: list[int], old: list[int] | None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]:
    """The scores of two learners; 0 is right, 1 is wrong."""
    return 1.0 - np.array(new), None if old is None else 1.0 - np.array(old)


@given(data=st.data(), n=st.integers(1, 60))
@hypothesis_settings(max_examples=150)
def test_the_gate_rejects_exactly_on_evidence(data: st.DataObject, n: int) -> None:
    new = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    old = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    decision = decide_promotion(*scores(new, old))
    lost = sum(now > before for now, before in zip(new, old, strict=True))
    won = sum(now < before for now, before in zip(new, old, strict=True))
    worse = lost > won and binomtest(lost, lost + won, 0.5, alternative="greater").pvalue < ALPHA
    assert decision.promote == (not worse)
    assert (decision.lost, decision.won, decision.compared) == (lost, won, n)


def test_the_first_learner_is_promoted() -> None:
    assert decide_promotion(*scores([1, 1, 1], None)).promote


@pytest.mark.parametrize(("lost", "won", "promoted"), [(4, 0, True), (5, 0, False), (6, 1, True), (7, 1, False)])
def test_the_gate_at_its_threshold(lost: int, won: int, promoted: bool) -> None:
    decision = decide_promotion(*scores([1] * lost + [0] * won, [0] * lost + [1] * won))
    assert decision.promote == promoted


sides = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.booleans()), min_size=1, max_size=60)


@given(rows=sides)
@hypothesis_settings(max_examples=200)
def test_evidence_on_the_audit_slice_decides_first_and_then_that_on_all_labels(
    rows: list[tuple[int, int, bool]],
) -> None:
    def evidence(subset: list[tuple[int, int, bool]]) -> int:
        """1 for the new learner, -1 for the old one, 0 for neither."""
        won, lost = sum(old > new for new, old, _ in subset), sum(new > old for new, old, _ in subset)
        is_significant = (
            won != lost and binomtest(max(won, lost), won + lost, 0.5, alternative="greater").pvalue < ALPHA
        )
        return (1 if won > lost else -1) if is_significant else 0

    new, old, audited = (list(column) for column in zip(*rows, strict=True))
    decision = decide_promotion(*scores(new, old), audited=np.array(audited))
    on_audit = evidence([row for row in rows if row[2]])
    assert decision.promote == ((on_audit or evidence(rows)) >= 0)
    assert decision.is_audited == bool(on_audit)
    assert decision.compared == (sum(audited) if on_audit else len(rows))


@pytest.mark.parametrize(
    ("audit_counts", "other_counts", "promoted"),
    [
        ((0, 5), (20, 0), False),  # chosen tasks flatter the new one, the random sample does not
        ((5, 0), (0, 20), True),
        ((0, 4), (20, 0), True),  # too few to be significant
        ((4, 0), (0, 20), False),
        ((0, 0), (0, 20), False),
    ],
)
def test_the_random_sample_overrules_the_chosen_tasks(
    audit_counts: tuple[int, int], other_counts: tuple[int, int], promoted: bool
) -> None:
    new = [0] * audit_counts[0] + [1] * audit_counts[1] + [0] * other_counts[0] + [1] * other_counts[1]
    audited = np.arange(len(new)) < sum(audit_counts)
    case = scores(new, [1 - answer for answer in new])
    assert decide_promotion(*case, audited=audited).promote == promoted
    assert decide_promotion(*case).promote == decide_promotion(*case, audited=audited & False).promote


def test_places_follow_the_share() -> None:
    random = np.random.default_rng(1)
    assert not audit_sample.draw_audit_places(1000, 0.0, random).any()
    drawn = audit_sample.draw_audit_places(40_000, 0.05, random).sum()
    assert abs(drawn - 2000) < 4 * np.sqrt(40_000 * 0.05 * 0.95)


@given(
    available=st.sets(st.integers(1, 30), max_size=20),
    drawn=st.lists(st.integers(1, 30), unique=True, max_size=8),
    n=st.integers(0, 25),
    seed=st.integers(0, 5),
)
def test_waiting_tasks_come_first_and_new_ones_are_drawn_from_the_rest(
    available: set[int], drawn: list[int], n: int, seed: int
) -> None:
    pending = [task for task in drawn if task in available]
    tasks = audit_sample.draw_audit_tasks(
        np.array(pending, np.int64), np.array(sorted(available), np.int64), n, np.random.default_rng(seed)
    ).tolist()
    assert len(tasks) == len(set(tasks)) == min(n, len(available))
    assert tasks[: len(pending)] == pending[:n]
    assert set(tasks) <= available


def test_every_task_is_as_likely_to_be_drawn() -> None:
    random = np.random.default_rng(3)
    available = np.arange(10, dtype=np.int64)
    counts = np.bincount(
        np.concatenate([audit_sample.draw_audit_tasks(available[:0], available, 3, random) for _ in range(4000)]),
        minlength=10,
    )
    assert np.abs(counts - 1200).max() < 4.5 * np.sqrt(4000 * 0.3 * 0.7)


def test_the_accuracy_comes_from_the_audit_slice_once_that_is_large_enough() -> None:
    tasks = np.arange(100)
    is_right = (tasks < 30).astype(np.float64)
    estimate = audit_sample.estimate_accuracy(is_right, tasks, np.arange(MIN_ANSWERS_FOR_ACCURACY - 1))
    assert estimate is not None
    assert (estimate.value, estimate.n) == (0.3, 100)
    assert estimate.source == EstimateSource.ALL_LABELS_CROSS_VALIDATED
    assert estimate.details == {"audited": MIN_ANSWERS_FOR_ACCURACY - 1, "minimum": MIN_ANSWERS_FOR_ACCURACY}
    audit_estimate = audit_sample.estimate_accuracy(is_right, tasks, np.array([*range(20, 40), 500]))
    assert audit_estimate is not None
    assert (audit_estimate.value, audit_estimate.n) == (0.5, 20)
    assert audit_estimate.source == EstimateSource.AUDIT_SAMPLE_CROSS_VALIDATED
    assert audit_sample.estimate_accuracy(is_right[:0], tasks[:0], tasks) is None
