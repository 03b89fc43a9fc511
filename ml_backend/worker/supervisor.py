"""`apprentice serve`: runs one web process and the workers, restarts them when they die, and stops them together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import structlog

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings, as_environment, is_loopback
from ml_backend.storage import check_url, read_credentials

GRACE_SECONDS = 25.0  # for a round to reach its next write and release its lease
STABLE_SECONDS = 30.0  # a process that has run this long is restarted at once
MAX_RESTART_PAUSE_SECONDS = 30.0  # of a process that dies again and again
TEACHER_KEY = "APPRENTICE_TEACHER_KEY"

log = structlog.get_logger()


@dataclass
class Child:
    """One supervised process; `role` is the hidden command of `apprentice` that it runs."""

    role: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


def serve(settings: Settings, stop: threading.Event) -> None:
    """Runs until `stop` is set. Raises ApprenticeError if the address is not available or must not be used without a
    secret, or if the store's URL is invalid."""
    check_exposure(settings)
    check_url(settings.database_url)
    check_port(settings)
    children = [Child("web"), *(Child("worker") for _ in range(settings.workers))]
    environments = {role: environment_of(role, settings) for role in ("web", "worker")}
    log.info("serving", address=settings.address, workers=settings.workers, data_dir=str(settings.data_dir))
    if not read_credentials(settings)[1]:
        log.warning("no API key for Label Studio is stored: run `apprentice connect`")
    try:
        while not stop.is_set():
            for child in children:
                _keep_running(child, environments[child.role])
            stop.wait(0.1)
    finally:
        _stop_all(children)


def environment_of(role: str, settings: Settings) -> dict[str, str]:
    """Returns the environment of a child process. The web process does not get the teacher's key, because it asks no
    teacher."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.threads))
    environment = {**os.environ, **as_environment(settings), **threads, "TOKENIZERS_PARALLELISM": "false"}
    if role == "web":
        # names of variables are read in upper and lower case; an empty value hides the key of a `.env` file
        environment = {name: value for name, value in environment.items() if name.upper() != TEACHER_KEY}
        environment[TEACHER_KEY] = ""
    return environment


def check_exposure(settings: Settings) -> None:
    """Raises ApprenticeError if everybody on the network could read and change projects, because no secret is set."""
    if settings.secret.get_secret_value() or is_loopback(settings.host):
        return
    raise ApprenticeError(
        f"Refusing to listen on {settings.host} without a secret: set APPRENTICE_SECRET to a long random text "
        "(and run `apprentice connect` again, so that Label Studio presents it), or listen on 127.0.0.1"
    )


def check_port(settings: Settings) -> None:
    """Raises ApprenticeError if the web process could not listen, and would be restarted again and again."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise ApprenticeError(
            f"Cannot listen on {address} ({error.strerror}): set APPRENTICE_HOST or APPRENTICE_PORT"
        ) from error


def _keep_running(child: Child, environment: dict[str, str]) -> None:
    """Starts a child that does not run. The pause before a restart doubles with each death in a row."""
    if child.process is not None:
        code = child.process.poll()
        if code is None:
            return
        child.deaths = 1 if time.monotonic() - child.started > STABLE_SECONDS else child.deaths + 1
        pause = 0.0 if child.deaths == 1 else min(0.25 * 2 ** min(child.deaths, 10), MAX_RESTART_PAUSE_SECONDS)
        child.not_before = time.monotonic() + pause
        log.error("process died", role=child.role, code=code, restart_in=pause)
        child.process = None
    if time.monotonic() >= child.not_before:
        child.process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "ml_backend.cli", child.role, "--parent", str(os.getpid())],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        child.started = time.monotonic()


def _stop_all(children: list[Child]) -> None:
    running = [child.process for child in children if child.process is not None and child.process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("process did not stop, killing it", pid=process.pid)
            process.kill()
            process.wait()


def stop_with_parent(stop: threading.Event, parent: int) -> None:
    """Sets `stop` when the parent process has ended, so that a killed supervisor leaves no orphans.

    Raises SystemExit if the parent has ended already, which can happen because starting takes seconds.
    """
    if os.getppid() != parent:
        raise SystemExit(1)

    def check_parent() -> None:
        while not stop.wait(1.0):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=check_parent, name="parent", daemon=True).start()
