"""The documents, the make targets, the version and the workflow agree with each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ml_backend import __version__
from ml_backend.cli.main import app

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLACES_OF_THE_VERSION = ["pyproject.toml", "compose.yaml", "Dockerfile", "Makefile", "ml_backend/__init__.py"]


def make(*arguments: str) -> str:
    """Returns the output of make. Only targets that build no environment may be used here."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


def test_the_version_is_written_in_one_place() -> None:
    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ml_backend.__version__"}
    pattern = rf"(?<!==){re.escape(__version__)}(?![\d.])"  # a package of others may have the same version
    files = [name for name in PLACES_OF_THE_VERSION if re.search(pattern, (ROOT / name).read_text())]
    assert files == ["ml_backend/__init__.py"]


def test_the_command_prints_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{__version__}\n"


def test_the_changelog_has_an_entry_of_this_version_and_of_what_comes() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d{{2}}-\d{{2}}", headings[1])


def test_the_supported_versions_include_this_one() -> None:
    assert f"| {__version__.rpartition('.')[0]}.x | yes |" in (ROOT / "SECURITY.md").read_text()


def test_the_license_is_the_one_that_the_package_names() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0" and PROJECT["project"]["license-files"] == ["LICENSE"]
    assert "Apache License\n" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def test_both_packages_are_typed_and_the_wheel_has_the_marker() -> None:
    for package in ("ml_backend", "plugins"):
        assert (ROOT / package / "py.typed").exists()
        assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][package]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_only_targets_of_make_that_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert named <= TARGETS
    assert named or name == "SECURITY.md"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_only_files_that_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target}
    quoted = set(re.findall(r"`((?:ml_backend|plugins|tests|docs|benchmarks)/[\w./-]*)`", text))
    assert [path for path in linked | quoted if not (ROOT / path).exists()] == []


def test_help_lists_every_target_and_only_those() -> None:
    listed = re.findall(r"^  make ([a-z0-9-]+) +\S", make("help"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == TARGETS


def test_make_without_a_target_sets_up() -> None:
    assert re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE)[0] == "setup"


def test_the_fast_loop_does_not_need_the_environment_of_label_studio() -> None:
    for target in ("lint", "format", "unit", "slow"):
        needed = re.findall(rf"^{target}: (.*?) ##", MAKEFILE, re.MULTILINE)
        assert needed == [".venv/.ready"], target


def test_all_tests_are_run_by_make_test_in_its_order() -> None:
    (needed,) = re.findall(r"^test: (.*?) ##", MAKEFILE, re.MULTILINE)
    assert needed.split() == ["setup", "lint", "unit", "slow", "e2e"]
    marked = re.findall(r'pytest -m "?([^"\n]*?)"?(?: \$\(PARALLEL\))?$', MAKEFILE, re.MULTILINE)
    assert marked == ["not slow and not e2e", "slow and not e2e", "e2e"]


def test_the_layers_of_contributing_are_those_that_are_checked() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Layers")[1].split("## ")[0]
    rows = [re.findall(r"`([\w./]+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    documented_layers = [{path.removesuffix(".py").rstrip("/").replace("/", ".") for path in row} for row in rows]
    (contract,) = [
        contract for contract in PROJECT["tool"]["importlinter"]["contracts"] if contract["type"] == "layers"
    ]
    assert documented_layers[::-1] == [set(re.split(r" [:|] ", layer)) for layer in contract["layers"]]


def test_the_workflow_runs_the_same_script_as_any_other_ci() -> None:
    workflow: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow and job["timeout-minutes"] == 90
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert job["strategy"]["matrix"]["python"] == [oldest]


def test_the_hooks_run_the_checks_of_make_lint_and_download_nothing() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    lint = MAKEFILE.split("\nlint:")[1].split("\n\n")[0]
    commands = [line.strip().removesuffix(" .").replace(" --check", "") for line in lint.splitlines()[1:]]
    assert [hook["entry"] for hook in repository["hooks"]] == commands


def test_the_editor_is_told_what_ruff_checks() -> None:
    text = (ROOT / ".editorconfig").read_text()
    python = text.split("[*.py]")[1].split("[")[0]
    assert f"max_line_length = {PROJECT['tool']['ruff']['line-length']}" in python and "indent_size = 4" in python
    assert "indent_style = tab" in text.split("Makefile")[1].split("[")[0]


@pytest.fixture
def pip_install(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs scripts/pip_install.py with a stand-in for pip that runs this code; its log is `setup.log`."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        package = tmp_path / "pip"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(f"import sys\n{code}\n")
        command: list[str | Path] = [
            sys.executable,
            ROOT / "scripts" / "pip_install.py",
            tmp_path / "setup.log",
            "flask",
        ]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)

    return run


def test_set_up_counts_packages_and_keeps_the_lines_of_pip(
    pip_install: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = pip_install(
        "for n in range(45): print(f'Collecting package_{n}>=1 (from x)'); "
        "print(f'Requirement already satisfied: package-{n} in /some/folder/site-packages')\n"
        "print('Installing collected packages: a, b, c'); print('Successfully installed a-1 b-2 c-3')"
    )
    lines = ["found 20 packages", "found 40 packages", "installing 3 packages ...", "installed 3 packages"]
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.strip() for line in done.stdout.splitlines()] == lines
    assert len((tmp_path / "setup.log").read_text().splitlines()) == 92


def test_set_up_that_fails_shows_why_without_addresses_and_ends_with_the_status_of_pip(
    pip_install: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = pip_install(
        "print('Looking in indexes: https://user:password@index.invalid/simple')\n"
        "print('WARNING: Retrying after ConnectTimeoutError(host=\\'mirror.invalid\\'): /simple/x/')\n"
        "for n in range(100): print(f'Collecting package_{n}'); print(f'  building {n}')\n"
        "print('ERROR: index.invalid and mirror.invalid have no flask, see https://help.invalid', file=sys.stderr)\n"
        "sys.exit(23)"
    )
    assert done.returncode == 23
    assert "exit status 23" in done.stderr and "building 0\n" in done.stderr and "have no flask" in done.stderr
    assert "Collecting" not in done.stderr
    for secret in ("invalid", "password", "://"):
        assert secret not in done.stdout + done.stderr.replace(str(tmp_path), "")
        assert secret not in (tmp_path / "setup.log").read_text()
