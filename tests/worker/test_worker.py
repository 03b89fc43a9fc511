"""A worker's rounds, step by step: what requests a round, what ends it, and how errors are handled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from projects import set_up
from worker_harness import CALL_SECONDS, WorkerHarness

from ml_backend.core.exceptions import StoreError, UnreachableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskContent, content_key
from ml_backend.label_studio.publisher import HEAD_PREDICTIONS
from ml_backend.storage import Store, save_credentials
from ml_backend.storage.schema import job
from ml_backend.worker.worker import Worker

PATIENCE = 60.0


def test_a_step_runs_a_requested_round(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.round()
    assert harness.server.settings["model_version"] == harness.active().name
    state = harness.store.jobs.state(5)
    assert (state.running, state.waiting, state.failures) == (False, False, 0)
    [record] = harness.store.versions.last_rounds(5, 5)
    assert (record.version, record.error) == (harness.active().name, None)


def test_an_idle_worker_requests_a_round_if_a_reconciliation_is_due(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.step()
    assert harness.active().number == 1, "it asked for the round itself: the last check was too long ago"
    harness.step()
    assert harness.store.versions.next_number(5) == 2


def test_an_event_leads_to_a_round_that_learns_from_it(harness: WorkerHarness, single: ProjectSchema) -> None:
    truth = add_labelled_tasks(harness.server, 30)
    harness.round()
    for task in list(truth)[:6]:
        harness.receive_event(harness.server.annotate(task, truth[task]))
    harness.step()
    assert (harness.active().labelled, harness.active().learner) == (6, 2)
    harness.step()
    assert harness.store.versions.next_number(5) == 3


def test_a_failed_round_is_recorded_and_followed_by_a_pause_and_the_earlier_version_serves(
    harness: WorkerHarness,
) -> None:
    truth = add_labelled_tasks(harness.server, 20)
    harness.round()
    name = harness.active().name

    def down(*_: Any) -> None:
        raise UnreachableError("Label Studio does not answer")

    harness.receive_event(harness.server.annotate(next(iter(truth)), "fruit"))
    harness.client.before = down
    set_up(harness.store, 5, reconciled_at=0.0)
    harness.step()
    failed = harness.store.versions.last_rounds(5, failed=True)[0]
    assert failed.error == "Label Studio does not answer"
    assert failed.version is None
    assert harness.store.jobs.state(5).failures == 1
    calls = len(harness.client.calls)
    harness.step()
    assert len(harness.client.calls) == calls, "the next try waits"
    assert harness.active().name == harness.server.settings["model_version"] == name

    harness.client.before = lambda *_: None
    harness.round()
    assert harness.store.jobs.state(5).failures == 0
    assert harness.active().name == harness.server.settings["model_version"] != name


def test_an_unexpected_error_is_recorded_without_its_text(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_labelled_tasks(harness.server, 20)

    def broken(*_: Any) -> None:
        raise RuntimeError("patient 17 is called Miller")

    harness.client.before = broken
    harness.round()
    [record] = harness.store.versions.last_rounds(5)
    assert record.error is not None
    assert record.error.startswith("RuntimeError in ")
    printed = capsys.readouterr()
    assert "Miller" not in record.error + printed.out + printed.err


def test_a_worker_that_is_stopped_during_a_round_releases_the_lease_and_publishes_nothing(
    harness: WorkerHarness,
) -> None:
    add_labelled_tasks(harness.server, 20)

    def stop(method: str, *_: Any) -> None:
        if method == "POST":
            harness.stop.set()

    harness.client.after = stop
    harness.round()
    assert harness.server.settings["model_version"] == ""
    assert harness.store.versions.active(5) is None
    assert harness.store.versions.last_rounds(5) == []
    state = harness.store.jobs.state(5)
    assert (state.running, state.waiting, state.failures) == (False, True, 0)
    assert harness.store.jobs.claim("another") is not None, "at once"


def test_a_worker_whose_lease_was_taken_over_publishes_nothing_and_leaves_the_lease(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)

    def take_over(method: str, *_: Any) -> None:
        if method == "POST" and not stolen_lease:
            with harness.store.database.begin() as connection:
                connection.execute(job.update().values(token=job.c.token + 1, owner="another"))
            stolen_lease.append(True)

    stolen_lease: list[bool] = []
    harness.client.after = take_over
    harness.round()
    assert harness.server.settings["model_version"] == ""
    assert harness.store.jobs.state(5).owner == "another"


def test_a_project_that_was_disconnected_gets_no_round(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.store.jobs.request(5)
    set_up(harness.store, 5, connection=None)
    harness.step()
    assert harness.client.writes() == []
    assert not harness.store.jobs.state(5).waiting


def test_nothing_more_is_published_for_a_project_that_is_disconnected_during_a_round(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)

    def disconnect(method: str, *_: Any) -> None:
        if method == "POST":
            set_up(harness.store, 5, connection=None)

    harness.client.after = disconnect
    harness.round()
    assert harness.server.settings["model_version"] == ""
    assert harness.store.projects.ensure(5).published is None


def test_a_switch_that_comes_after_the_disconnection_is_undone(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.server.predictions.append({"task": 1, "model_version": "theirs"})
    set_up(harness.store, 5, connection=None)
    harness.store.connections.begin(5, {"model_version": "theirs"})
    set_up(harness.store, 5, connection={"ml": 1})

    def disconnect(method: str, *_: Any) -> None:
        if method == "PATCH":
            set_up(harness.store, 5, connection=None)

    harness.client.before = disconnect
    harness.round()
    assert harness.server.settings["model_version"] == "theirs"
    assert harness.store.projects.ensure(5).published is None


def test_after_a_late_switch_by_a_worker_without_the_lease_the_next_round_publishes(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)

    def take_over(method: str, *_: Any) -> None:
        if method == "PATCH":
            harness.client.before = lambda *_: None
            with harness.store.database.begin() as connection:
                connection.execute(job.update().values(token=job.c.token + 1, owner="another", lease_until=0.0))

    harness.client.before = take_over
    harness.round()
    late = harness.server.settings["model_version"]
    assert late and harness.store.projects.ensure(5).published is None
    harness.step()
    assert harness.server.settings["model_version"] == harness.active().name != late


def test_the_worker_makes_a_new_client_for_new_credentials(
    make_settings: Callable[..., Settings], server: FakeLabelStudio, fake_encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = make_settings()
    harness = WorkerHarness(settings, server)
    save_credentials(settings.data_dir, settings.label_studio_url, "one")
    harness.round()
    harness.round()
    assert harness.clients == [(settings.label_studio_url, "one")]
    save_credentials(settings.data_dir, settings.label_studio_url, "two")
    harness.round()
    assert harness.clients == [(settings.label_studio_url, "one"), (settings.label_studio_url, "two")]
    harness.store.close()


def after_the_switch(harness: WorkerHarness, action: Callable[[], object]) -> None:
    """Acts whenever the worker has switched to another version, before the rest of the queue."""

    def act(method: str, path: str, _: object) -> None:
        if (method, path) == ("PATCH", "api/projects/5"):
            action()

    harness.client.after = act


def test_the_rest_of_a_queue_is_interrupted_by_an_event_in_another_project(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)
    after_the_switch(harness, lambda: harness.store.jobs.request(6))
    harness.round()
    assert len(harness.server.predictions) == HEAD_PREDICTIONS
    assert harness.store.projects.ensure(5).fingerprint == ""
    assert harness.store.jobs.state(5).waiting, "to be completed by another round"
    harness.step()
    assert len(harness.server.predictions) == HEAD_PREDICTIONS, "but not before the other project's turn"


def test_projects_with_incomplete_queues_do_not_interrupt_each_other(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 20)
    after_the_switch(harness, lambda: harness.store.jobs.request_unless_waiting(6))
    harness.round()
    assert len(harness.server.predictions) > HEAD_PREDICTIONS
    assert harness.store.publications.is_complete(5)
    assert not harness.store.jobs.state(5).waiting and harness.store.jobs.state(6).waiting


def test_a_signal_ends_the_pause_between_two_predictions(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_labelled_tasks(harness.server, 20)
    pauses = []

    def hear_of_another(seconds: float) -> None:
        pauses.append(seconds)
        harness.store.jobs.request(6)

    harness.listener.on_wait = hear_of_another
    harness.round()
    assert pauses == [pytest.approx(HEAD_PREDICTIONS * CALL_SECONDS)]
    assert len(harness.server.predictions) == HEAD_PREDICTIONS
    harness.step()
    assert not harness.store.jobs.state(6).waiting, "the next step looks for work"


def test_no_round_waits_for_a_batch_that_is_being_encoded(harness: WorkerHarness, fake_encoder: FakeEncoder) -> None:
    add_labelled_tasks(harness.server, 1300)
    harness.round()
    go_on = threading.Event()
    fake_encoder.before_encoding = lambda: threading.current_thread() is threading.main_thread() or go_on.wait(PATIENCE)
    harness.worker.step()
    pool = harness.worker.pools[5]
    encoded_before, version = int(pool.encoded.sum()), harness.active().number
    harness.store.publications.request(5)
    harness.store.jobs.request(5)
    harness.worker.step()
    assert harness.active().number == version + 1
    assert pool.encoded.sum() == encoded_before
    go_on.set()
    harness.step()
    harness.step()
    assert pool.encoded.sum() > encoded_before


def test_a_worker_keeps_the_pools_of_its_last_projects_in_memory(
    settings: Settings, server: FakeLabelStudio, fake_encoder: FakeEncoder
) -> None:
    harness = WorkerHarness(settings, server, max_tasks_in_memory=25)
    for project in (1, 2, 3):
        harness.store.projects.ensure(project)
        harness.store.tasks.put(
            project, [TaskContent(task, f"text {task}", content_key(f"text {task}")) for task in range(1, 21)]
        )
        harness.worker.pool(project).refresh(1)
    assert list(harness.worker.pools) == [2, 3]
    harness.worker.pool(2)
    harness.worker.pool(1).refresh(1)
    assert list(harness.worker.pools) == [2, 1]
    harness.store.close()


def test_without_an_api_key_the_error_names_its_setting(
    make_settings: Callable[..., Settings], fake_encoder: FakeEncoder
) -> None:
    store = Store(make_settings())
    set_up(store, 5, connection={"ml": 1})
    store.jobs.request(5)
    Worker(make_settings(), store, threading.Event()).step()
    assert "APPRENTICE_LABEL_STUDIO_API_KEY" in (store.versions.last_rounds(5)[0].error or "")
    store.close()


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.time() + PATIENCE
    while not true():
        assert time.time() < deadline, "gave up waiting"
        time.sleep(0.02)


def test_run_sends_heartbeats_and_ends_after_stop_is_set(
    make_settings: Callable[..., Settings], server: FakeLabelStudio, fake_encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_labelled_tasks(server, 10)
    harness = WorkerHarness(make_settings(label_studio_api_key="key"), server, threading.Event())
    other_store = Store(harness.settings, clock=harness.clock)
    harness.store.jobs.request(5)
    thread = threading.Thread(target=harness.worker.run)
    thread.start()
    try:
        wait_for(lambda: other_store.jobs.workers() and other_store.versions.active(5))
    finally:
        harness.stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert other_store.jobs.workers() == []
    other_store.close()


def test_an_error_outside_a_round_does_not_end_the_worker(harness: WorkerHarness) -> None:
    steps = iter([RuntimeError("text"), StoreError("full"), None])

    def fail_twice(_seconds: float) -> None:
        error = next(steps)
        if error:
            raise error
        harness.stop.set()

    harness.listener.on_wait = fail_twice
    harness.worker.run()
    assert next(steps, "none left") == "none left"


def test_a_worker_that_ends_stores_its_vectors_before_it_waits_for_its_threads(
    harness: WorkerHarness, fake_encoder: FakeEncoder
) -> None:
    add_labelled_tasks(harness.server, 1300)
    harness.round()
    encoded, go_on = int(harness.worker.pools[5].encoded.sum()), threading.Event()
    fake_encoder.before_encoding = lambda: go_on.wait(PATIENCE)
    other_store = Store(harness.settings, clock=harness.clock)
    thread = threading.Thread(target=harness.worker.run)
    thread.start()
    try:
        wait_for(other_store.jobs.workers)
        harness.stop.set()
        wait_for(lambda: not other_store.jobs.workers())
        assert len(other_store.vectors(5, "fake")) >= encoded > 0
        assert thread.is_alive(), "it waits for the encoder"
    finally:
        go_on.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    other_store.close()
