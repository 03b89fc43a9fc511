"""`apprentice forget`: removes a project from the store and its drafts from Label Studio; it can be connected again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks, submit_labels
from manual_clock import ManualClock

from ml_backend.core.exceptions import UnreachableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import content_key
from ml_backend.label_studio.removal import WORKER_RELEASE_SECONDS, forget, is_in_label_studio
from ml_backend.label_studio.setup import connect
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.storage import Store

MakeRound = Callable[..., RoundContext]


def say(_: str) -> None:
    pass


@pytest.fixture
def learnt(
    server: FakeLabelStudio, store: Store, settings: Settings, make_round: MakeRound, single: ProjectSchema
) -> dict[int, str]:
    """A connected project with two versions in Label Studio."""
    connect(FakeClient(server), store, settings, 5, say)
    truth = add_labelled_tasks(server, 40)
    run_round(make_round(server))
    submit_labels(server, truth, single, list(truth)[:20])
    run_round(make_round(server))
    assert len({row["model_version"] for row in server.predictions}) == 2
    return truth


def test_a_forgotten_project_is_removed_from_the_store_and_its_drafts_from_label_studio(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    store.vectors(5, "fake").add([content_key("x")], np.ones((1, 4), np.float32))
    removed = forget(FakeClient(server), store, 5, say)
    assert removed["task"] == 40 and removed["annotation"] == 20 and removed["version"] == 2
    assert removed["artifacts"] == 1 and removed["vectors"] >= 1
    assert store.count_rows(5) == {} and store.projects.all() == []
    assert not list(settings.data_dir.rglob("5"))
    assert server.predictions == [] and server.webhooks == {} and server.backends == {} and server.views == {}
    assert len(server.annotations()) == 20, "annotations stay"


def test_a_forgotten_project_can_be_connected_again(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store, settings: Settings, make_round: MakeRound
) -> None:
    forget(FakeClient(server), store, 5, say)
    connect(FakeClient(server), store, settings, 5, say)
    record = run_round(make_round(server))
    assert record is not None and record.version is not None and record.version.startswith("apprentice-1-")
    assert store.tasks.count(5) == 40 and len(store.annotations.of(5)) == 20


def test_a_project_that_label_studio_no_longer_has_is_removed_from_the_store(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store
) -> None:
    server.project = 99
    client, messages = FakeClient(server), list[str]()
    project_row = store.projects.ensure(5)
    assert not is_in_label_studio(client, project_row, messages.append)
    assert messages == ["the project is gone from Label Studio"]
    forget(None, store, 5, say)
    assert store.count_rows(5) == {} and client.writes() == []


def test_another_project_with_the_same_number_is_not_changed(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store
) -> None:
    other = FakeLabelStudio(made_at="2026-11-23T09:00:00.000000Z")
    assert not is_in_label_studio(FakeClient(other), store.projects.ensure(5), say)
    assert is_in_label_studio(FakeClient(server), store.projects.ensure(5), say)


def test_when_label_studio_does_not_answer_the_store_is_unchanged(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store
) -> None:
    client = FakeClient(server)

    def down(method: str, *_: object) -> None:
        if method == "DELETE":
            raise UnreachableError("down")

    client.before = down
    before = store.count_rows(5)
    with pytest.raises(UnreachableError):
        forget(client, store, 5, say)
    assert store.count_rows(5) == before
    assert store.projects.ensure(5).is_connected


def test_a_running_round_is_waited_for(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store, clock: ManualClock
) -> None:
    store.jobs.request(5)
    lease = store.jobs.claim("worker")
    assert lease is not None
    begin, tasks = clock.seconds, []

    def finish_after_two_seconds() -> None:
        tasks.append(store.tasks.count(5))
        if clock.seconds > begin + 2:
            store.jobs.finish(lease)

    clock.on_sleep = finish_after_two_seconds
    forget(FakeClient(server), store, 5, say)
    assert set(tasks) == {40} and clock.seconds == pytest.approx(begin + 2, abs=0.2)
    assert store.count_rows(5) == {}


def test_a_round_that_does_not_end_loses_its_lease(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store
) -> None:
    store.jobs.request(5)
    lease = store.jobs.claim("worker")
    assert lease is not None
    forget(FakeClient(server), store, 5, say)
    assert not store.jobs.renew(lease)
    assert store.count_rows(5) == {}


def test_running_workers_get_time_to_release_the_project(
    learnt: dict[int, str], server: FakeLabelStudio, store: Store, clock: ManualClock
) -> None:
    begin = clock.seconds
    store.jobs.record_heartbeat("worker", 1)
    forget(FakeClient(server), store, 5, say)
    assert clock.seconds == begin + WORKER_RELEASE_SECONDS
