"""The warm-up uses every plugin once, and a failure has no consequences."""

from __future__ import annotations

from fake_encoder import FakeEncoder
from plugin_overrides import OverridePlugins

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import FORM_DEFAULTS, Settings
from ml_backend.worker.warmup import warm


def test_every_plugin_of_a_round_is_used(
    settings: Settings, fake_encoder: FakeEncoder, override_plugins: OverridePlugins
) -> None:
    used: list[str] = []
    for kind, find in (("learner", registry.learner), ("acquisition", registry.acquisition)):
        name = FORM_DEFAULTS["text"][kind]
        plugin = find(name)
        override_plugins({f"{kind}.{name}": lambda name=name, plugin=plugin: used.append(name) or plugin})
    warm(settings)
    assert fake_encoder.encoded and fake_encoder.sketched
    assert used == [*FORM_DEFAULTS["text"].values()]


def test_a_warm_up_without_an_encoder_raises_nothing(settings: Settings, override_plugins: OverridePlugins) -> None:
    def missing() -> None:
        raise ApprenticeError("the weights are missing")

    override_plugins({"encoder.minilm": missing})
    warm(settings)
