"""Fixtures of all tests: settings with a temporary folder, a store, an application, small projects."""

from __future__ import annotations

import os

from manual_clock import ManualClock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch read them; the machine is shared
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gc
import json
import ssl
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from databases import (
    any_empty_settings,
    any_settings,
    any_store,
    empty_postgresql,
    migrated_once,
    migrated_postgresql,
    new_postgresql,
    postgresql,
    statements,
)
from fake_encoder import FakeEncoder
from fake_label_studio import MULTIPLE, SINGLE, FakeClient, FakeLabelStudio
from flask.testing import FlaskClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from plugin_overrides import OverridePlugins, override_plugins, use_teacher
from recording_plugins import logistic, teacher_strategy
from round_fixtures import options, taught

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.loop.context import RoundContext
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.web.app import create_app

__all__ = [  # fixtures
    "any_empty_settings",
    "any_settings",
    "any_store",
    "empty_postgresql",
    "logistic",
    "migrated_once",
    "migrated_postgresql",
    "new_postgresql",
    "options",
    "override_plugins",
    "postgresql",
    "statements",
    "taught",
    "teacher_strategy",
    "use_teacher",
]

hypothesis_settings.register_profile(
    "apprentice",
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.differing_executors,  # a contract's test is run by each class that keeps it
    ],
)
hypothesis_settings.load_profile("apprentice")

CAPTURES = Path(__file__).parent / "captures"  # recorded on a running Label Studio 1.23.2


@pytest.fixture(autouse=True)
def loggers_of_this_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Resets the loggers that a command sets up, because they must not outlive the test's standard error."""
    configure = structlog.configure

    def uncached(**values: Any) -> None:
        configure(**{**values, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the settings of this machine and the `.env` file of the working directory from the test."""
    for name in list(os.environ):
        if name.startswith("APPRENTICE_"):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> None:
    """Exempts what was imported by now from garbage collection, which else looks through all of it every two seconds:
    an eighth of the processor time of a run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def certificates_once() -> Iterator[None]:
    """Caches the TLS context: reading the certificates of the machine for each client takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**values: Any) -> Settings:
        return Settings(**{"data_dir": tmp_path / "data", "label_studio_url": "http://label-studio.invalid", **values})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def clock() -> ManualClock:
    """The clock of `store` and `any_store`."""
    return ManualClock()


@pytest.fixture
def store(settings: Settings, clock: ManualClock) -> Iterator[Store]:
    opened = Store(settings, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def fake_encoder(override_plugins: OverridePlugins) -> FakeEncoder:
    """Replaces the default encoder by one with deterministic word hashes and no weights."""
    encoder = FakeEncoder()
    override_plugins({"encoder.minilm": lambda: encoder})
    return encoder


@pytest.fixture
def client(settings: Settings, store: Store, fake_encoder: FakeEncoder) -> FlaskClient:
    """A client of the application without a secret, on this machine."""
    return create_app(settings, store).test_client()


@pytest.fixture
def single() -> ProjectSchema:
    return read_schema(SINGLE)


@pytest.fixture
def multiple() -> ProjectSchema:
    return read_schema(MULTIPLE)


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio()


@pytest.fixture
def make_round(settings: Settings, store: Store, fake_encoder: FakeEncoder) -> Callable[..., RoundContext]:
    """Makes rounds of project 5 against a fake server. The rounds of one test share their pool."""
    pools: dict[int, ProjectPool] = {}
    aggregator = LabelAggregator(store, 5)

    def make(server: FakeLabelStudio, **values: Any) -> RoundContext:
        if 5 not in pools:
            pools[5] = ProjectPool(store, 5, fake_encoder)
        context: dict[str, Any] = {
            "settings": settings.model_copy(update={"reconcile_seconds": 0.0}),
            "store": store,
            "client": FakeClient(server),
            "project": 5,
            "pool": pools[5],
            "aggregator": aggregator,
            "check_lease": lambda: None,
            "newer_round_requested": lambda _: False,
        }
        return RoundContext(**{**context, **values})

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def capture() -> Callable[[str], dict[str, Any]]:
    """Reads a recorded exchange with a real Label Studio by the beginning of its file's name."""

    def read(name: str) -> dict[str, Any]:
        captured: dict[str, Any] = json.loads(next(CAPTURES.glob(f"{name}*.json")).read_text())
        return captured

    return read


@pytest.fixture(scope="session")
def capture_names() -> list[str]:
    return sorted(path.stem for path in CAPTURES.glob("*.json"))
