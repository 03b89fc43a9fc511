"""A worker that a test steps by hand, with a Label Studio in memory."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio
from projects import set_up

from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.storage import Store
from ml_backend.worker import worker as module
from ml_backend.worker.worker import Worker

CALL_SECONDS = 0.06  # of one call to Label Studio


class TimedClient(FakeClient):
    """Every call advances the clock of the harness."""

    def __init__(self, server: FakeLabelStudio, harness: WorkerHarness) -> None:
        super().__init__(server)
        self._harness = harness

    def call(self, method: str, path: str, **values: Any) -> Any:
        self._harness.time += CALL_SECONDS
        return super().call(method, path, **values)


class WorkerHarness:
    """A worker of one project, with its store and client. Only the test and calls to Label Studio advance its clock."""

    def __init__(self, settings: Settings, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.stop = threading.Event()
        self.clients: list[tuple[str, str]] = []
        self.time = 1000.0
        self.client = TimedClient(server, self)
        monkeypatch.setattr(module, "LabelStudioClient", self.connect)
        monkeypatch.setattr(time, "monotonic", lambda: self.time)
        self.worker = Worker(settings, self.stop)
        monkeypatch.setattr(self.worker._listener, "wait", lambda _: None)  # waiting would not advance this clock
        self.store: Store = self.worker._store
        set_up(self.store, 5, connection={"ml": 1})

    def connect(self, url: str, key: str, _timeout: float) -> FakeClient:
        self.clients.append((url, key))
        return self.client

    def step(self) -> None:
        self.worker._step()
        if (running := self.worker._encoding_runner._running) is not None:
            running.result.exception()  # waits for it

    def round(self) -> None:
        self.store.jobs.request(5, retry=True)
        self.step()

    def receive_event(self, body: dict[str, Any]) -> None:
        store_event(self.store, read_event(body))

    def active(self) -> ModelVersion:
        version = self.store.versions.active(5)
        assert version is not None
        return version
