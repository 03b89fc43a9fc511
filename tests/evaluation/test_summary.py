"""The summary is what the measurements say, the verdict what the summary says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ml_backend.domain import ApprenticeError
from ml_backend.evaluation.curves import Measurement
from ml_backend.evaluation.summary import summarise, verdict

BUDGETS = (10, 20, 40)


def measured(strategy: str, curves: list[list[float]], first: int = 0) -> list[Measurement]:
    """One row of macro-F1 values for each seed; the other metrics follow from it."""
    found = []
    for seed, curve in enumerate(curves, first):
        for labelled, value in zip(BUDGETS, curve, strict=True):
            metrics = {
                "macro_f1": value,
                "accuracy": value + 0.1,
                "worst_class_f1": value / 2,
                "calibration_error": 0.1,
                "seconds": labelled / 10 + seed,
            }
            found += [Measurement(strategy, seed, labelled, name, "", each) for name, each in metrics.items()]
    return found


def ahead(gains: list[float]) -> list[list[float]]:
    """Curves that are, averaged from 10 to 40 labels, so many points above [0.3, 0.5, 0.7]."""
    return [[0.3, 0.5 + gain / 50, 0.7] for gain in gains]


def against_random(**gains: list[float]) -> str:
    """The verdict on strategies that are so many points ahead of random in each seed."""
    seeds = len(next(iter(gains.values())))
    found = measured("random", ahead([0] * seeds))
    for name, each in gains.items():
        found += measured(name, ahead(each))
    return verdict(summarise(found, {}))


WINS = [2.0, 2.5, 3.0, 3.5, 4.0, 2.2, 2.8, 3.2, 3.9, 2.9]


def test_the_summary_by_hand() -> None:
    found = measured("random", [[0.2, 0.4, 0.6], [0.4, 0.6, 0.8]]) + measured("b", [[0.2, 0.7, 0.8], [0.4, 0.9, 0.8]])
    summary = summarise(found, {"tasks": 7})
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
        "tasks": 7,
        "measured_at": [10, 20, 40],
        "target": pytest.approx(0.7),
        "paired_seeds": 2,
        "unpaired_seeds": 0,
        "against_random": {
            "b": {
                "p_holm": 0.5,
                "labels_saved": pytest.approx(22),
                "labels_saved_ci95": pytest.approx([20, 24], abs=2),
                "worst_class_gain": pytest.approx(0.05),
                "worst_class_ci95": pytest.approx([0, 0.1]),
            }
        },
    }


def test_seeds_that_one_strategy_has_not_finished_count_for_none() -> None:
    randoms, ours = [[0.2, 0.3 + i / 50, 0.6] for i in range(4)], [[0.2, 0.5 - i / 40, 0.7] for i in range(4)]
    whole = measured("random", randoms) + measured("b", ours) + measured("c", ours)
    broken = [each for each in whole if each.strategy != "b" or each.seed not in (1, 3)]
    paired = [each for each in whole if each.seed not in (1, 3)]
    found, wanted = summarise(broken, {}), summarise(paired, {})
    assert found["strategies"] == wanted["strategies"]
    assert (found["protocol"]["paired_seeds"], found["protocol"]["unpaired_seeds"]) == (2, 2)
    assert (wanted["protocol"]["paired_seeds"], wanted["protocol"]["unpaired_seeds"]) == (2, 0)
    assert "Not counted: 2 repetitions" in verdict(found)
    assert "Not counted" not in verdict(wanted)


@pytest.mark.parametrize(
    "found",
    [
        [],
        measured("b", [[0.2, 0.3, 0.4]]),
        measured("random", [[0.2, 0.3, 0.4]]) + measured("b", [[0.2, 0.3, 0.4]], first=1),
        measured("random", [[0.2, math.nan, 0.4]]) + measured("b", [[0.2, 0.3, 0.4]]),
    ],
    ids=["nothing", "no random", "no seed in common", "not finite"],
)
def test_without_a_seed_of_all_strategies_there_is_nothing_to_summarise(found: list[Measurement]) -> None:
    with pytest.raises(ApprenticeError, match="nothing to compare"):
        summarise(found, {})


def test_the_summary_is_json_whatever_was_measured() -> None:
    found = measured("random", [[0.2, 0.4, 0.6]] * 3) + measured("b", [[0.2, 0.3, 0.5]] * 2 + [[0.2, math.nan, 0.5]])
    summary = summarise([each for each in found if each.metric != "seconds"], {})
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["protocol"]["paired_seeds"] == 2
    assert summary["strategies"]["b"]["labels_to_target"] is None
    assert summary["protocol"]["against_random"]["b"]["labels_saved_ci95"] == [None, None]
    assert summary["strategies"]["b"]["seconds_per_round"] == 0
    assert "groups" not in summary["strategies"]["b"]


def test_a_single_budget_is_its_own_area() -> None:
    found = [each for each in measured("random", [[0.2, 0.4, 0.6]] * 2) if each.labelled == 20]
    summary = summarise(found, {})
    assert summary["strategies"]["random"]["naulc"]["mean"] == pytest.approx(0.4)
    assert summary["strategies"]["random"]["labels_to_target"] == 20


def test_the_worst_group_is_the_one_with_the_lowest_accuracy_at_the_end() -> None:
    found = measured("random", [[0.2, 0.4, 0.6]] * 2) + measured("b", [[0.2, 0.4, 0.6]] * 2)
    for strategy, group, end in (("random", "en", 0.9), ("random", "de", 0.7), ("b", "en", 0.6), ("b", "de", 0.8)):
        for seed in range(2):
            found += [Measurement(strategy, seed, n, "accuracy", group, n / 100) for n in BUDGETS[:2]]
            found += [Measurement(strategy, seed, 40, "accuracy", group, end + (seed - 0.5) / 10)]
            found += [Measurement(strategy, seed, n, "macro_f1", group, 1 - end) for n in BUDGETS]
    found += [Measurement("b", 0, n, "accuracy", "measured for b only", 0.0) for n in BUDGETS]
    strategies = summarise(found, {})["strategies"]
    assert strategies["random"]["groups"] == pytest.approx({"worst": "de", "worst_accuracy": 0.7, "gap": 0.2})
    assert strategies["b"]["groups"] == pytest.approx({"worst": "en", "worst_accuracy": 0.6, "gap": 0.2})


def test_a_clear_winner_is_recommended_with_what_it_saves() -> None:
    randoms = [[0.3, 0.5, 0.7 + i / 500] for i in range(10)]
    ours = [[0.3, 0.7 + i / 250, 0.8 + i / 500] for i in range(10)]
    said = verdict(summarise(measured("random", randoms) + measured("margin", ours), {})).splitlines()
    assert said[0] == "Use margin on this data."
    needs = 10 + 10 * (0.709 - 0.3) / (0.718 - 0.3)  # its mean is 0.718 with 20 labels
    assert f"It needs about {needs:.0f} labels for a macro-F1 of 0.709, random order 40: {40 - needs:.0f}" in said[1]
    area = np.trapezoid(np.array(ours) - randoms, BUDGETS).mean() / 30
    assert f"Averaged from 10 to 40 labels, its macro-F1 is {100 * area:.1f} points (hundredths) above" in said[2]
    assert "ahead in 10 of 10 repetitions (p = 0.002, Wilcoxon signed-rank test, corrected for 1 strategy)" in said[2]
    assert said[3].startswith("The weakest class ends with an F1 of 0.404, with random order 0.354: +5.0 points")
    assert "chance" not in said[3]
    assert len(said) == 4


def test_what_is_better_too_is_named_and_what_is_worse_is_warned_of() -> None:
    said = against_random(first=WINS, second=[each - 1 for each in WINS], bad=[-each for each in WINS]).splitlines()
    assert said[0] == "Use first on this data."
    assert said[3].endswith("+0 points (95 % interval: +0 to +0), which can be chance.")
    points = "in points of macro-F1 with 95 % intervals:"
    assert said[4].startswith(f"Also better than random order, {points} second +2.0 (+1.5 to +2.")
    assert said[4].endswith("). Not tested: whether first is better.")
    assert said[5].startswith(f"Do not use what is worse than random order, {points} bad -3.0 (-3.5 to -2.")
    assert len(said) == 6


def test_where_nothing_is_better_random_order_stays() -> None:
    said = against_random(same=[0.0] * 10, noise=[1.0, -1.1] * 5, bad=[-each for each in WINS]).splitlines()
    assert said[0] == "Nothing was shown to beat random order on this data: stay with random order."
    assert said[1].startswith("The best of the others is same. ")
    assert "is 0 points (hundredths) above" in said[1]
    assert "ahead in 0 of 10 repetitions, equal in 10 (p = 1," in said[1]
    assert said[1].endswith("That can be chance.")
    assert said[2].startswith("Do not use what is worse than random order, in points of macro-F1")
    assert len(said) == 3


def test_if_even_the_best_is_worse_that_is_not_called_chance() -> None:
    said = against_random(bad=[-each for each in WINS])
    assert said.startswith("Nothing was shown to beat random order")
    assert "chance" not in said
    assert "Do not use what is worse than random order" in said


@pytest.mark.parametrize(("strategies", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9)])
def test_there_are_too_few_seeds_exactly_where_even_a_clean_sweep_is_not_significant(
    strategies: int, seeds: int
) -> None:
    """The least p-value of n seeds is 2 / 2**n; Holm multiplies it by the number of strategies."""
    assert strategies * 2 / 2**seeds < 0.05 <= strategies * 2 / 2 ** (seeds - 1)
    sweep = {f"s{i}": [each + i for each in WINS] for i in range(strategies)}
    few = against_random(**{name: gains[: seeds - 1] for name, gains in sweep.items()})
    assert few.startswith("Too few repetitions (seeds) to say.\n")
    assert f"takes at least {seeds}, not {seeds - 1}" in few
    assert f"The best so far is s{strategies - 1}. " in few
    enough = against_random(**{name: gains[:seeds] for name, gains in sweep.items()})
    assert enough.startswith(f"Use s{strategies - 1} on this data.")


def test_a_p_value_that_only_the_correction_makes_too_large_asks_for_more_seeds() -> None:
    gains = [*WINS[:7], -2.1]  # the second smallest is lost: p = 6 / 256
    assert against_random(one=gains).startswith("Use one ")
    summary = summarise(
        [
            each
            for name in ("one", "two", "three")
            for each in measured(name, ahead(gains if name == "one" else [0] * 8))
        ]
        + measured("random", ahead([0] * 8)),
        {},
    )
    assert summary["strategies"]["one"]["vs_random"]["p_value"] == pytest.approx(6 / 256)
    assert summary["protocol"]["against_random"]["one"]["p_holm"] == pytest.approx(18 / 256)
    assert summary["strategies"]["one"]["vs_random"]["ci95"][0] > 0
    assert verdict(summary).startswith("Not sure yet: repeat it with more seeds")


def test_a_small_p_value_is_not_enough_if_the_interval_holds_zero() -> None:
    gains = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, -30.0]  # one disaster among small wins
    said = against_random(one=gains)
    assert "(p = 0.034," in said  # 2 * 70 / 4096: of so many subsets of the ranks, the sum is at most 12
    assert said.startswith("Nothing was shown to beat random order")


def test_a_strategy_that_is_overtaken_is_for_those_who_stop_early() -> None:
    randoms, ours = [[0.3, 0.4, 0.7]] * 8, [[0.3, 0.65, 0.68]] * 8
    said = verdict(summarise(measured("random", randoms) + measured("early", ours), {})).splitlines()
    assert said[0] == "Use early on this data, but only if you will stop early."
    assert said[1] == "It learns faster at first, but with 40 labels it ends below the 0.700 of random order."


def test_an_uncertain_saving_says_that_it_may_be_none() -> None:
    randoms = [[0.3, 0.4, 0.7]] * 10
    ours = [[0.3, 0.68, 0.6]] * 4 + [[0.3, 0.7, 0.8]] * 6
    said = verdict(summarise(measured("random", randoms) + measured("b", ours), {})).splitlines()
    assert "(95 % interval: not within 40 to " in said[1]


def test_random_order_alone_is_not_compared() -> None:
    said = verdict(summarise(measured("random", [[0.3, 0.4, 0.7]] * 3), {}))
    assert said == "Only random order was measured: there is nothing to compare it with."


def test_one_seed_has_no_interval() -> None:
    words = against_random(one=[0.05])
    assert "above that of random order." in words and "interval" not in words
