"""The effort of annotators as the axis of learning curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_curves import BUDGETS, measured

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.rendering.recommendation_text import recommend
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.statistics import area_of_range, effort_saved, labels_saved, normalised_area
from ml_backend.simulation.summary import summarise

curves = st.lists(st.integers(0, 20).map(lambda step: step / 20), min_size=2, max_size=8)


@given(curve=curves, steps=st.lists(st.integers(0, 50), min_size=7, max_size=7))
def test_over_the_whole_range_the_area_is_that_of_the_trapezoids(curve: list[float], steps: list[int]) -> None:
    positions = np.cumsum([3, *(step + 1 for step in steps)])[: len(curve)].astype(float)
    values = np.array([curve, curve[::-1]])
    areas = area_of_range(np.tile(positions, (2, 1)), values, positions[[0, 0]], positions[[-1, -1]])
    assert areas == pytest.approx(normalised_area(positions, values))


@given(curve=curves, low=st.floats(0, 1), high=st.floats(0, 1), factor=st.integers(1, 50))
def test_the_area_of_a_part_is_the_mean_of_the_curve_there(
    curve: list[float], low: float, high: float, factor: int
) -> None:
    positions = factor * np.arange(len(curve), dtype=float)
    start, end = sorted((low * positions[-1], high * positions[-1]))
    area = area_of_range(positions[None], np.array([curve]), np.array([start]), np.array([end]))[0]
    if end - start < 1e-6 * factor:
        return
    dense = np.linspace(start, end, 20_001)
    assert area == pytest.approx(np.interp(dense, positions, curve).mean(), abs=1e-3)


def test_an_empty_range_has_the_first_value() -> None:
    positions, values = np.array([[5.0, 5.0]]), np.array([[0.2, 0.4]])
    assert area_of_range(positions, values, np.array([5.0]), np.array([5.0])).tolist() == [0.2]


@given(
    data=st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=2, max_size=5),
    words=st.integers(1, 30),
)
def test_if_all_tasks_are_equally_long_words_are_saved_in_proportion_to_labels(
    data: list[list[int]], words: int
) -> None:
    values, random = np.array(data) / 20, np.array(data)[:, ::-1] / 20
    positions = np.tile(np.array(BUDGETS, float), (len(data), 1))
    saved = effort_saved(words * positions, values, words * positions, random)
    labels = labels_saved(np.array(BUDGETS), values, random)
    for of_words, of_labels in ((saved.labels, labels.labels), (saved.low, labels.low), (saved.high, labels.high)):
        assert of_words == (None if of_labels is None else pytest.approx(words * of_labels))


def with_effort(measurements: list[Measurement], words: dict[str, int], spans: dict[str, int]) -> list[Measurement]:
    """Tasks with so many words and spans each, by strategy."""
    keys = dict.fromkeys((m.strategy, m.seed, m.labelled) for m in measurements)
    counted = [
        Measurement(strategy, seed, labelled, metric, "", labelled * by_strategy[strategy])
        for strategy, seed, labelled in keys
        for metric, by_strategy in (("words", words), ("spans", spans))
    ]
    renamed = [
        Measurement(m.strategy, m.seed, m.labelled, "strict F1", m.group, m.value)
        for m in measurements
        if m.metric == "macro_f1"
    ]
    return renamed + counted


def summary_of(x: str, *, words: int = 30, seeds: int = 10) -> dict[str, Any]:
    """The summary of a strategy that chooses texts of so many words, random order those of 10; and twice the spans."""
    random = measured("random", [[0.2, 0.4, 0.5 + i / 1000] for i in range(seeds)])
    entropy = measured("entropy", [[0.2, 0.5, 0.6 + i / 1000] for i in range(seeds)])
    measurements = with_effort(random + entropy, {"random": 10, "entropy": words}, {"random": 1, "entropy": 2})
    return summarise(measurements, {"x": x}, main_metric="strict F1")


def mean_height(positions: npt.NDArray[Any], values: list[float], low: float, high: float) -> float:
    dense = np.linspace(low, high, 100_001)
    return float(np.interp(dense, positions, values).mean())


def test_a_gain_in_tasks_may_be_a_loss_in_words() -> None:
    tasks, words = summary_of("tasks"), summary_of("words")
    assert tasks["strategies"]["entropy"]["vs_random"]["naulc_gain"] > 0
    assert words["strategies"]["entropy"]["vs_random"]["naulc_gain"] < 0
    # random order reads 100 to 400 words, the strategy 300 to 1,200: they have 300 to 400 in common
    assert words["protocol"]["compared_range"] == [300, 400]
    expected = mean_height(30 * np.array(BUDGETS), [0.2, 0.5, 0.6], 300, 400)
    assert words["strategies"]["entropy"]["naulc"]["mean"] == pytest.approx(expected, abs=1e-4)
    assert tasks["strategies"]["entropy"]["labels_to_target"] == words["strategies"]["entropy"]["labels_to_target"]


def test_the_needs_are_counted_on_each_axis() -> None:
    summary = summary_of("words")
    effort, target = summary["strategies"]["entropy"]["effort"], 0.5045
    needed = 20 + 20 * (target - 0.5) / (0.6045 - 0.5)
    for axis, per_task in (("tasks", 1), ("words", 30), ("spans", 2)):
        assert effort[axis]["end"] == 40 * per_task
        assert effort[axis]["to_target"] == pytest.approx(per_task * needed, rel=0.03)
    saved = summary["protocol"]["against_random"]["entropy"]["effort_saved"]
    assert saved["words"]["mean"] == pytest.approx(400 - effort["words"]["to_target"])
    assert saved["tasks"]["mean"] == pytest.approx(summary["protocol"]["against_random"]["entropy"]["labels_saved"])


def test_the_recommendation_names_all_three_needs() -> None:
    lines = recommend(summary_of("words", words=11)).splitlines()
    assert lines[0] == "Use entropy on this data."
    assert lines[1].startswith("For the strict F1 of 0.504 with which random order ends, it needs about 229 words read")
    assert "(random order 400): 171 fewer (95 % interval: " in lines[1]
    assert "It needs 21 tasks (random order 40) and 42 spans marked (random order 40)." in lines[1]
    assert lines[2].startswith("Averaged from 110 to 400 words read, its strict F1 is ")
    tasks = recommend(summary_of("tasks", words=11)).splitlines()
    assert "it needs about 21 tasks (random order 40)" in tasks[1]


def test_a_strategy_that_never_gets_there_is_said_to_end_below() -> None:
    random = measured("random", [[0.2, 0.4, 0.7 + i / 1000] for i in range(10)])
    entropy = measured("entropy", [[0.2, 0.6, 0.65 + i / 1000] for i in range(10)])
    measurements = with_effort(random + entropy, {"random": 10, "entropy": 10}, {"random": 1, "entropy": 1})
    lines = recommend(summarise(measurements, {"x": "words"}, main_metric="strict F1")).splitlines()
    assert lines[0] == "Use entropy on this data, but only if you will stop early."
    assert "but after 400 words read it ends below the strict F1 of 0.70" in lines[1]


def test_what_was_not_counted_cannot_be_compared() -> None:
    measurements = measured("random", [[0.2, 0.4, 0.5]]) + measured("b", [[0.2, 0.4, 0.5]])
    with pytest.raises(ApprenticeError, match="words of these runs were not counted"):
        summarise(measurements, {"x": "words"})
