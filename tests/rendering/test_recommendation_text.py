"""The recommendation follows from the summary, and claims no more than is significant."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from made_curves import BUDGETS, measured

from ml_backend.rendering.recommendation_text import recommend
from ml_backend.simulation.summary import summarise


def ahead(gains: list[float]) -> list[list[float]]:
    """Curves whose mean from 10 to 40 labels is above that of [0.3, 0.5, 0.7] by these points."""
    return [[0.3, 0.5 + gain / 50, 0.7] for gain in gains]


def summary_of(protocol: dict[str, Any], **gains: list[float]) -> dict[str, Any]:
    """The summary of strategies that are ahead of random by these points in each seed."""
    seeds = len(next(iter(gains.values())))
    measurements = measured("random", ahead([0] * seeds))
    for name, differences in gains.items():
        measurements += measured(name, ahead(differences))
    return summarise(measurements, protocol)


def against_random(**gains: list[float]) -> str:
    return recommend(summary_of({}, **gains))


WINS = [2.0, 2.5, 3.0, 3.5, 4.0, 2.2, 2.8, 3.2, 3.9, 2.9]


def test_a_clear_winner_is_recommended_with_what_it_saves() -> None:
    random_curves = [[0.3, 0.5, 0.7 + i / 500] for i in range(10)]
    curves = [[0.3, 0.7 + i / 250, 0.8 + i / 500] for i in range(10)]
    lines = recommend(summarise(measured("random", random_curves) + measured("margin", curves), {})).splitlines()
    assert lines[0] == "Use margin on this data."
    labels_needed = 10 + 10 * (0.709 - 0.3) / (0.718 - 0.3)  # its mean is 0.718 with 20 labels
    assert (
        f"It needs about {labels_needed:.0f} labels for a macro-F1 of 0.709, random order 40: {40 - labels_needed:.0f}"
        in lines[1]
    )
    area = np.trapezoid(np.array(curves) - random_curves, BUDGETS).mean() / 30
    assert f"Averaged from 10 to 40 labels, its macro-F1 is {100 * area:.1f} points (hundredths) above" in lines[2]
    assert "ahead in 10 of 10 repetitions (p = 0.002, Wilcoxon signed-rank test, corrected for 1 strategy; " in lines[2]
    assert lines[2].endswith("with 10 repetitions, p has to be less than 0.025).")
    assert lines[3].startswith("The weakest class ends with an F1 of 0.404, with random order 0.354: +5.0 points")
    assert "chance" not in lines[3]
    assert len(lines) == 4


def test_what_is_better_too_is_named_and_what_is_worse_is_warned_of() -> None:
    lines = against_random(first=WINS, second=[gain - 1 for gain in WINS], bad=[-gain for gain in WINS]).splitlines()
    assert lines[0] == "Use first on this data."
    assert lines[3].endswith("+0 points (95 % interval: +0 to +0).")
    unit = "in points of macro-F1 with 97.5 % intervals:"
    assert lines[4].startswith(f"Also better than random order, {unit} second +2.0 (+1.5 to +2.")
    assert lines[4].endswith("). Not tested: whether first is better.")
    assert lines[5].startswith(
        f"Do not use the strategies that are worse than random order, {unit} bad -3.0 (-3.5 to -2."
    )
    assert len(lines) == 6


def test_where_a_useful_gain_is_ruled_out_random_order_stays() -> None:
    lines = against_random(same=[0.0] * 10, noise=[0.8, -0.9] * 5, bad=[-gain for gain in WINS]).splitlines()
    assert lines[0] == "Stay with random order on this data: a gain of 1 point of macro-F1 or more is ruled out."
    assert lines[1].startswith("The best of the others is same. ")
    assert "is 0 points (hundredths) above" in lines[1]
    assert "ahead in 0 of 10 repetitions, equal in 10 (p = 1," in lines[1]
    assert lines[2].startswith("Do not use the strategies that are worse than random order, in points of macro-F1")
    assert len(lines) == 3


def test_if_even_the_best_is_worse_random_order_stays() -> None:
    text = against_random(bad=[-gain for gain in WINS])
    assert text.startswith("Stay with random order")
    assert "Do not use the strategies that are worse than random order" in text


PROMISING = [4.6, 3.5, 2.0, 1.0, 0.5, 2.5, 1.5, 3.7, -1.4, -1.9]


def test_a_gain_that_may_be_chance_or_useful_is_no_reason_for_random_order() -> None:
    summary = summary_of({}, margin=PROMISING)
    low, high = (100 * end for end in summary["protocol"]["against_random"]["margin"]["gain_interval"])
    assert low < 0 and high > 1
    lines = recommend(summary).splitlines()
    assert lines[0] == "It cannot be told yet whether margin beats random order on this data."
    assert lines[1].startswith("So far margin is ahead. ")
    assert (
        f"1.6 points (hundredths) above that of random order (97.5 % interval: {low:+.1f} to {high:+.1f})" in lines[1]
    )
    assert (
        "If the gain stays like this, 40 repetitions (--seeds 40, the finished ones are kept) would probably"
        in lines[2]
    )
    assert len(lines) == 3


def test_of_several_the_best_that_is_undecided_is_told() -> None:
    lines = against_random(margin=PROMISING, noise=[9.0, -9.5] * 5).splitlines()
    assert lines[0] == "It cannot be told yet whether any strategy beats random order on this data."
    assert lines[1].startswith("So far margin is ahead. ")


def test_where_repetitions_vary_too_much_more_of_them_are_not_advised() -> None:
    lines = against_random(noise=[29.0, -28.0] * 5).splitlines()
    assert lines[0].startswith("It cannot be told yet")
    assert lines[2].startswith(
        "The gain varies so much that a decision would take more than 160 repetitions: a larger test part"
    )


def test_what_is_behind_is_not_called_the_best() -> None:
    text = against_random(one=[-8.0, -9.2])
    assert "So far no strategy is ahead; one comes closest. Averaged" in text
    assert "8.6 points (hundredths) below that of random order." in text


def test_too_few_repetitions_have_no_interval_and_no_p_value() -> None:
    for seeds in range(1, 7):
        text = against_random(one=WINS[:seeds])
        assert text.startswith("Too few repetitions")
        assert "interval" not in text and "p =" not in text


def test_the_more_repetitions_were_looked_at_the_surer_it_has_to_be() -> None:
    text = against_random(one=[gain - 0.35 + number / 100 for number, gain in enumerate(PROMISING + PROMISING[::-1])])
    assert "(p = 0.01" in text and "with 20 repetitions, p has to be less than 0.0083)" in text
    assert text.startswith("It cannot be told yet")


def test_what_all_end_with_alike_is_left_out() -> None:
    lines = recommend(summary_of({"pool": 40}, first=WINS)).splitlines()
    assert lines[0] == "Use first on this data."
    assert lines[1].startswith("Averaged from 10 to 40 labels")
    assert lines[2].startswith("All 40 tasks to choose from were labelled in the end, where all strategies are alike")
    assert len(lines) == 3


@pytest.mark.parametrize("stay", [True, False])
def test_few_test_tasks_are_a_reason_for_caution(stay: bool) -> None:
    warning = recommend(summary_of({"test_rows": 50, "test_rows_stay": stay}, first=WINS)).splitlines()[-1]
    same_rows = ", the same in all repetitions, which no interval covers" if stay else ""
    assert warning.startswith(f"Be cautious: there are only 50 test tasks{same_rows}. ")
    assert "off by about 5.7 points" in warning  # 42 right of 54: the square root of 0.78 * 0.22 / 54
    assert "cautious" not in recommend(summary_of({"test_rows": 100, "test_rows_stay": stay}, first=WINS))


def test_repetitions_that_not_all_have_finished_are_told() -> None:
    measurements = measured("random", ahead([0] * 10)) + measured("b", ahead(WINS))
    assert "Not counted" not in recommend(summarise(measurements, {}))
    incomplete = [
        measurement for measurement in measurements if measurement.strategy != "b" or measurement.seed not in (1, 3)
    ]
    assert recommend(summarise(incomplete, {})).endswith(
        "Not counted: 2 repetitions (seeds) that not every strategy has finished."
    )


@pytest.mark.parametrize(("strategies", "seeds"), [(1, 7), (2, 8), (3, 8), (4, 9), (6, 9), (7, 10)])
def test_there_are_too_few_seeds_exactly_where_even_a_clean_sweep_is_not_significant(
    strategies: int, seeds: int
) -> None:
    """The least p-value of n seeds is 2 / 2**n; Holm multiplies it by the number of strategies."""
    assert strategies * 2 / 2**seeds < 0.025 <= strategies * 2 / 2 ** (seeds - 1)
    all_gains = {f"s{i}": [gain + i for gain in WINS] for i in range(strategies)}
    text_before = against_random(**{name: gains[: seeds - 1] for name, gains in all_gains.items()})
    assert text_before.startswith("Too few repetitions (seeds) to say.\n")
    assert f"takes at least {seeds} repetitions, not {seeds - 1}" in text_before
    assert f"So far s{strategies - 1} is ahead. " in text_before
    text = against_random(**{name: gains[:seeds] for name, gains in all_gains.items()})
    assert text.startswith(f"Use s{strategies - 1} on this data.")


def test_a_p_value_that_only_the_correction_makes_too_large_does_not_tell() -> None:
    gains = [0.5, *WINS[1:7], -0.6]  # the second smallest is lost: p = 6 / 256
    assert against_random(one=gains).startswith("Use one ")
    summary = summarise(
        [
            measurement
            for name in ("one", "two", "three")
            for measurement in measured(name, ahead(gains if name == "one" else [0] * 8))
        ]
        + measured("random", ahead([0] * 8)),
        {},
    )
    assert summary["strategies"]["one"]["vs_random"]["p_value"] == pytest.approx(6 / 256)
    assert summary["protocol"]["against_random"]["one"]["p_holm"] == pytest.approx(18 / 256)
    assert summary["protocol"]["against_random"]["one"]["gain_interval"][0] > 0
    assert recommend(summary).startswith("It cannot be told yet whether any strategy beats random order")


def test_a_small_p_value_is_not_enough_if_the_interval_holds_zero() -> None:
    gains = [*(2 + number / 10 for number in range(15)), -30.0]  # one disaster among small wins
    text = against_random(one=gains)
    assert "(p = 0.0052," in text  # 2 * 169 / 65536: 169 subsets of the ranks have a sum of at most 16
    assert text.startswith("It cannot be told yet")


def test_a_strategy_that_is_overtaken_is_for_those_who_stop_early() -> None:
    random_curves, curves = [[0.3, 0.4, 0.7]] * 8, [[0.3, 0.65, 0.68]] * 8
    lines = recommend(summarise(measured("random", random_curves) + measured("early", curves), {})).splitlines()
    assert lines[0] == "Use early on this data, but only if you will stop early."
    assert lines[1] == "It learns faster at first, but with 40 labels it ends below the 0.700 of random order."


def test_an_uncertain_saving_says_that_it_may_be_none() -> None:
    random_curves = [[0.3, 0.4, 0.7]] * 10
    curves = [[0.3, 0.68, 0.6]] * 4 + [[0.3, 0.7, 0.8]] * 6
    lines = recommend(summarise(measured("random", random_curves) + measured("b", curves), {})).splitlines()
    assert re.search(r"\(95 % interval: at best \d+ fewer, at worst it does not get there with 40\)", lines[1])


def test_random_order_alone_is_not_compared() -> None:
    text = recommend(summarise(measured("random", [[0.3, 0.4, 0.7]] * 3), {}))
    assert text == "Only random order was measured: there is nothing to compare it with."
