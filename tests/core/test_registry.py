"""Plugins, built-in or of other packages, are found by name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_encoder import FakeEncoder, install_plugins
from scripted_teacher import ScriptedTeacher

from ml_backend.core import registry
from ml_backend.core.exceptions import UnknownPluginError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import TeacherOptions


def test_the_built_in_plugins_are_installed() -> None:
    assert {kind: set(registry.installed(kind)) for kind in ("encoder", "learner", "writer", "teacher")} == {
        "encoder": {"minilm", "sentence"},
        "learner": {
            "crf", "logistic", "tabular", "laat", "laat-mlp", "laat-paper", "laat-paper-mlp", "trees", "writers",
        },
        "writer": {"edits", "nearest"},
        "teacher": {"batch", "openai", "similarity", "transformers"},
    }  # fmt: skip
    assert {"cluster-uncertainty", "random"} <= set(registry.installed("acquisition"))


THIRD_PARTY = """
from ml_backend.core import registry

assert "broken" in registry.installed("acquisition")
registry.acquisition("random")
assert registry.encoder("fake").name == "fake"
assert registry.encoder("fake:other").name == "other"
"""


def test_a_third_partys_plugin_is_found_and_a_plugin_that_is_not_used_is_not_imported(tmp_path: Path) -> None:
    environment = install_plugins(
        tmp_path, {"encoder.fake": "fake_encoder:FakeEncoder", "acquisition.broken": "no_such_module:Nothing"}
    )
    subprocess.run([sys.executable, "-c", THIRD_PARTY], env={**os.environ, **environment}, check=True)


def test_an_encoder_is_made_once_for_each_model() -> None:
    with registry.overridden({"encoder.fake": FakeEncoder}):
        assert registry.encoder("fake").name == "fake"
        assert registry.encoder("fake:other").name == "other"
        assert registry.encoder("fake:other") is registry.encoder("fake:other"), "weights are loaded once"


def test_threads_that_ask_at_once_get_one_encoder() -> None:
    class SlowEncoder(FakeEncoder):
        def __init__(self) -> None:
            time.sleep(0.05)
            super().__init__()

    with registry.overridden({"encoder.slow": SlowEncoder}), ThreadPoolExecutor(4) as threads:
        encoders = list(threads.map(registry.encoder, ["slow"] * 4))
    assert all(encoder is encoders[0] for encoder in encoders)


def test_overriding_plugins_replaces_installed_ones_and_adds_others_until_the_block_ends() -> None:
    installed, random = registry.installed("acquisition"), type(registry.acquisition("random"))

    class Mine(random):  # type: ignore[misc, valid-type]
        pass

    with registry.overridden({"acquisition.random": Mine, "acquisition.mine": Mine}):
        with registry.overridden({"acquisition.mine": random}):
            assert (type(registry.acquisition("random")), type(registry.acquisition("mine"))) == (Mine, random)
        assert type(registry.acquisition("mine")) is Mine
        assert registry.installed("acquisition") == {*installed, "mine"}
        assert ProjectSettings(acquisition="mine").acquisition == "mine", "settings accept its name"
    assert type(registry.acquisition("random")) is random
    assert registry.installed("acquisition") == installed


def test_no_instance_leaves_the_block_in_which_a_plugin_is_overridden() -> None:
    options = TeacherOptions(model="small")
    before = registry.teacher("batch", options)
    with registry.overridden({"teacher.batch": lambda _: ScriptedTeacher()}):
        inside = registry.teacher("batch", options)
        assert isinstance(inside, ScriptedTeacher) and registry.teacher("batch", options) is inside
    assert registry.teacher("batch", options) is before
    with registry.overridden({"encoder.minilm": FakeEncoder}):
        fake = registry.encoder("minilm")
        drafter = registry.drafter(fake)
    with registry.overridden({"encoder.minilm": FakeEncoder}):
        assert registry.encoder("minilm") is not fake
    assert registry.drafter(fake) is not drafter


def test_a_teacher_is_made_once_for_the_same_options() -> None:
    small, large = TeacherOptions(model="small"), TeacherOptions(model="large")
    assert registry.teacher("batch", small) is registry.teacher("batch", small)
    assert registry.teacher("batch", small) is not registry.teacher("batch", large)
    assert registry.teacher("similarity", small) is None


def test_the_batch_format_writes_no_line_without_questions() -> None:
    assert list(registry.batch_format().write([], TeacherOptions(model="small"))) == []


@pytest.mark.parametrize("name", ["nothing", "", "../etc", "random.x"])
def test_the_error_of_an_unknown_plugin_names_the_installed_ones(name: str) -> None:
    with pytest.raises(UnknownPluginError, match=r"badge, cluster-uncertainty, .*, typicality") as error:
        registry.acquisition(name)
    assert repr(name) in str(error.value)


def test_the_encoders_of_a_dozen_projects_of_records_are_cached() -> None:
    profiles = [
        registry.profile([{"age": 3.0 * n, "city": "x"}, {"age": 1.0, "city": f"y{n}"}], {}, "minilm")
        for n in range(12)
    ]
    encoders = [registry.record_encoder(profile, "minilm") for profile in profiles]
    assert [registry.record_encoder(profile, "minilm") for profile in profiles] == encoders
