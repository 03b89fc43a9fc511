"""The summary agrees with computation by hand."""

from __future__ import annotations

import json
import math

import pytest
from made_curves import BUDGETS, measured

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.summary import summarise


def test_the_summary_by_hand() -> None:
    measurements = measured("random", [[0.2, 0.4, 0.6], [0.4, 0.6, 0.8]]) + measured(
        "b", [[0.2, 0.7, 0.8], [0.4, 0.9, 0.8]]
    )
    summary = summarise(measurements, {"tasks": 7})
    assert summary["strategies"]["random"] == {
        "final": pytest.approx({"accuracy": 0.8, "macro_f1": 0.7, "worst_class_f1": 0.35}),
        # 0.3 from 10 to 20 and 0.5 from 20 to 40, and 0.2 more with the other seed
        "naulc": {"mean": pytest.approx(13 / 30 + 0.1), "ci95": pytest.approx([13 / 30, 13 / 30 + 0.2])},
        "labels_to_target": pytest.approx(40),
        "seconds_per_round": pytest.approx(2.5),  # of 1, 2, 4, 2, 3, 5
        "vs_random": {"naulc_gain": 0, "ci95": [0, 0], "p_value": 1, "wins": 0, "ties": 0, "losses": 0},
    }
    gain = (10 * 0.15 + 20 * (0.15 + 0.1) + 10 * 0.15 + 20 * 0.15) / 60
    assert summary["strategies"]["b"] == {
        "final": pytest.approx({"accuracy": 0.9, "macro_f1": 0.8, "worst_class_f1": 0.4}),
        "naulc": {"mean": pytest.approx(13 / 30 + 0.1 + gain), "ci95": pytest.approx([0.65, 0.75], abs=0.1)},
        "labels_to_target": pytest.approx(10 + 10 * 0.4 / 0.5),
        "seconds_per_round": pytest.approx(2.5),
        "vs_random": {
            "naulc_gain": pytest.approx(gain),
            "ci95": pytest.approx([0.15, 13 / 60]),
            "p_value": 0.5,
            "wins": 2,
            "ties": 0,
            "losses": 0,
        },
    }
    assert summary["protocol"] == {
        "metric": "macro_f1",
        "tasks": 7,
        "measured_at": [10, 20, 40],
        "target": pytest.approx(0.7),
        "paired_seeds": 2,
        "unpaired_seeds": 0,
        "level": 0.025,
        "corrected_for": 1,
        "ends_alike": False,
        "against_base": {},
        "against_random": {
            "b": {
                "p_holm": 0.5,
                "gain_interval": pytest.approx([0.15, 13 / 60]),
                "seeds_to_tell": 10,
                "labels_saved": pytest.approx(22),
                "labels_saved_ci95": pytest.approx([20, 24], abs=2),
                "worst_class_gain": pytest.approx(0.05),
                "worst_class_ci95": pytest.approx([0, 0.1]),
            }
        },
    }


def test_seeds_that_one_strategy_has_not_finished_count_for_none() -> None:
    random_curves, curves = [[0.2, 0.3 + i / 50, 0.6] for i in range(4)], [[0.2, 0.5 - i / 40, 0.7] for i in range(4)]
    measurements = measured("random", random_curves) + measured("b", curves) + measured("c", curves)
    incomplete = [
        measurement for measurement in measurements if measurement.strategy != "b" or measurement.seed not in (1, 3)
    ]
    paired = [measurement for measurement in measurements if measurement.seed not in (1, 3)]
    summary, expected = summarise(incomplete, {}), summarise(paired, {})
    assert summary["strategies"] == expected["strategies"]
    assert (summary["protocol"]["paired_seeds"], summary["protocol"]["unpaired_seeds"]) == (2, 2)
    assert (expected["protocol"]["paired_seeds"], expected["protocol"]["unpaired_seeds"]) == (2, 0)


@pytest.mark.parametrize(
    "measurements",
    [
        [],
        measured("b", [[0.2, 0.3, 0.4]]),
        measured("random", [[0.2, 0.3, 0.4]]) + measured("b", [[0.2, 0.3, 0.4]], first=1),
        measured("random", [[0.2, math.nan, 0.4]]) + measured("b", [[0.2, 0.3, 0.4]]),
    ],
    ids=["nothing", "no random", "no seed in common", "not finite"],
)
def test_without_a_seed_of_all_strategies_there_is_nothing_to_summarise(measurements: list[Measurement]) -> None:
    with pytest.raises(ApprenticeError, match="nothing to compare"):
        summarise(measurements, {})


def test_the_summary_is_json_whatever_was_measured() -> None:
    measurements = measured("random", [[0.2, 0.4, 0.6]] * 3) + measured(
        "b", [[0.2, 0.3, 0.5]] * 2 + [[0.2, math.nan, 0.5]]
    )
    summary = summarise([measurement for measurement in measurements if measurement.metric != "seconds"], {})
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["protocol"]["paired_seeds"] == 2
    assert summary["strategies"]["b"]["labels_to_target"] is None
    assert summary["protocol"]["against_random"]["b"]["labels_saved_ci95"] == [None, None]
    assert summary["strategies"]["b"]["seconds_per_round"] == 0
    assert "groups" not in summary["strategies"]["b"]


def test_a_single_budget_is_its_own_area() -> None:
    measurements = [
        measurement for measurement in measured("random", [[0.2, 0.4, 0.6]] * 2) if measurement.labelled == 20
    ]
    summary = summarise(measurements, {})
    assert summary["strategies"]["random"]["naulc"]["mean"] == pytest.approx(0.4)
    assert summary["strategies"]["random"]["labels_to_target"] == 20


def test_the_worst_group_is_the_one_with_the_lowest_accuracy_at_the_end() -> None:
    measurements = measured("random", [[0.2, 0.4, 0.6]] * 2) + measured("b", [[0.2, 0.4, 0.6]] * 2)
    for strategy, group, final_accuracy in (
        ("random", "en", 0.9),
        ("random", "de", 0.7),
        ("b", "en", 0.6),
        ("b", "de", 0.8),
    ):
        for seed in range(2):
            measurements += [Measurement(strategy, seed, n, "accuracy", group, n / 100) for n in BUDGETS[:2]]
            measurements += [Measurement(strategy, seed, 40, "accuracy", group, final_accuracy + (seed - 0.5) / 10)]
            measurements += [Measurement(strategy, seed, n, "macro_f1", group, 1 - final_accuracy) for n in BUDGETS]
    measurements += [Measurement("b", 0, n, "accuracy", "measured for b only", 0.0) for n in BUDGETS]
    strategies = summarise(measurements, {})["strategies"]
    assert strategies["random"]["groups"] == pytest.approx({"worst": "de", "worst_accuracy": 0.7, "gap": 0.2})
    assert strategies["b"]["groups"] == pytest.approx({"worst": "en", "worst_accuracy": 0.6, "gap": 0.2})


def test_strategies_that_were_tried_before_make_the_correction_stronger() -> None:
    measurements = measured("random", [[0.2, 0.4, 0.6]] * 8) + measured(
        "b", [[0.2, 0.5 + i / 50, 0.6] for i in range(8)]
    )
    summary, summary_of_three_tried = (
        summarise(measurements, {}),
        summarise(measurements, {}, tried=["b", "c", "d", "random"]),
    )
    p_value = 2 / 2**8
    assert summary["protocol"]["against_random"]["b"]["p_holm"] == pytest.approx(p_value)
    assert summary_of_three_tried["protocol"]["against_random"]["b"]["p_holm"] == pytest.approx(3 * p_value)
    assert (summary["protocol"]["corrected_for"], summary_of_three_tried["protocol"]["corrected_for"]) == (1, 3)
    assert summary_of_three_tried["strategies"] == summary["strategies"]


@pytest.mark.parametrize(("pool", "alike"), [(40, True), (41, False)])
def test_the_ends_are_alike_if_everything_was_labelled(pool: int, alike: bool) -> None:
    measurements = measured("random", [[0.2, 0.4, 0.6]] * 2) + measured("b", [[0.2, 0.5, 0.6]] * 2)
    assert summarise(measurements, {"pool": pool})["protocol"]["ends_alike"] is alike
