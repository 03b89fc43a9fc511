"""A worker that was suspended, and goes on when another worker has taken over, changes nothing of the other worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks, submit_labels
from schemas import CONTROL

from ml_backend.core.exceptions import LeaseLostError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.label_studio.label_review import update_proposals
from ml_backend.label_studio.setup import connect, disconnect
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.loop import round as round_module
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Lease, Store


class Workers:
    """Rounds of project 5 by several workers that share a store, each under the lease that it claims."""

    def __init__(self, settings: Settings, store: Store, server: FakeLabelStudio, encoder: FakeEncoder) -> None:
        self.settings = settings.model_copy(update={"reconcile_seconds": 0.0})
        self.store, self.server, self.encoder = store, server, encoder

    def claim(self, owner: str) -> Lease:
        self.store.jobs.request(5)
        lease = self.store.jobs.claim(owner)
        assert lease is not None
        return lease

    def context(self, lease: Lease) -> RoundContext:
        return RoundContext(
            settings=self.settings,
            store=self.store,
            client=FakeClient(self.server),
            project=5,
            pool=ProjectPool(self.store, 5, self.encoder),
            aggregator=LabelAggregator(self.store, 5),
            check_lease=lambda: None,
            newer_round_requested=lambda _: False,
            lease=lease,
        )

    def round(self, owner: str) -> None:
        lease = self.claim(owner)
        run_round(self.context(lease))
        self.store.jobs.finish(lease)

    def files(self) -> set[str]:
        return {file.name for file in Path(self.settings.data_dir / "artifacts" / "5").glob("*")}

    def active(self) -> ModelVersion:
        version = self.store.versions.active(5)
        assert version is not None
        return version


@pytest.fixture
def workers(
    any_settings: Settings, any_store: Store, server: FakeLabelStudio, fake_encoder: FakeEncoder, single: ProjectSchema
) -> Workers:
    """A project whose first version was fitted on 12 annotations, and that has 6 more."""
    workers = Workers(any_settings, any_store, server, fake_encoder)
    truth = add_labelled_tasks(server, 30)
    submit_labels(server, truth, single, list(truth)[:12])
    workers.round("first")
    submit_labels(server, truth, single, list(truth)[12:18])
    return workers


def overtaken(stage: str, workers: Workers, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Suspends the worker after the stage; meanwhile another worker runs a whole round."""
    slept: list[bool] = []
    stage_function = getattr(round_module, stage)

    def sleep(*arguments: Any) -> Any:
        result = stage_function(*arguments)
        if not slept:
            slept.append(True)
            workers.store.jobs.release(lease)  # as it is when a lease has expired
            workers.round("second")
        return result

    monkeypatch.setattr(round_module, stage, sleep)
    return lambda: None


@pytest.mark.parametrize("stage", ["train", "assess", "rank"])
def test_a_worker_that_wakes_after_a_takeover_leaves_the_newer_version_and_its_artifact_alone(
    stage: str, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = workers.claim("suspended")
    overtaken(stage, workers, lease, monkeypatch)
    with pytest.raises(LeaseLostError):
        run_round(workers.context(lease))
    newer = workers.active()
    assert (newer.number, newer.labelled) == (2, 18)
    assert workers.server.settings["model_version"] == newer.name == workers.store.projects.ensure(5).published
    artifact = workers.store.versions.artifact(5, 2)
    assert artifact is not None
    workers.store.artifacts.read(*artifact)
    assert len(workers.files()) == 2, "the artifact of the suspended worker is removed"


def test_a_worker_that_wakes_at_the_switch_does_not_go_back_to_its_own_version(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, lease = workers.active(), workers.claim("suspended")
    context = workers.context(lease)
    slept: list[bool] = []

    def sleep(method: str, path: str, _body: Any) -> None:
        if method == "PATCH" and not slept:
            slept.append(True)
            workers.store.jobs.release(lease)
            workers.round("second")

    context.client.after = sleep  # type: ignore[attr-defined]
    with pytest.raises(LeaseLostError):
        run_round(context)
    newer = workers.active()
    assert newer.number == 3
    assert workers.server.settings["model_version"] == newer.name == workers.store.projects.ensure(5).published
    assert {shown.version for shown in workers.store.published_drafts.of(5)} <= {first.name, newer.name}, (
        "no drafts that were never served"
    )


def test_a_version_number_that_is_taken_is_not_overwritten(workers: Workers) -> None:
    first = workers.active()
    lease = workers.claim("another")
    with pytest.raises(LeaseLostError, match="version 1"):
        workers.store.versions.add(first, None, 0, lease)
    assert workers.active() == first


def test_a_project_without_an_active_version_gets_one_by_the_next_round(workers: Workers) -> None:
    workers.round("first")
    workers.store.versions.activate(5, 99)  # as an earlier release could leave it: published, and none active
    assert workers.store.versions.active(5) is None
    workers.round("first")
    assert workers.active().name == workers.server.settings["model_version"]


def test_without_a_change_no_round_runs_unless_the_learner_is_damaged(workers: Workers) -> None:
    workers.round("first")
    assert run_round(workers.context(workers.claim("again"))) is None
    before = workers.active()
    for file in Path(workers.settings.data_dir / "artifacts" / "5").glob("000002-*"):
        file.write_bytes(b"damaged")
    assert run_round(workers.context(Lease(5, "again", 3, 3))) is not None
    assert workers.active().number > before.number
    assert "damaged" in remarks_text(workers.active().remarks)
    assert run_round(workers.context(Lease(5, "again", 3, 3))) is None


def press_start_training(workers: Workers) -> None:
    store_event(workers.store, read_event({"action": "START_TRAINING", "project": workers.server.as_json()}))


def connect_again(workers: Workers) -> None:
    connect(FakeClient(workers.server), workers.store, workers.settings, 5, lambda _: None)


@pytest.mark.parametrize("request_round", [press_start_training, connect_again])
def test_a_request_during_a_round_is_served_by_the_next_round(
    request_round: Callable[[Workers], None], workers: Workers
) -> None:
    context = workers.context(workers.claim("first"))
    requested: list[bool] = []

    def request_at_the_switch(method: str, path: str, body: Any) -> None:
        if method == "PATCH" and "model_version" in body and not requested:
            requested.append(True)
            request_round(workers)

    context.client.after = request_at_the_switch  # type: ignore[attr-defined]
    run_round(context)
    assert workers.store.projects.ensure(5).fingerprint == ""
    before = workers.active()
    assert run_round(workers.context(Lease(5, "first", 2, 2))) is not None
    assert workers.active().number == before.number + 1
    assert run_round(workers.context(Lease(5, "first", 2, 2))) is None


def test_a_project_disconnected_during_a_second_look_stays_disconnected(
    workers: Workers, single: ProjectSchema
) -> None:
    store, client = workers.store, FakeClient(workers.server)
    connect_again(workers)
    task = store.annotations.of(5)[0].task
    store.monitor.put(5, CONTROL, {"second_look": [{"task": task, "instead": ["metal"], "confidence": 0.9}]})
    project_row = store.projects.ensure(5)

    def disconnect_at_the_tab(method: str, path: str, _body: Any) -> None:
        if (method, path) == ("POST", "api/dm/views/"):
            disconnect(FakeClient(workers.server), store, 5, lambda _: None)

    client.after = disconnect_at_the_tab
    update_proposals(client, store, single, project_row, max_proposals=3)
    assert store.projects.ensure(5).connection is None
    assert workers.server.views == {}, "the tab, which is not in the store, is removed, too"
