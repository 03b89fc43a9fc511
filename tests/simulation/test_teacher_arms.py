"""The gain of a teacher arm over its strategy, computed by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ml_backend.rendering.recommendation_text import arm_sentences, recommend
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.summary import summarise
from ml_backend.simulation.teacher_arms import compare_with_base


def run(strategy: str, seed: int, scores: tuple[float, float], calls: float | None = None) -> Iterator[Measurement]:
    for labelled, score in zip((10, 20), scores, strict=True):
        for metric in ("macro_f1", "accuracy", "worst_class_f1"):
            yield Measurement(strategy, seed, labelled, metric, "", score)
        if calls is None:
            continue
        for metric in ("calls", "tokens", "cost"):
            value = calls * (labelled == 20) * {"calls": 1, "tokens": 110, "cost": 0.5}[metric]
            yield Measurement(strategy, seed, labelled, f"teacher_{metric}", "", value)


def measured(seeds: int) -> list[Measurement]:
    measurements: list[Measurement] = []
    for seed in range(seeds):
        measurements += run("random", seed, (0.1, 0.2))
        measurements += run("margin", seed, (0.4, 0.6))
        measurements += run("margin + evolve", seed, (0.5, 0.7 + seed / 100), 8)
        measurements += run("margin + teach", seed, (0.4, 0.5), 10)
    return measurements


def test_an_arm_is_compared_with_its_strategy_and_not_with_random_order() -> None:
    comparisons = compare_with_base(measured(8), "macro_f1")
    evolve, teach = comparisons["margin + evolve"], comparisons["margin + teach"]
    assert evolve["gain"] == pytest.approx(0.1 + 0.035 / 2) and teach["gain"] == pytest.approx(-0.05)
    assert (evolve["wins"], teach["wins"], evolve["seeds"], evolve["base"]) == (8, 0, 8, "margin")
    assert (evolve["calls"], evolve["tokens"], evolve["cost"]) == (8, 880, 4)
    assert evolve["interval"][0] < evolve["gain"] < evolve["interval"][1] and evolve["level"] == 0.025
    assert evolve["p_holm"] == pytest.approx(2 * 2 / 2**8) == teach["p_holm"], "Wilcoxon's least, for two arms"


def test_they_are_told_best_first_with_what_they_took() -> None:
    first, second = arm_sentences(compare_with_base(measured(8), "macro_f1"), "macro-F1")
    assert first.startswith("margin + evolve: +11.8 points of macro-F1 beside margin alone (97.5 % interval: +")
    evidence = "ahead in 8 of 8 repetitions, p = 0.016 corrected for 2, where p has to be less than 0.025"
    assert first.endswith(f"{evidence}), for 8 calls and 880 tokens at 4 a repetition.")
    assert second.startswith("margin + teach: -5.0 points")


def test_of_few_repetitions_no_interval_is_given() -> None:
    for line in arm_sentences(compare_with_base(measured(3), "macro_f1"), "macro-F1"):
        assert "of 3 repetitions, which are too few to say)" in line and "interval" not in line


def test_arms_that_were_tried_before_make_the_correction_stronger() -> None:
    measurements = [measurement for measurement in measured(8) if measurement.strategy != "margin + teach"]
    comparisons = compare_with_base(measurements, "macro_f1", tried=["margin", "margin + teach", "margin + evolve"])
    assert comparisons.keys() == {"margin + evolve"}
    assert (comparisons["margin + evolve"]["corrected_for"], comparisons["margin + evolve"]["p_holm"]) == (2, 4 / 2**8)


def test_an_arm_is_no_rival_of_random_order() -> None:
    """An arm is compared with its strategy only, however large its gain."""
    summary = summarise(measured(8), {})
    assert summary["protocol"]["against_random"].keys() == {"margin"} and summary["protocol"]["corrected_for"] == 1
    assert summary["protocol"]["against_base"].keys() == {"margin + evolve", "margin + teach"}
    recommendation, *other_lines = recommend(summary).splitlines()
    assert recommendation == "Use margin on this data." and any(
        line.startswith("margin + evolve: ") for line in other_lines
    )
