"""A data folder that an earlier release left opens, serves, and goes on learning.

`data_folder_of_0014.tar.gz` was made at migration 0014, before the modules got their present names. It has 90 tasks of
the fake server, 40 of them answered, and three versions, the last two with a learner.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio, submit_labels
from round_fixtures import active
from schemas import only

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor

ARCHIVE = Path(__file__).with_name("data_folder_of_0014.tar.gz")


@pytest.fixture
def earlier(tmp_path: Path) -> dict[str, Any]:
    """What the fake server held when the folder was made. The folder lies where `settings` expects it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    state: dict[str, Any] = json.loads((tmp_path / "server.json").read_text())
    return state


@pytest.fixture
def settings(earlier: dict[str, Any], make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def server(earlier: dict[str, Any]) -> FakeLabelStudio:
    """The fake server as it was, with its own clock."""
    tasks = {int(number): task for number, task in earlier["tasks"].items()}
    server = FakeLabelStudio(tasks=tasks, predictions=earlier["predictions"], settings=earlier["settings"])
    server._today = date.fromisoformat(earlier["today"])
    return server


def test_an_earlier_data_folder_serves_the_learner_that_it_holds(
    earlier: dict[str, Any], settings: Settings, store: Store, server: FakeLabelStudio, fake_encoder: FakeEncoder
) -> None:
    version = active(store)
    assert (version.name, version.learner) == (earlier["active"], earlier["learner"])
    assert store.projects.ensure(5).is_connected
    [prediction] = Predictor(settings, store).predict(5, server.label_config, [999], ["n1 apple"])
    assert only(prediction.drafts).author == "learner"


def test_a_learner_is_fitted_in_an_earlier_data_folder(
    earlier: dict[str, Any], server: FakeLabelStudio, store: Store, make_round: Callable[..., RoundContext],
    single: ProjectSchema,
) -> None:  # fmt: skip
    truth = {int(task): label for task, label in earlier["truth"].items()}
    unanswered = [task for task in truth if not server.tasks[task]["annotations"]]
    submit_labels(server, truth, single, unanswered[:10])
    assert run_round(make_round(server)) is not None
    version = active(store)
    assert version.learner == version.number == earlier["learner"] + 1
    assert version.labelled == 50
    assert server.settings["model_version"] == version.name
    before = store.versions.get(5, earlier["learner"])
    assert before is not None
    assert remarks_text(before.remarks) == "won 1, lost 0 of 40 against the earlier"
