"""An idle worker queries the database seldom, and a signal wakes it at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from statistics import median

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks
from manual_clock import ManualClock
from projects import set_up
from statements import recorded_statements

from ml_backend.core.settings import Settings
from ml_backend.storage import Store, save_credentials
from ml_backend.storage.signals import Listener, PollingListener
from ml_backend.worker import worker as module
from ml_backend.worker.worker import Worker

PATIENCE = 60.0
IDLE_SECONDS = 9.0


class Running:
    """A worker of project 5 in a thread, and a store of another process."""

    def __init__(self, settings: Settings, server: FakeLabelStudio, listener: Listener | None = None) -> None:
        self.stop = threading.Event()
        self.store = Store(settings)
        set_up(self.store, 5, connection={"ml": 1})
        worker = Worker(
            settings, Store(settings), self.stop, make_client=lambda *_: FakeClient(server), listener=listener
        )
        self.thread = threading.Thread(target=worker.run)

    def __enter__(self) -> Running:
        self.thread.start()
        self.finish()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(PATIENCE)
        self.store.close()
        assert not self.thread.is_alive()

    def finish(self) -> None:
        """Waits until no round is requested."""
        deadline = time.monotonic() + PATIENCE
        while self.store.projects.ensure(5).fingerprint == "" or self.store.jobs.state(5).waiting:
            assert time.monotonic() < deadline, "gave up waiting"
            time.sleep(0.05)

    def rest(self) -> None:
        """Waits until no round has been requested for a moment."""
        self.finish()
        time.sleep(1.5)

    def settle(self) -> None:
        """Waits until the project has not changed for longer than the longest pause of a worker."""
        deadline, before, since = time.monotonic() + PATIENCE, None, time.monotonic()
        while time.monotonic() - since < 6.0:
            assert time.monotonic() < deadline, "gave up waiting"
            now = self.store.projects.ensure(5), self.store.versions.next_number(5), self.store.jobs.state(5)
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.1)

    def seconds_until_claimed(self) -> float:
        """Returns the seconds from a request to its round."""
        begin = time.monotonic()
        self.store.jobs.request(5)
        while not self.store.jobs.state(5).running and self.store.jobs.state(5).waiting:
            time.sleep(0.002)
            assert time.monotonic() - begin < PATIENCE, "gave up waiting"
        return time.monotonic() - begin


@pytest.fixture
def project_settings(any_settings: Settings, server: FakeLabelStudio, fake_encoder: FakeEncoder) -> Settings:
    """Settings with credentials, and a project with twelve tasks."""
    add_labelled_tasks(server, 12)
    save_credentials(any_settings.data_dir, any_settings.label_studio_url, "key")
    return any_settings


@pytest.fixture
def running(project_settings: Settings, server: FakeLabelStudio) -> Iterator[Running]:
    with Running(project_settings, server) as running:
        yield running


@pytest.mark.slow
def test_an_idle_worker_queries_the_database_a_few_times_a_second_and_receives_signals_at_once(
    running: Running,
) -> None:
    running.settle()
    with recorded_statements() as statements:
        time.sleep(IDLE_SECONDS)
    queries = [" ".join(statement.split())[:60] for statement, _ in statements if not statement.startswith("BEGIN")]
    assert len(queries) / IDLE_SECONDS < 6.0, queries
    delays = [running.seconds_until_claimed()]
    for _ in range(2):
        running.rest()
        delays.append(running.seconds_until_claimed())
    assert median(delays) < module.POLL_SECONDS / 4


def test_a_worker_without_signals_finds_its_work_by_polling(
    project_settings: Settings, server: FakeLabelStudio
) -> None:
    with Running(project_settings, server, PollingListener()) as running:
        running.rest()
        assert running.seconds_until_claimed() < PATIENCE


def test_every_listener_receives_the_signal_of_another_process(any_settings: Settings) -> None:
    first_store, second_store = Store(any_settings), Store(any_settings)
    listeners = [first_store.signals.listen(), first_store.signals.listen(), second_store.signals.listen()]
    assert not any(listener.heard() for listener in listeners)
    second_store.jobs.request(5)
    for listener in listeners:
        listener.wait(5.0)
        assert listener.heard() and not listener.heard()
    listeners[0].close()
    first_store.jobs.request(5)
    for listener in listeners[1:]:
        listener.wait(5.0)
        assert listener.heard()
        listener.close()
    first_store.jobs.request(5)  # nobody listens
    first_store.close()
    second_store.close()


def test_a_pipe_that_a_killed_worker_left_is_removed(store: Store, settings: Settings) -> None:
    import os

    folder = settings.data_dir / "signals"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "dead.pipe")
    (folder / "file.pipe").write_text("not a pipe")
    store.jobs.request(5)
    assert not (folder / "dead.pipe").exists()


def test_if_no_pipe_can_be_made_the_worker_polls(store: Store, settings: Settings) -> None:
    (settings.data_dir / "signals").write_text("in the way")
    listener = store.signals.listen()
    assert not listener.heard()
    listener.close()
    store.jobs.request(5)


def test_a_lost_connection_is_opened_again_and_counts_as_a_signal(
    new_postgresql: str, any_settings: Settings, clock: ManualClock
) -> None:
    import sqlalchemy as sa

    if not any_settings.store_url:
        pytest.skip("of PostgreSQL alone")
    store = Store(any_settings, clock=clock)
    listener = store.signals.listen()
    with store.database.begin() as connection:
        terminate_others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        connection.execute(sa.text(terminate_others))
    store.jobs.request(5)
    for _ in range(5):  # the end of a connection may take two looks to be seen
        listener.wait(0.1)
        assert not listener.heard()
    clock.sleep(60.0)
    assert listener.heard(), "it cannot know what was announced meanwhile"
    store.jobs.request(5)
    listener.wait(5.0)
    assert listener.heard()
    listener.close()
    store.close()
