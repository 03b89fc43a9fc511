"""The backend class of label-studio-ml, with the base class of both releases."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE
from projects import set_up
from schemas import chosen

from ml_backend.core.settings import Settings
from ml_backend.storage import Store

Capture = Callable[[str], dict[str, Any]]


class NewBase:
    """The constructor of label-studio-ml 2.x."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.made_with = (project_id, label_config)
        self.kept: dict[str, str] = {}
        self.setup()

    def setup(self) -> Any:
        raise NotImplementedError

    def set(self, name: str, value: str) -> None:
        self.kept[name] = value


@pytest.fixture(params=["1.0.9", "2.x"])
def backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, settings: Settings, store: Store,
    fake_encoder: FakeEncoder,
) -> Iterator[Any]:  # fmt: skip
    """The backend class, bound to the store, with the base class of one release."""
    saved = sys.modules.pop("ml_backend.web.backend", None)
    if request.param == "2.x":
        stand_in = ModuleType("label_studio_ml.model")
        stand_in.LabelStudioMLBase = NewBase  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "label_studio_ml.model", stand_in)
    module = importlib.import_module("ml_backend.web.backend")
    assert (request.param == "2.x") == module.TAKES_PROJECT
    yield module.bind_backend(settings, store)
    sys.modules.pop("ml_backend.web.backend", None)
    if saved is not None:
        sys.modules["ml_backend.web.backend"] = saved


def test_the_backend_is_a_subclass_of_label_studio_mls_base_class(backend: Any) -> None:
    [base] = backend.__base__.__bases__
    assert base.__name__ in ("LabelStudioMLBase", "NewBase")
    instance = backend(project_id="5.1795307863", label_config=SINGLE)
    assert instance.project == 5
    assert instance.setup()["model_version"]


def test_predict_returns_one_result_for_each_task(backend: Any) -> None:
    instance = backend(project_id="5", label_config=SINGLE)
    results = instance.predict([{"id": 1, "data": {"text": "apple"}}, None, {"id": 2, "data": {"text": "iron"}}])
    assert [bool(result["result"]) for result in results] == [True, False, True]
    assert all(set(result) == {"result", "score", "model_version"} for result in results)
    assert instance.predict([], context={"result": []}) == []


def test_fit_stores_the_event_and_fits_nothing(
    backend: Any, store: Store, capture: Capture, fake_encoder: FakeEncoder
) -> None:
    set_up(store, 5, connection={"ml": 1})
    body = capture("10_")["requests_to_ml"][0]["json"]
    instance = backend(project_id="5", label_config=body["project"]["label_config"])
    data = {name: value for name, value in body.items() if name != "action"}
    assert instance.fit(event="ANNOTATION_CREATED", data=data) == {"status": "taken", "round": True}
    assert [chosen(annotation) for annotation in store.annotations.of(5)] == [("neg",)]
    assert store.jobs.state(5).waiting
    assert store.versions.all(5) == []
    assert fake_encoder.encoded == []


def test_the_calls_of_the_server_of_release_2_are_handled(backend: Any, store: Store, capture: Capture) -> None:
    if backend.__base__.__bases__[0] is not NewBase:
        pytest.skip("of 2.x alone")
    set_up(store, 5, connection={"ml": 1})
    body = capture("10_")["requests_to_ml"][0]["json"]
    instance = backend(project_id="5", label_config=body["project"]["label_config"])
    assert instance.kept["model_version"] == instance.setup()["model_version"], "its /setup answers what was set"
    data = {name: value for name, value in body.items() if name != "action"}
    assert instance.fit("ANNOTATION_CREATED", data)["status"] == "taken"
    assert [chosen(annotation) for annotation in store.annotations.of(5)] == [("neg",)]


@pytest.mark.parametrize("data", [None, {}, "x", [], {"project": None}])
def test_fit_ignores_data_that_are_no_event(backend: Any, data: object) -> None:
    assert backend(project_id="5").fit(event="ANNOTATION_CREATED", data=data)["status"] == "ignored"
    assert backend(project_id="5").fit([], workdir="/nowhere")["status"] == "ignored"


def test_the_constructor_takes_the_arguments_of_the_server_of_its_release(backend: Any) -> None:
    if backend.__base__.__bases__[0] is NewBase:
        instance = backend("5", SINGLE)
        assert instance.made_with == ("5", SINGLE)
    else:
        instance = backend(label_config=SINGLE, train_output={}, hostname="http://x", access_token="t")
        assert instance.project == 0
    assert instance.config == SINGLE


def test_without_the_application_the_settings_come_from_the_environment(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(tmp_path / "from_environment"))
    first, second = (backend.__base__(project_id="5", label_config=SINGLE) for _ in range(2))
    assert first.setup()["model_version"]
    assert first.services() is second.services()
    assert (tmp_path / "from_environment").is_dir()
    first.services().store.close()


def test_two_applications_keep_their_stores_apart(backend: Any, make_settings: Callable[..., Settings]) -> None:
    module = sys.modules["ml_backend.web.backend"]
    other_store = Store(make_settings(data_dir=make_settings().data_dir / "other"))
    other_backend = module.bind_backend(make_settings(), other_store)
    assert other_backend(project_id="5").services().store is other_store
    assert backend(project_id="5").services().store is not other_store
    other_store.close()
