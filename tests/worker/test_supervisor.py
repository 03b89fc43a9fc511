"""`apprentice serve`: exposes nothing without a secret, restarts processes that die, and leaves none behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from fake_encoder import weightless

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.demo.server import free_port
from ml_backend.worker.supervisor import check_exposure, environment_of, serve, stop_with_parent

PATIENCE = 90.0
TEACHER_KEY = "of-the-teacher-alone"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "localhost", "::1"])
def test_this_machine_is_served_without_a_secret(make_settings: Callable[..., Settings], host: str) -> None:
    check_exposure(make_settings(host=host))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "10.0.0.1", "8.8.8.8", "fe80::1", "example.com", "localhost.evil.com", ""]
)
def test_the_network_is_served_only_with_a_secret(make_settings: Callable[..., Settings], host: str) -> None:
    with pytest.raises(ApprenticeError, match="APPRENTICE_SECRET"):
        check_exposure(make_settings(host=host))
    check_exposure(make_settings(host=host, secret="long and random"))


def test_serve_on_the_network_without_a_secret_prints_one_sentence_and_exits_with_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml_backend.cli", "serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "APPRENTICE_SECRET" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["mysql+pymysql://user@host/name", "oracle://host/name", "nonsense"])
def test_a_store_that_cannot_be_opened_ends_serve_before_any_process_is_started(
    make_settings: Callable[..., Settings], url: str
) -> None:
    with pytest.raises(ApprenticeError, match="APPRENTICE_STORE_URL"):
        serve(make_settings(store_url=url, port=free_port()), threading.Event())


@pytest.mark.parametrize("variable", ["APPRENTICE_TEACHER_KEY", "apprentice_teacher_key", "Apprentice_Teacher_Key"])
def test_the_web_process_gets_no_key_of_the_teacher_and_workers_do(
    variable: str, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, TEACHER_KEY)
    settings = Settings()
    assert TEACHER_KEY not in environment_of("web", settings).values()
    assert environment_of("worker", settings)["APPRENTICE_TEACHER_KEY"] == TEACHER_KEY


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    """A real `apprentice serve` with two workers, and its port. Who starts and ends whom does not depend on what each
    of them loads when it has started, which takes most of the time."""
    port = free_port()
    environment = {
        **os.environ,
        **weightless(tmp_path),
        "APPRENTICE_DATA_DIR": str(tmp_path / "data"),
        "APPRENTICE_LOG_LEVEL": "error",
        "APPRENTICE_TEACHER_KEY": TEACHER_KEY,
    }
    command = [sys.executable, "-m", "ml_backend.cli", "serve", "--port", str(port), "--workers", "2"]
    started = subprocess.Popen(command, env=environment, cwd=tmp_path)
    supervisor = psutil.Process(started.pid)
    children: list[psutil.Process] = []
    try:
        wait_for(lambda: len(supervisor.children()) == 3)
        children = supervisor.children()
        yield supervisor, port
    finally:
        with suppress(psutil.NoSuchProcess):
            children += supervisor.children()
        started.kill() if started.poll() is None else None
        started.wait(PATIENCE)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.05)


def ready(port: int) -> int:
    """Returns the number of ready workers, 0 while the web process does not reply."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
        return int(json.load(answer)["workers"])
    return 0


def test_a_process_ends_if_its_parent_has_ended() -> None:
    stop = threading.Event()
    with pytest.raises(SystemExit):
        stop_with_parent(stop, parent=os.getppid() + 1)
    stop_with_parent(stop, os.getppid())
    assert not stop.wait(0.01)
    stop.set()


def role(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, ValueError, IndexError):
        return str(process.cmdline()[process.cmdline().index("ml_backend.cli") + 1])
    return ""


@pytest.mark.slow
def test_the_running_web_process_holds_no_key_of_the_teacher(
    served: tuple[psutil.Process, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = {role(child): child for child in served[0].children()}
    assert TEACHER_KEY in children["worker"].environ().values()
    environment = children["web"].environ()
    assert TEACHER_KEY not in environment.values()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".env").write_text(f"APPRENTICE_TEACHER_KEY={TEACHER_KEY}\n")
    read_again = Settings(_env_file=tmp_path / ".env")
    assert read_again.teacher_key.get_secret_value() == "", "not from a file in its folder either"


@pytest.mark.slow
def test_killed_processes_are_started_again_and_sigterm_ends_all_processes(served: tuple[psutil.Process, int]) -> None:
    supervisor, port = served
    wait_for(lambda: ready(port) == 2)
    web = next(child for child in supervisor.children() if role(child) == "web")
    worker = next(child for child in supervisor.children() if role(child) == "worker")
    for victim in (web, worker):
        victim.send_signal(signal.SIGKILL)
    roles = ["web", "worker", "worker"]
    wait_for(lambda: sorted(map(role, supervisor.children())) == roles and web not in supervisor.children())
    assert worker not in supervisor.children()
    wait_for(lambda: ready(port) >= 2)

    family = [supervisor, *supervisor.children(recursive=True)]
    supervisor.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    assert alive == []
    assert ready(port) == 0


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_process_even_if_it_is_still_starting(
    served: tuple[psutil.Process, int],
) -> None:
    supervisor, _ = served
    children = supervisor.children(recursive=True)
    supervisor.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert alive == []
