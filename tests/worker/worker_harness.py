"""A worker that a test steps by hand, with a Label Studio in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fake_label_studio import FakeClient, FakeLabelStudio
from manual_clock import ManualClock
from projects import set_up

from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.storage import Store
from ml_backend.storage.signals import Listener
from ml_backend.worker.worker import Worker

CALL_SECONDS = 0.06  # of one call to Label Studio


class TimedClient(FakeClient):
    """Every call advances the clock."""

    def __init__(self, server: FakeLabelStudio, clock: ManualClock) -> None:
        super().__init__(server)
        self._clock = clock

    def call(self, method: str, path: str, **values: Any) -> Any:
        self._clock.sleep(CALL_SECONDS)
        return super().call(method, path, **values)


class ImpatientListener:
    """Hears what the store announces, and never waits. A test may set `on_wait`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.on_wait: Callable[[float], object] = lambda _seconds: None

    def wait(self, seconds: float) -> None:
        self.on_wait(seconds)

    def heard(self) -> bool:
        return self._listener.heard()

    def close(self) -> None:
        self._listener.close()


class StopRequest(threading.Event):
    """Whether the worker is to stop. Waiting for it takes almost no time."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.001)


class WorkerHarness:
    """A worker of one project, with its store and client. Only the test and calls to Label Studio advance its clock."""

    def __init__(
        self, settings: Settings, server: FakeLabelStudio, stop: threading.Event | None = None, **limits: Any
    ) -> None:
        self.settings = settings
        self.server = server
        self.stop = stop or StopRequest()
        self.clients: list[tuple[str, str]] = []
        self.clock = ManualClock()
        self.client = TimedClient(server, self.clock)
        self.store = Store(settings, clock=self.clock)
        self.listener = ImpatientListener(self.store.signals.listen())
        self.worker = Worker(
            settings, self.store, self.stop, make_client=self.connect, listener=self.listener, **limits
        )
        set_up(self.store, 5, connection={"ml": 1})

    def connect(self, url: str, key: str, _timeout: float) -> FakeClient:
        self.clients.append((url, key))
        return self.client

    def step(self) -> None:
        self.worker.step()
        self.worker.wait()

    def round(self) -> None:
        self.store.jobs.request(5, retry=True)
        self.step()

    def receive_event(self, body: dict[str, Any]) -> None:
        store_event(self.store, read_event(body))

    def active(self) -> ModelVersion:
        version = self.store.versions.active(5)
        assert version is not None
        return version
