"""The monitor runner of a worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio
from manual_clock import ManualClock
from projects import set_up
from recording_plugins import RecordingLearner
from round_fixtures import MakeRound, active
from schemas import first_of

from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.model import project_model
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.worker.monitor_runner import PAUSE_SECONDS, MonitorRunner


class MonitorHarness:
    """A monitor runner that a test steps by hand, without pauses."""

    def __init__(self, settings: Settings, store: Store, pool: ProjectPool) -> None:
        assert isinstance(store.clock, ManualClock)
        self.clock = store.clock
        self.runner = MonitorRunner(settings, store, LabelAggregators(store))
        self.pools = {5: pool}

    def step(self) -> None:
        self.clock.sleep(PAUSE_SECONDS)
        self.runner.step(self.pools)
        self.runner.wait()


@pytest.fixture
def harness(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store
) -> MonitorHarness:
    set_up(store, 5, connection={"ml": 1})
    return MonitorHarness(settings, store, make_round(server).pool)


def watched(store: Store) -> dict[str, Any]:
    return first_of(store.projects.ensure(5).monitor_results) or {}


def test_each_learner_is_monitored_once_and_a_round_is_requested(
    harness: MonitorHarness, store: Store, logistic: RecordingLearner
) -> None:
    harness.step()
    assert watched(store)["version"] == active(store).learner
    assert store.jobs.state(5).waiting
    fits = len(logistic.trained)
    harness.step()
    assert len(logistic.trained) == fits > 0, "the learner is the same"


def test_a_failed_run_of_the_monitor_stores_nothing(
    harness: MonitorHarness, store: Store, logistic: RecordingLearner
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    logistic.before_fit = fail
    harness.step()
    assert watched(store) == {}


def test_a_changed_option_causes_another_run_of_the_monitor(
    harness: MonitorHarness, settings: Settings, store: Store
) -> None:
    harness.step()
    set_up(store, 5, extra_params={"second_look": 3, "group_by": "region"})
    harness.step()
    assert watched(store)["groups"]["by"] == "region"


def test_the_result_for_a_project_that_was_disconnected_meanwhile_is_not_stored(
    harness: MonitorHarness, store: Store, logistic: RecordingLearner
) -> None:
    logistic.before_fit = lambda: set_up(store, 5, connection=None)
    harness.step()
    assert watched(store) == {}


def test_there_is_a_pause_between_two_runs_of_the_monitor(harness: MonitorHarness, store: Store) -> None:
    harness.step()
    set_up(store, 5, extra_params={"second_look": 3, "group_by": "region"})
    harness.clock.sleep(PAUSE_SECONDS / 2)
    harness.runner.step(harness.pools)
    harness.runner.wait()
    assert watched(store)["groups"]["by"] == "cluster"


def test_a_project_without_a_learner_is_not_monitored(
    server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store
) -> None:
    harness = MonitorHarness(settings, store, make_round(server).pool)
    set_up(store, 5, connection={"ml": 1})
    harness.step()
    assert watched(store) == {}


def test_the_control_whose_last_run_is_longest_ago_is_monitored_first(
    harness: MonitorHarness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = active(store)
    monitored: list[str] = []

    def read_input(pool: object, project_row: object, options: object, control: str) -> str:
        monitored.append(control)
        return control

    monkeypatch.setattr(harness.runner, "_read_input", read_input)
    for number in range(1, 7):  # every round has new learners of all controls
        controls = {name: replace(version.controls["label"], learner=number) for name in ("a", "b", "c")}
        now_active = replace(version, controls=controls)
        monkeypatch.setattr(store.versions, "active", lambda project, version=now_active: version)
        harness.step()
    assert monitored == ["a", "b", "c", "a", "b", "c"]


def test_a_control_that_cannot_be_monitored_is_read_again_only_after_a_change(
    harness: MonitorHarness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = store.projects.require(5).label_config
    set_up(store, 5, label_config=config.replace("animal", "plant"))
    reads: list[int] = []
    load = project_model.load_best

    def counted_load(store: Store, version: ModelVersion | None, space: str) -> Any:
        reads.append(5)
        return load(store, version, space)

    monkeypatch.setattr(project_model, "load_best", counted_load)
    harness.step()
    harness.step()
    assert len(reads) == 1 and watched(store) == {}, "the learner has other labels"
    set_up(store, 5, label_config=config)
    harness.step()
    assert len(reads) == 2 and watched(store)["version"] == active(store).learner
