"""Fixtures that run simulations, from Python and on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from plugin_overrides import OverridePlugins
from simulations import FewClusters, NearestMeanLearner, SimulationFolder

from ml_backend.cli import main as cli
from ml_backend.cli import simulate
from ml_backend.core import registry
from ml_backend.core.settings import Settings


@pytest.fixture
def quick_encoder(fake_encoder: FakeEncoder, override_plugins: OverridePlugins) -> FakeEncoder:
    clusterer = registry.clusterer()
    override_plugins({"learner.logistic": NearestMeanLearner})
    override_plugins({"clusterer.bisecting": lambda: FewClusters(clusterer)})
    return fake_encoder


@pytest.fixture
def simulation(tmp_path: Path, settings: Settings, quick_encoder: FakeEncoder) -> SimulationFolder:
    return SimulationFolder(tmp_path, settings)


@pytest.fixture
def main(
    simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs `apprentice simulate` with command-line options; returns exit code, standard output and standard error."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(simulation.settings.data_dir))
    monkeypatch.setattr(simulate, "cap_threads", lambda _n: None)
    files = {"--tasks": "tasks.json", "--label-config": "config.xml", "--out": "report"}
    small = {"--budget": "12", "--batch": "4", "--seeds": "2", "--strategy": "margin"}

    def call(**options: str) -> tuple[object, str, str]:
        options_by_name = {**{name: str(simulation.folder / file) for name, file in files.items()}, **small}
        options_by_name |= {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        words = [word for option in options_by_name.items() for word in option]
        monkeypatch.setattr(sys, "argv", ["apprentice", "simulate", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return call
