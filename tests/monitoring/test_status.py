"""The lines of a project's status."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest
from fake_label_studio import SINGLE
from projects import set_up

from ml_backend.core.types import Estimate
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store


def lines_by_name(store: Store) -> dict[str, str]:
    return dict(status_lines(read_status(store, 5)))


def test_a_full_disk_is_reported_although_workers_cannot_report_either(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(store, 5, connection={"ml": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    assert "no worker" in lines_by_name(store)["problem"] or "first round" in lines_by_name(store)["problem"]
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert "No space left on device" in lines_by_name(store)["problem"]


def test_the_status_of_a_control_is_that_of_the_project_before_the_configuration_is_read(store: Store) -> None:
    set_up(store, 5, connection={"ml": 1})
    assert read_status(store, 5).schema is None
    assert status_lines(read_status(store, 5), "label") == status_lines(read_status(store, 5))


def test_the_progress_of_reading_and_encoding_is_reported(store: Store) -> None:
    set_up(store, 5, connection={"ml": 1}, progress={"read": 15000})
    assert lines_by_name(store)["reading"] == "15000 tasks so far"
    set_up(store, 5, progress={"read": None, "encoded": 30, "tasks": 60})
    assert "reading" not in lines_by_name(store)
    assert lines_by_name(store)["encoded"].startswith("50%")


def test_a_rollback_names_the_learner_that_is_held(store: Store) -> None:
    set_up(store, 5, connection={"ml": 1}, pinned=3)
    assert "learner of version 3" in lines_by_name(store)["active version"]


def test_the_accuracy_is_that_of_the_audit_sample_unless_a_rollback_holds(store: Store) -> None:
    estimate: dict[str, Any] = {"value": 0.75, "low": 0.53, "high": 0.89, "n": 20, "source": "audit sample, in order"}
    set_up(store, 5, label_config=SINGLE, monitor_result={"accuracy": estimate})
    assert read_status(store, 5).accuracy == Estimate(**estimate)
    set_up(store, 5, pinned=3)
    assert read_status(store, 5).accuracy is None
    set_up(store, 5, pinned=None, monitor_result={"accuracy": None})
    assert read_status(store, 5).accuracy is None
