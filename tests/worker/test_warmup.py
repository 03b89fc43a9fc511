"""The warm-up uses every plugin once, and a failure has no consequences."""

from __future__ import annotations

import pytest
from fake_encoder import FakeEncoder

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import FORM_DEFAULTS, Settings
from ml_backend.worker.warmup import warm


def test_every_plugin_of_a_round_is_used(
    settings: Settings, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    for kind in ("learner", "acquisition"):
        plugin_of = getattr(registry, kind)
        monkeypatch.setattr(registry, kind, lambda name, find=plugin_of: used.append(name) or find(name))
    warm(settings)
    assert fake_encoder.encoded and fake_encoder.sketched
    assert used == [*FORM_DEFAULTS["text"].values()]


def test_a_missing_encoder_is_left_to_the_first_round(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ApprenticeError("the weights are missing")

    monkeypatch.setattr(registry, "encoder", missing)
    warm(settings)
