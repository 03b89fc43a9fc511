"""Plugins, built-in or of other packages, are found by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint, entry_points

import pytest
from fake_encoder import FakeEncoder

from ml_backend.core import registry
from ml_backend.core.exceptions import UnknownPluginError
from ml_backend.core.lru_cache import LruCache
from ml_backend.core.registry import ENTRY_POINT_GROUP
from ml_backend.core.teacher_types import TeacherOptions


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    third_party_plugins = [
        EntryPoint("encoder.fake", "fake_encoder:FakeEncoder", ENTRY_POINT_GROUP),
        EntryPoint("acquisition.broken", "no_such_module:Nothing", ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: [*entry_points(group=group), *third_party_plugins])
    monkeypatch.setattr(registry, "_encoders", LruCache(2))
    registry.installed.cache_clear()
    yield
    registry.installed.cache_clear()


def test_the_built_in_plugins_are_installed() -> None:
    assert {kind: set(registry.installed(kind)) for kind in ("encoder", "learner", "teacher")} == {
        "encoder": {"minilm", "sentence"},
        "learner": {"logistic", "tabular", "laat", "laat-mlp", "laat-paper", "laat-paper-mlp", "trees"},
        "teacher": {"batch", "openai", "similarity", "transformers"},
    }  # fmt: skip
    assert {"cluster-uncertainty", "random"} <= set(registry.installed("acquisition"))


def test_a_third_partys_plugin_is_found_and_made_with_its_model(third_party: None) -> None:
    assert registry.encoder("fake").name == "fake"
    assert registry.encoder("fake:other").name == "other"
    assert registry.encoder("fake:other") is registry.encoder("fake:other"), "weights are loaded once"


def test_threads_that_ask_at_once_get_one_encoder(third_party: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowEncoder(FakeEncoder):
        def __init__(self) -> None:
            time.sleep(0.05)
            super().__init__()

    monkeypatch.setattr(registry, "_load", lambda *_: SlowEncoder)
    with ThreadPoolExecutor(4) as threads:
        encoders = list(threads.map(registry.encoder, ["slow"] * 4))
    assert all(encoder is encoders[0] for encoder in encoders)


def test_a_teacher_is_made_once_for_the_same_options() -> None:
    small, large = TeacherOptions(model="small"), TeacherOptions(model="large")
    assert registry.teacher("batch", small) is registry.teacher("batch", small)
    assert registry.teacher("batch", small) is not registry.teacher("batch", large)
    assert registry.teacher("similarity", small) is None


def test_the_files_of_a_batch_have_a_format_of_their_own() -> None:
    assert list(registry.batch_format().write([], TeacherOptions(model="small"))) == []


def test_a_plugin_that_is_not_used_is_not_imported(third_party: None) -> None:
    assert "broken" in registry.installed("acquisition")
    registry.acquisition("random")


@pytest.mark.parametrize("name", ["nothing", "", "../etc", "random.x"])
def test_the_error_of_an_unknown_plugin_names_the_installed_ones(name: str) -> None:
    with pytest.raises(UnknownPluginError, match=r"badge, cluster-uncertainty, .*, typicality") as error:
        registry.acquisition(name)
    assert repr(name) in str(error.value)


def test_a_kind_without_plugins_says_none() -> None:
    with pytest.raises(UnknownPluginError, match="installed are none"):
        registry._load("distiller", "x")


def test_the_encoders_of_a_dozen_projects_of_records_are_cached() -> None:
    profiles = [
        registry.profile([{"age": 3.0 * n, "city": "x"}, {"age": 1.0, "city": f"y{n}"}], {}, "minilm")
        for n in range(12)
    ]
    encoders = [registry.record_encoder(profile, "minilm") for profile in profiles]
    assert [registry.record_encoder(profile, "minilm") for profile in profiles] == encoders
