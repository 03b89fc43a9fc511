"""A worker that the tests move on, step by step, against a Label Studio in memory."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio
from projects import set_up

from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.label_studio.webhooks import read_event
from ml_backend.storage import Store
from ml_backend.web.webhook_handler import take
from ml_backend.worker import worker as module
from ml_backend.worker.worker import Worker

CALL_SECONDS = 0.06  # of one call to Label Studio


class TimedClient(FakeClient):
    """Every call takes its time on the clock of the bench."""

    def __init__(self, server: FakeLabelStudio, bench: Bench) -> None:
        super().__init__(server)
        self._bench = bench

    def call(self, method: str, path: str, **values: Any) -> Any:
        self._bench.time += CALL_SECONDS
        return super().call(method, path, **values)


class Bench:
    """A worker of one project, what it writes to, and a clock that only the test and calls to Label Studio move."""

    def __init__(self, settings: Settings, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.stop = threading.Event()
        self.clients: list[tuple[str, str]] = []
        self.time = 1000.0
        self.client = TimedClient(server, self)
        monkeypatch.setattr(module, "LabelStudioClient", self.connect)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.time)
        self.worker = Worker(settings, self.stop)
        monkeypatch.setattr(self.worker._listener, "wait", lambda _: None)  # this clock does not move by itself
        self.store: Store = self.worker._store
        set_up(self.store, 5, connection={"ml": 1})

    def connect(self, url: str, key: str, _timeout: float) -> FakeClient:
        self.clients.append((url, key))
        return self.client

    def step(self) -> None:
        self.worker._step()
        if (encoding := self.worker._encoding_runner._running) is not None:
            encoding.result.exception()  # waits for it

    def round(self) -> None:
        self.store.jobs.request(5, retry=True)
        self.step()

    def tell(self, body: dict[str, Any]) -> None:
        take(self.store, read_event(body))

    def active(self) -> ModelVersion:
        found = self.store.versions.active(5)
        assert found is not None
        return found
