"""Results of the monitor that an earlier release stored as sentences become numbers and codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from migrations import migrate
from schemas import by_control, first_of, text_schema

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.monitoring.monitor import apply_acquisition_fallback
from ml_backend.rendering.monitor_text import monitor_lines
from ml_backend.storage import Store

PREQUENTIAL = "audit slice, each answer judged by a learner of those before it, 40 to 400"
COMPARED = (
    "not winning: with 25% of the chosen answers exchanged for random ones, the learner would be 12.0 points better "
    "(chosen minus exchanged, 98.3%: -20.0 to -4.0; on 36 audited answers)"
)
STOPPING = (
    "predictions are stable (kappa 0.994) and 100 more labels are expected to bring 0.3 points (95 %: -0.5 to 1.9): "
    "stopping is reasonable"
)
GROUPS = (
    "worst is poor with 25% of 40 right (95 %: 14% to 40%), 65 points behind good, more than chance (p = 0.0005); of "
    "all labels, most of them chosen for being hard"
)


def estimate(value: float, low: float, high: float, n: int, source: str) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n, "source": source}


def earlier_result() -> dict[str, Any]:
    accuracy = {
        "poor": estimate(0.25, 0.14, 0.4, 40, "rows of this group"),
        "good": estimate(0.9, 0.79, 0.96, 50, "rows of this group"),
        "small": estimate(1.0, 0.3, 1.0, 2, "rows of this group"),
    }
    gains = [{"labels": 100, "value": 0.003, "low": -0.005, "high": 0.019}]
    comparison = {
        "verdict": "not winning", "gain": -0.12, "low": -0.2, "high": -0.04, "judged_by": 36, "sentence": COMPARED,
        "looks": 2, "acquisition": "badge", "audited": 0,
    }  # fmt: skip
    return {
        "version": 3,
        "labelled": 90,
        "accuracy": estimate(0.8, 0.7, 0.9, 60, PREQUENTIAL),
        "balance": {},
        "groups": {"by": "region", "accuracy": accuracy, "gap": 0.65, "chance": 0.0005, "summary": GROUPS},
        "stopping": {"verdict": "stop", "sentence": STOPPING, "kappa": 0.994, "gains": gains},
        "comparison": comparison,
        "second_look": [],
    }


def insert(store: Store, name: str, row: dict[str, Any]) -> None:
    """Inserts a row in a table as the table is now in the database."""
    with store.database.begin() as connection:
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        connection.execute(sa.insert(table), [row])


def upgrade(store: Store, result: dict[str, Any]) -> dict[str, Any]:
    """The result that the migration makes of a stored one."""
    store.projects.ensure(5)
    migrate(store, "0015", down=True)
    insert(store, "monitor", {"project": 5, "results": result})
    migrate(store, "head")
    converted = first_of(store.projects.require(5).monitor_results)
    assert converted is not None
    return converted


def test_the_sentences_of_a_converted_result_are_the_stored_ones(any_store: Store) -> None:
    result = upgrade(any_store, earlier_result())
    assert dict(monitor_lines(result)) == {
        "by region": GROUPS, "against random": COMPARED, "enough labels?": STOPPING
    }  # fmt: skip
    assert "sentence" not in json.dumps(result) and "summary" not in json.dumps(result)
    accuracy = Estimate(**result["accuracy"])
    assert (accuracy.source, accuracy.details) == (
        EstimateSource.AUDIT_SAMPLE_PREQUENTIAL, {"fewest": 40, "most": 400}
    )  # fmt: skip


def test_a_strategy_that_did_not_win_is_still_replaced_by_random_order(any_store: Store) -> None:
    options = ProjectSettings(acquisition="badge", acquisition_fallback=True)
    results = by_control(upgrade(any_store, earlier_result()))
    fallback, remark = apply_acquisition_fallback(options, text_schema(("poor", "good")), results)
    assert (fallback.acquisition, remark is not None) == ("random", True)


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("no labelled task has a field 'region'", {"code": "no field"}),
        (
            "the field 'region' is left out of the records (constant), so that it makes no groups",
            {"code": "left out", "reason": "constant"},
        ),
    ],
)
def test_the_reason_for_missing_groups_is_kept(any_store: Store, sentence: str, missing: dict[str, str]) -> None:
    result = earlier_result()
    result["groups"] = {"by": "region", "accuracy": {}, "gap": None, "chance": None, "summary": sentence}
    result["comparison"] = {
        "verdict": "not enough evidence", "gain": None, "low": None, "high": None, "judged_by": 0, "looks": 0,
        "sentence": "not compared with random order yet: 3 of the 20 audited answers that the first look takes",
        "acquisition": "badge", "audited": 3,
    }  # fmt: skip
    converted = upgrade(any_store, result)
    assert converted["groups"]["missing"] == missing
    lines = dict(monitor_lines(converted))
    assert (lines["by region"], lines["against random"]) == (sentence, result["comparison"]["sentence"])


def test_the_source_of_a_versions_accuracy_is_converted(any_store: Store) -> None:
    any_store.projects.ensure(5)
    migrate(any_store, "0015", down=True)
    source = "all labels, chosen by acquisition, as the audit slice has 3 of 20 answers, cross-validated"
    values = {"project": 5, "number": 1, "name": "v1", "labelled": 30, "created_at": 0.0, "active": False, "rows": 0}
    insert(any_store, "version", {**values, "accuracy": estimate(0.8, 0.7, 0.9, 30, source)})
    migrate(any_store, "head")
    version = any_store.versions.get(5, 1)
    assert version is not None and version.accuracy is not None
    assert version.accuracy.source == EstimateSource.ALL_LABELS_CROSS_VALIDATED
    assert version.accuracy.details == {"audited": 3, "minimum": 20}
