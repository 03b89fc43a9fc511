"""A private Label Studio Community server on loopback, for the demo and the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.demo import accounts
from ml_backend.demo.accounts import Account

_HOST = "127.0.0.1"
_DATABASE = "label_studio.sqlite3"
_CREDENTIALS = "credentials.json"
_LOG = "label-studio.log"
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
_OPTIONS = {
    "ML_BLOCK_LOCAL_IP": "false",  # both are needed: else Label Studio does not call a webhook on loopback
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "False",
    "LATEST_VERSION_CHECK": "False",
    "PYTHONUNBUFFERED": "1",
}
USERNAME = "admin@example.com"  # of the administrator


class LocalLabelStudio:
    """Label Studio as a child process, which runs inside the `with` block or from `start` to `stop`.

    data_dir     the folder of the database, the credentials (mode 0600) and the log; created if it does not exist
    environment  the virtual environment with Label Studio; default: the nearest `.venv-label-studio` upwards
    port         default: a free one, chosen once, so that a restarted server has the same url
    template     the data directory of a stopped server, copied (with its users) if `data_dir` is empty: a first start
                 migrates the database for most of a minute, and a copy starts in seconds
    extra_env    more environment variables, for example feature flags; those of the caller are not inherited
    deadline     seconds until the server must answer; else starting raises ApprenticeError
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        environment: Path | None = None,
        port: int | None = None,
        template: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        deadline: float = 180.0,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / _LOG
        self.port = port or free_port()
        self.url = f"http://{_HOST}:{self.port}"
        self._program = (environment or _default_environment()).absolute() / "bin" / "label-studio"
        self._extra_env = dict(extra_env or {})
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._prepare(template)
        self.account = accounts.load_or_make(self.data_dir / _CREDENTIALS, USERNAME)
        self.username, self.password, self.token = self.account.username, self.account.password, self.account.token

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts the server, unless it runs, and waits until it answers.

        Raises ApprenticeError if its port is in use, or if it does not answer in time.
        """
        if self.pid is not None:
            return
        with socket.socket() as probe:
            probe.settimeout(5)
            if probe.connect_ex((_HOST, self.port)) == 0:  # Label Studio would silently move to the next port
                raise ApprenticeError(f"Port {self.port} is in use: stop what listens there or choose another port.")
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        label_studio_env = {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.data_dir),
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
        }
        command = [str(self._program), "start", "--no-browser", "--internal-host", _HOST, "--port", str(self.port)]
        with self.log.open("ab") as log:
            log_start = log.tell()
            self._process = subprocess.Popen(
                [*command, "--enable-legacy-api-token"],
                env=inherited | _OPTIONS | self._extra_env | label_studio_env,
                cwd=self.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(log_start)
        except BaseException:
            self.stop(grace=2.0)
            raise

    def stop(self, grace: float = 10.0) -> None:
        """Ends the server and its children by SIGTERM, and by SIGKILL after `grace` seconds. Data and port are kept."""
        if self._process is None:
            return
        for signal_number, timeout in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            if self._process.poll() is None:  # not yet reaped, so that no other process group can have its id
                os.killpg(self._process.pid, signal_number)
                try:
                    self._process.wait(timeout)
                except subprocess.TimeoutExpired:
                    continue
        self._process = None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Stops the server inside the `with` block and starts it again after it, with the same port and data."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def personal_access_token(self, account: Account | None = None) -> str:
        """Creates a personal access token of this user (default: the administrator)."""
        return accounts.personal_access_token(self.url, account or self.account)

    def create_user(self, username: str) -> Account:
        """Creates one more annotator with this e-mail address, whose top-level domain must exist."""
        return accounts.sign_up(self.url, username)

    def _prepare(self, template: Path | None) -> None:
        if not self._program.is_file():
            raise ApprenticeError(f"Label Studio is not installed: {self._program} is missing; pip install it there.")
        if template is not None and not (self.data_dir.is_dir() and any(self.data_dir.iterdir())):
            if not all((template / name).is_file() for name in (_DATABASE, _CREDENTIALS)):
                raise ApprenticeError(f"No template in {template}: start and stop a server with that data_dir first.")
            shutil.copytree(template, self.data_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_LOG))
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if (self.data_dir / _DATABASE).exists() and not (self.data_dir / _CREDENTIALS).exists():
            raise ApprenticeError(f"{self.data_dir} has a database but not its {_CREDENTIALS}: use a new folder.")

    def _wait_until_ready(self, log_start: int) -> None:
        """Waits until /health answers, and checks by the token that this server is the one on the port.

        Raises ApprenticeError if the server ends, moves to another port, or does not answer in time.
        """
        deadline = time.monotonic() + self._deadline
        with httpx.Client(base_url=self.url, timeout=10.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                if self.pid is None:
                    raise self._failure("ended while starting")
                if "Trying to start at" in self._log_text(log_start):
                    raise self._failure(f"found port {self.port} busy and moved to another")
                try:
                    if client.get("/health").is_success:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            else:
                raise self._failure(f"did not answer on {self.url}/health within {self._deadline:g} s")
            reply = client.get("/api/current-user/whoami", headers={"Authorization": f"Token {self.token}"})
            if not reply.is_success or reply.json()["email"] != self.username:
                raise self._failure(
                    f"on {self.url} is another one: it refused the token of this one ({reply.status_code})"
                )

    def _log_text(self, start: int = 0) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def _failure(self, problem: str) -> ApprenticeError:
        tail = "\n".join(self._log_text().splitlines()[-10:])
        return ApprenticeError(f"Label Studio {problem}. Its log is {self.log} and ends:\n{tail}")


def free_port() -> int:
    """A port of loopback on which nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _default_environment() -> Path:
    name = ".venv-label-studio"
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / name).is_dir():
            return folder / name
    raise ApprenticeError(f"No {name} here or above: make it with `python -m venv {name}` and install label-studio.")
