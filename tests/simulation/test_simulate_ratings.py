"""`apprentice simulate` on ratings, whose labels have an order."""

from __future__ import annotations

import json

import pytest
from fake_label_studio import text_about
from simulations import LABELS, Body, SimulationFolder

from ml_backend.rendering.simulation_report import write_report

STARS = '<View><Text name="text" value="$text"/><Rating name="stars" toName="text" maxRating="3"/></View>'


def rated(number: int, rating: int) -> Body:
    """A task about the label whose place is the rating."""
    result = [{"from_name": "stars", "to_name": "text", "type": "rating", "value": {"rating": rating}}]
    annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "result": result}
    return {"id": number, "data": {"text": text_about(LABELS[number % 3], number)}, "annotations": [annotation]}


@pytest.fixture
def ratings(simulation: SimulationFolder) -> SimulationFolder:
    (simulation.folder / "config.xml").write_text(STARS)
    simulation.write([rated(number, 1 + number % 3) for number in range(1, 41)])
    return simulation


def test_strategies_are_compared_by_the_closeness_of_a_rating(ratings: SimulationFolder) -> None:
    result = ratings.run().conclude()
    summary = json.loads((ratings.out / "summary.json").read_text())
    assert summary["protocol"]["metric"] == "closeness"
    final = summary["strategies"]["random"]["final"]
    assert final["accuracy"] < final["closeness"] <= 1
    assert "its closeness is" in write_report(result, ratings.out)
    page = (ratings.out / "report.html").read_text()
    assert "<h2>Closeness</h2>" in page and "<th>closeness, averaged</th>" in page and "final closeness" in page


def test_the_accuracy_of_ratings_counts_exactly_right_drafts(ratings: SimulationFolder) -> None:
    ratings.run(seeds=1)
    values = {
        (measurement.strategy, measurement.labelled, measurement.metric): measurement.value
        for measurement in ratings.numbers()
    }
    for (strategy, labelled, metric), value in values.items():
        if metric == "accuracy":  # on three numbers, a wrong draft has a closeness of 0 or 0.5
            assert value <= values[strategy, labelled, "closeness"] <= (1 + value) / 2
