"""A worker's rounds, step by step: what asks for one, what ends one, and what it makes of errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio, fill
from projects import set_up
from workers import CALL_SECONDS, Bench

from ml_backend.core.exceptions import StoreError, UnreachableError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Example, Floats, TaskSchema, content_key
from ml_backend.label_studio.publisher import HEAD
from ml_backend.storage import Store, remember_credentials
from ml_backend.storage.schema import job
from ml_backend.worker import worker as module
from ml_backend.worker.worker import Worker

PATIENCE = 60.0


def test_a_step_runs_the_round_that_was_asked_for(bench: Bench) -> None:
    fill(bench.server, 20)
    bench.round()
    assert bench.server.settings["model_version"] == bench.active().name
    state = bench.store.jobs.state(5)
    assert (state.running, state.waiting, state.failures) == (False, False, 0)
    [record] = bench.store.versions.last_rounds(5, 5)
    assert (record.version, record.error) == (bench.active().name, None)


def test_an_idle_worker_checks_on_label_studio(bench: Bench) -> None:
    fill(bench.server, 20)
    bench.step()
    assert bench.active().number == 1, "it asked for the round itself: the last check was too long ago"
    bench.step()
    assert bench.store.versions.next_number(5) == 2


def test_an_event_leads_to_a_round_that_learns_from_it(bench: Bench, single: TaskSchema) -> None:
    truth = fill(bench.server, 30)
    bench.round()
    for task in list(truth)[:6]:
        bench.tell(bench.server.annotate(task, truth[task]))
    bench.step()
    assert (bench.active().labelled, bench.active().learner) == (6, 2)
    bench.step()
    assert bench.store.versions.next_number(5) == 3


def test_a_failed_round_is_recorded_backs_off_and_leaves_the_earlier_version(bench: Bench) -> None:
    truth = fill(bench.server, 20)
    bench.round()
    name = bench.active().name

    def down(*_: Any) -> None:
        raise UnreachableError("Label Studio does not answer")

    bench.tell(bench.server.annotate(next(iter(truth)), "fruit"))
    bench.client.before = down
    set_up(bench.store, 5, reconciled_at=0.0)
    bench.step()
    failed = bench.store.versions.last_rounds(5, failed=True)[0]
    assert failed.error == "Label Studio does not answer"
    assert failed.version is None
    assert bench.store.jobs.state(5).failures == 1
    calls = len(bench.client.calls)
    bench.step()
    assert len(bench.client.calls) == calls, "the next try waits"
    assert bench.active().name == bench.server.settings["model_version"] == name

    bench.client.before = lambda *_: None
    bench.round()
    assert bench.store.jobs.state(5).failures == 0
    assert bench.active().name == bench.server.settings["model_version"] != name


def test_an_unexpected_error_is_recorded_without_its_text(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(bench.server, 20)

    def broken(*_: Any) -> None:
        raise RuntimeError("patient 17 is called Miller")

    bench.client.before = broken
    bench.round()
    [record] = bench.store.versions.last_rounds(5)
    assert record.error is not None
    assert record.error.startswith("RuntimeError in ")
    printed = capsys.readouterr()
    assert "Miller" not in record.error + printed.out + printed.err


def test_a_worker_that_is_stopped_in_mid_round_hands_the_lease_back_and_publishes_nothing(bench: Bench) -> None:
    fill(bench.server, 20)

    def stop(method: str, *_: Any) -> None:
        if method == "POST":
            bench.stop.set()

    bench.client.after = stop
    bench.round()
    assert bench.server.settings["model_version"] == ""
    assert bench.store.versions.active(5) is None
    assert bench.store.versions.last_rounds(5) == []
    state = bench.store.jobs.state(5)
    assert (state.running, state.waiting, state.failures) == (False, True, 0)
    assert bench.store.jobs.claim("another") is not None, "at once"


def test_a_worker_whose_lease_was_taken_over_publishes_nothing_and_leaves_the_lease(bench: Bench) -> None:
    fill(bench.server, 20)

    def take_over(method: str, *_: Any) -> None:
        if method == "POST" and not taken:
            with bench.store.database.begin() as connection:
                connection.execute(job.update().values(token=job.c.token + 1, owner="another"))
            taken.append(True)

    taken: list[bool] = []
    bench.client.after = take_over
    bench.round()
    assert bench.server.settings["model_version"] == ""
    assert bench.store.jobs.state(5).owner == "another"


def test_a_project_that_was_disconnected_gets_no_round(bench: Bench) -> None:
    fill(bench.server, 20)
    bench.store.jobs.request(5)
    set_up(bench.store, 5, connection=None)
    bench.step()
    assert bench.client.writes() == []
    assert not bench.store.jobs.state(5).waiting


def test_a_project_that_is_disconnected_in_mid_round_gets_nothing_more(bench: Bench) -> None:
    fill(bench.server, 20)

    def disconnect(method: str, *_: Any) -> None:
        if method == "POST":
            set_up(bench.store, 5, connection=None)

    bench.client.after = disconnect
    bench.round()
    assert bench.server.settings["model_version"] == ""
    assert bench.store.projects.ensure(5).published is None


def test_a_switch_that_comes_after_the_disconnection_is_undone(bench: Bench) -> None:
    fill(bench.server, 20)
    bench.server.predictions.append({"task": 1, "model_version": "theirs"})
    set_up(bench.store, 5, connection=None)
    bench.store.connections.begin(5, {"model_version": "theirs"})
    set_up(bench.store, 5, connection={"ml": 1})

    def disconnect(method: str, *_: Any) -> None:
        if method == "PATCH":
            set_up(bench.store, 5, connection=None)

    bench.client.before = disconnect
    bench.round()
    assert bench.server.settings["model_version"] == "theirs"
    assert bench.store.projects.ensure(5).published is None


def test_a_switch_that_comes_after_a_takeover_is_published_over_by_the_next_round(bench: Bench) -> None:
    fill(bench.server, 20)

    def take_over(method: str, *_: Any) -> None:
        if method == "PATCH":
            bench.client.before = lambda *_: None
            with bench.store.database.begin() as connection:
                connection.execute(job.update().values(token=job.c.token + 1, owner="another", lease_until=0.0))

    bench.client.before = take_over
    bench.round()
    late = bench.server.settings["model_version"]
    assert late and bench.store.projects.ensure(5).published is None
    bench.step()
    assert bench.server.settings["model_version"] == bench.active().name != late


def test_other_credentials_make_another_client(
    make_settings: Callable[..., Settings], server: FakeLabelStudio, fake_encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = make_settings()
    bench = Bench(settings, server, monkeypatch)
    remember_credentials(settings.data_dir, settings.label_studio_url, "one")
    bench.round()
    bench.round()
    assert bench.clients == [(settings.label_studio_url, "one")]
    remember_credentials(settings.data_dir, settings.label_studio_url, "two")
    bench.round()
    assert bench.clients == [(settings.label_studio_url, "one"), (settings.label_studio_url, "two")]
    bench.store.close()


def test_the_rest_of_a_queue_does_not_keep_another_project_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bench.server, 20)
    switch = bench.client.change_project

    def switch_and_hear_of_another(*arguments: Any, **values: Any) -> None:
        switch(*arguments, **values)
        bench.store.jobs.request(6)

    monkeypatch.setattr(bench.client, "change_project", switch_and_hear_of_another)
    bench.round()
    assert len(bench.server.predictions) == HEAD
    assert bench.store.projects.ensure(5).fingerprint == ""
    assert bench.store.jobs.state(5).waiting, "to be completed by another round"
    bench.step()
    assert len(bench.server.predictions) == HEAD, "but not before the other project's turn"


def test_a_signal_ends_the_pause_between_two_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bench.server, 20)
    pauses = []

    def hear_of_another(seconds: float) -> None:
        pauses.append(seconds)
        bench.store.jobs.request(6)

    monkeypatch.setattr(bench.worker._listener, "wait", hear_of_another)
    bench.round()
    assert pauses == [pytest.approx(HEAD * CALL_SECONDS)]
    assert len(bench.server.predictions) == HEAD
    assert bench.worker._poll_at == 0, "the next step looks for work"


def test_no_round_waits_for_what_is_being_encoded(
    bench: Bench, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bench.server, 1300)
    bench.round()
    encode, go_on = fake_encoder.encode, threading.Event()

    def encode_slowly(texts: Sequence[str]) -> Floats:
        assert threading.current_thread() is threading.main_thread() or go_on.wait(PATIENCE)
        return encode(texts)

    monkeypatch.setattr(fake_encoder, "encode", encode_slowly)
    bench.worker._step()
    pool = bench.worker._pools[5]
    before, version = int(pool.encoded.sum()), bench.active().number
    bench.store.publications.request(5)
    bench.store.jobs.request(5)
    bench.worker._step()
    assert bench.active().number == version + 1
    assert pool.encoded.sum() == before
    go_on.set()
    bench.step()
    bench.step()
    assert pool.encoded.sum() > before


def test_a_worker_remembers_the_projects_that_it_served_last(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TASKS_IN_MEMORY", 25)
    for project in (1, 2, 3):
        bench.store.projects.ensure(project)
        bench.store.tasks.put(
            project, [Example(task, f"text {task}", content_key(f"text {task}")) for task in range(1, 21)]
        )
        bench.worker._pool(project).refresh(1)
    assert list(bench.worker._pools) == [2, 3]
    bench.worker._pool(2)
    bench.worker._pool(1).refresh(1)
    assert list(bench.worker._pools) == [2, 1]


def test_without_a_key_the_error_says_where_to_put_it(
    make_settings: Callable[..., Settings], fake_encoder: FakeEncoder
) -> None:
    worker = Worker(make_settings(), threading.Event())
    set_up(worker._store, 5, connection={"ml": 1})
    worker._store.jobs.request(5)
    worker._step()
    assert "APPRENTICE_LABEL_STUDIO_API_KEY" in (worker._store.versions.last_rounds(5)[0].error or "")
    worker._store.close()


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.time() + PATIENCE
    while not true():
        assert time.time() < deadline, "gave up waiting"
        time.sleep(0.02)


def test_run_says_that_the_worker_lives_and_ends_when_it_is_told_to(
    make_settings: Callable[..., Settings], server: FakeLabelStudio, fake_encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fill(server, 10)
    bench = Bench(make_settings(label_studio_api_key="key"), server, monkeypatch)
    other = Store(bench.worker._settings)
    bench.store.jobs.request(5)
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        wait_for(lambda: other.jobs.workers() and other.versions.active(5))
    finally:
        bench.stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert other.jobs.workers() == []
    other.close()


def test_an_error_outside_a_round_does_not_end_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([RuntimeError("text"), StoreError("full"), None])

    def step() -> None:
        error = next(steps)
        if error:
            raise error
        bench.stop.set()

    monkeypatch.setattr(bench.worker, "_step", step)
    monkeypatch.setattr(bench.worker, "_send_heartbeats", lambda: None)
    bench.worker.run()
    assert next(steps, "none left") == "none left"


def test_a_worker_that_ends_keeps_its_vectors_and_gives_its_leases_back_before_it_waits_for_anybody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bench.server, 20)
    bench.round()
    done: list[str] = []
    worker, [pool] = bench.worker, bench.worker._pools.values()
    for name, of, method in (
        ("vectors", pool, "flush"), ("leases", bench.store.jobs, "leave"), ("encoder", worker._encoding_runner, "stop"),
        ("watch", worker._monitor_runner, "stop"), ("teacher", worker._teacher_runner, "stop"),
    ):  # fmt: skip
        monkeypatch.setattr(of, method, lambda *_, name=name: done.append(name))
    bench.stop.set()
    worker.run()
    assert done[:2] == ["vectors", "leases"] and len(done) == 5
