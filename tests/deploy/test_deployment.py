"""Checks of the container image and the compose file without a container engine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fake_encoder import weightless
from packaging.requirements import Requirement
from packaging.version import Version

from ml_backend.demo.server import free_port

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
HEALTH = ROOT / "docker" / "healthcheck.py"
SECRETS = {"LABEL_STUDIO_PASSWORD": "p" * 8, "APPRENTICE_LABEL_STUDIO_API_KEY": "a" * 40, "APPRENTICE_SECRET": "s" * 32}


def instructions() -> list[tuple[str, str]]:
    """Returns the Dockerfile as pairs of an instruction and its arguments, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = filter(str.strip, text.replace("\\\n", " ").splitlines())
    return [(name, rest.strip()) for name, _, rest in (line.strip().partition(" ") for line in lines)]


def arguments_of(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}


def compose(*arguments: str, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **secrets}
    command: list[str | Path] = [PROGRAMS / "docker-compose", "--env-file", os.devnull, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose("config", "--format", "json", secrets=SECRETS)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_hadolint_reports_no_problem() -> None:
    done = subprocess.run(
        [PROGRAMS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert not (ROOT / ".hadolint.yaml").exists(), "no rule is ignored"


def test_everything_that_is_copied_exists_and_reaches_the_build() -> None:
    included = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    sources = [
        source for copied in arguments_of("COPY") if "--from" not in copied for source in shlex.split(copied)[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source in included or str(Path(source).parent) in included
    assert all((ROOT / name).exists() for name in included)


def test_the_image_can_be_built_without_buildkit() -> None:
    assert not any("--mount" in rest or "<<" in rest for _, rest in instructions()), "BuildKit only"
    assert not (ROOT / "Dockerfile").read_text().startswith("# syntax")


def test_the_image_does_not_run_as_root_and_can_run_on_a_read_only_disk() -> None:
    last_stage = instructions()[max(i for i, (name, _) in enumerate(instructions()) if name == "FROM") :]
    (user,) = [rest for name, rest in last_stage if name == "USER"]
    number, _, group = user.partition(":")
    assert int(number) > 0 and int(group) > 0
    assert any(name == "RUN" and f"--uid {number}" in rest for name, rest in last_stage)
    settings = " ".join(rest for name, rest in last_stage if name == "ENV")
    for variable in ("PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp", "APPRENTICE_DATA_DIR=/data", "APPRENTICE_HOST=0.0.0.0"):
        assert variable in settings
    assert ("VOLUME", "/data") in last_stage
    (check,) = [rest for name, rest in last_stage if name == "HEALTHCHECK"]
    assert json.loads(check[check.index("[") :])[0] == "python"
    assert json.loads(last_stage[-1][1]) == ["apprentice", "serve"]


def test_the_pinned_versions_meet_all_requirements() -> None:
    pinned, project = pins(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]]):
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"
    build = " ".join(arguments_of("RUN"))
    assert "--constraint constraints.txt" in build and "grep '^torch==' constraints.txt" in build
    (plugin,) = re.findall(r"--no-deps (label-studio-ml==\S+)", build)
    assert plugin in (ROOT / "Makefile").read_text()
    assert plugin == f"label-studio-ml=={importlib.metadata.version('label-studio-ml')}"
    bases = {rest.split()[0] for rest in arguments_of("FROM")}
    (base,) = bases
    tag = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-\w+", base)
    assert tag and Version(tag[1]).release[:2] == Version(project["requires-python"].removeprefix(">=")).release


def test_the_compose_file_is_valid_and_requires_its_secrets() -> None:
    for missing in SECRETS:
        done = compose("config", "--quiet", secrets={k: v for k, v in SECRETS.items() if k != missing})
        assert done.returncode != 0 and missing in done.stderr
    assert compose("config", "--quiet", secrets=SECRETS).returncode == 0


def test_the_backend_has_few_rights_and_label_studio_can_reach_it(services: dict[str, Any]) -> None:
    backend, label_studio = services["apprentice"], services["label-studio"]
    assert backend["read_only"] and backend["tmpfs"] == ["/tmp"] and backend["cap_drop"] == ["ALL"]
    assert [volume["target"] for volume in backend["volumes"]] == ["/data"]
    assert backend["depends_on"]["label-studio"]["condition"] == "service_healthy"
    for service in services.values():
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        assert service["healthcheck"]["test"][0] == "CMD"
    for name in ("ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED"):
        assert label_studio["environment"][name] == "false"
    key = backend["environment"]["APPRENTICE_LABEL_STUDIO_API_KEY"]
    assert key == label_studio["environment"]["LABEL_STUDIO_USER_TOKEN"] == SECRETS["APPRENTICE_LABEL_STUDIO_API_KEY"]
    assert backend["environment"]["APPRENTICE_PUBLIC_URL"] == "http://apprentice:9090"
    assert backend["environment"]["APPRENTICE_LABEL_STUDIO_URL"] == "http://label-studio:8080"
    pinned = re.findall(r"^label-studio==(\S+)", (ROOT / "constraints-label-studio.txt").read_text(), re.MULTILINE)
    assert label_studio["image"] == f"heartexlabs/label-studio:{pinned[0]}"


def test_every_setting_in_the_compose_file_is_one_of_the_backend(services: dict[str, Any]) -> None:
    from ml_backend.core.settings import Settings

    names = {name for name in services["apprentice"]["environment"] if name.startswith("APPRENTICE_")}
    names |= set(re.findall(r"\b(APPRENTICE_\w+)=", " ".join(arguments_of("ENV"))))
    assert {name.removeprefix("APPRENTICE_").lower() for name in names} <= Settings.model_fields.keys()


def health(port: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "APPRENTICE_PORT": str(port)}
    return subprocess.run(
        [sys.executable, HEALTH], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def make_server() -> Any:
    servers: list[HTTPServer] = []

    def make(status: int) -> int:
        class Reply(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/ready" else 404)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Reply))
        Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return int(servers[-1].server_address[1])

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (500, 1)])
def test_the_health_script_succeeds_only_for_a_ready_backend(
    make_server: Callable[[int], int], status: int, code: int
) -> None:
    assert health(make_server(status)).returncode == code


def test_the_health_script_fails_if_nothing_answers() -> None:
    done = health(free_port())
    assert done.returncode == 1 and "no answer" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_health_script_succeeds_while_a_real_backend_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_backend.core.settings import Settings
    from ml_backend.demo.run import backend_process

    for name, value in weightless(tmp_path).items():
        monkeypatch.setenv(name, value)
    port = free_port()
    settings = Settings(data_dir=tmp_path / "data", secret="s", port=port, label_studio_api_key="k")
    with backend_process(settings, tmp_path / "backend.log"):
        done = health(port)
        assert done.returncode == 0 and "READY" in done.stdout
    assert health(port).returncode == 1
