"""The parts of the demo that need no server."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.demo import run


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
