"""The configuration check detects a changed labelling configuration within seconds while nobody labels."""

from __future__ import annotations

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, config_with
from manual_clock import ManualClock
from projects import set_up
from worker_harness import WorkerHarness

from ml_backend.core.exceptions import UnreachableError
from ml_backend.storage import Store
from ml_backend.worker.config_check import CHECK_INTERVAL_SECONDS, RETRY_SECONDS, ConfigCheck


@pytest.fixture
def client(server: FakeLabelStudio, store: Store) -> FakeClient:
    set_up(store, 5, connection={"ml": 1}, label_config=server.label_config)
    return FakeClient(server)


def check(checked: ConfigCheck, client: FakeClient, clock: ManualClock, seconds: float = CHECK_INTERVAL_SECONDS) -> int:
    """Runs one step. Returns the number of requests to Label Studio."""
    calls_before = len(client.calls)
    clock.seconds += seconds
    checked.step(client)
    checked.wait()
    return len(client.calls) - calls_before


def test_a_round_is_requested_if_the_configuration_has_changed(
    server: FakeLabelStudio, store: Store, client: FakeClient, clock: ManualClock
) -> None:
    checked = ConfigCheck(store)
    set_up(store, 5, reconciled_at=1.0)
    assert check(checked, client, clock) == 1
    assert not store.jobs.state(5).waiting
    server.label_config = config_with("fruit", "metal")
    assert check(checked, client, clock, seconds=CHECK_INTERVAL_SECONDS / 2) == 0, "not before its time"
    assert check(checked, client, clock) == 1
    assert store.jobs.state(5).waiting and store.projects.require(5).reconciled_at == 0.0
    assert not client.writes()
    checked.stop()


def test_projects_are_checked_in_turn(
    server: FakeLabelStudio, store: Store, client: FakeClient, clock: ManualClock
) -> None:
    set_up(store, 3, connection={"ml": 2}, label_config="")
    checked = ConfigCheck(store)
    for _ in range(2):
        check(checked, client, clock, seconds=RETRY_SECONDS)
        check(checked, client, clock, seconds=RETRY_SECONDS)
    assert [path for _, path, _ in client.calls] == ["api/projects/3", "api/projects/5"] * 2
    checked.stop()


def test_there_is_a_pause_after_label_studio_did_not_answer(
    store: Store, client: FakeClient, clock: ManualClock
) -> None:
    def fail(*_: object) -> None:
        raise UnreachableError("gone")

    client.before = fail
    checked = ConfigCheck(store)
    assert check(checked, client, clock) == 1
    assert check(checked, client, clock) == 0
    assert check(checked, client, clock, seconds=RETRY_SECONDS) == 1
    checked.stop()


def test_an_idle_worker_replaces_drafts_with_a_removed_label(harness: WorkerHarness) -> None:
    harness.server.add_tasks([f"apple {n}" for n in range(5)])
    harness.round()
    harness.step()
    harness.server.label_config = config_with("metal", "animal")
    for _ in range(3):
        harness.clock.seconds += CHECK_INTERVAL_SECONDS
        harness.step()
    harness.step()
    drafts = {choice for row in harness.server.current_predictions() for region in row["result"]
              for choice in region["value"]["choices"]}  # fmt: skip
    assert drafts and drafts <= {"metal", "animal"}
