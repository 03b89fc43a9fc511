"""A worker of project 5 that does nothing by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio
from workers import Bench

from ml_backend.settings import ProjectSettings, Settings


@pytest.fixture
def bench(
    make_settings: Callable[..., Settings],
    server: FakeLabelStudio,
    fake_encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    settings = make_settings(
        label_studio_api_key="key", defaults=ProjectSettings(queue_size=10, audit_share=0), keep_versions=2
    )
    made = Bench(settings, server, monkeypatch)
    monkeypatch.setattr(made.stop, "wait", lambda *_: made.stop.is_set())  # idling takes no time
    yield made
    made.store.close()
