"""A project in a real Label Studio, and a running backend, for the end-to-end tests."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas import as_choices, chosen

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings, as_environment
from ml_backend.core.types import ModelVersion, read_record
from ml_backend.demo.run import backend_process as run_backend
from ml_backend.demo.server import LocalLabelStudio, free_port
from ml_backend.kinds.choices.values import write_region_value
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import ServedTask, create_project, next_task, skip_task, submit_annotation
from ml_backend.monitoring.status import Status, read_status
from ml_backend.storage import Store

WAIT_SECONDS = 150.0  # the machine may be busy


def label_config(labels: Sequence[str], *, multiple: bool = False) -> str:
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    kind = "multiple" if multiple else "single"
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="topic" toName="text" choice="{kind}">{choices}</Choices></View>'
    )


def until(met: Callable[[], Any], expectation: str, seconds: float = WAIT_SECONDS) -> Any:
    """Waits until `met` returns a true value, and returns the value. The failure message contains `expectation`."""
    deadline = time.monotonic() + seconds
    while True:
        if result := met():
            return result
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {expectation}"
        time.sleep(0.05)


@dataclass
class Project:
    """One project in Label Studio. `truth` has the right label of each text."""

    client: LabelStudioClient
    number: int
    schema: ProjectSchema
    truth: dict[str, str]

    @classmethod
    def create(
        cls, client: LabelStudioClient, title: str, config: str, truth: dict[str, str], settings: dict[str, Any]
    ) -> Project:
        project = cls(client, create_project(client, title, config), read_schema(config), truth)
        if settings:
            client.change_project(project.number, **settings)
        project.add(truth)
        return project

    def add(self, truth: dict[str, str], *, annotated: bool = False) -> None:
        """Imports texts, or records written as text. `annotated`: with annotations of the right labels."""
        self.truth.update(truth)
        field = self.schema.input.record_field
        data = [{field: read_record(text)} if field else {self.schema.input.text_field: text} for text in truth]
        tasks: list[dict[str, Any]] = [{"data": task_data} for task_data in data]
        if annotated:
            for task, label in zip(tasks, truth.values(), strict=True):
                task["annotations"] = [{"result": [self.region(label)]}]
        self.client.call("POST", f"api/projects/{self.number}/import", body=tasks, timeout=120)

    def region(self, *choices: str) -> dict[str, Any]:
        return {
            "from_name": self.schema.controls[0].name,
            "to_name": self.schema.controls[0].source,
            **write_region_value(choices, as_choices(self.schema.controls[0])),
        }

    def seen(self) -> dict[str, Any]:
        """Returns the project as Label Studio's API shows it."""
        return self.client.project(self.number)

    def tasks(self) -> list[dict[str, Any]]:
        return [task for page in self.client.task_pages(self.number, fields="task_only") for task in page]

    def predictions(self, version: str | None) -> list[dict[str, Any]]:
        """Returns the rows of one version in Label Studio, in the order of the queue."""
        rows = self.client.call("GET", "api/predictions/", params={"project": self.number})
        return sorted((row for row in rows if row["model_version"] == version), key=lambda row: float(row["score"]))

    def webhooks(self) -> list[dict[str, Any]]:
        return list(self.client.call("GET", "api/webhooks/", params={"project": self.number}))

    def ml_backends(self) -> list[dict[str, Any]]:
        return list(self.client.call("GET", "api/ml", params={"project": self.number}))

    def tabs(self) -> list[dict[str, Any]]:
        return list(self.client.call("GET", "api/dm/views/", params={"project": self.number}))

    def next(self, client: LabelStudioClient | None = None) -> ServedTask | None:
        return next_task(client or self.client, self.number, self.schema)

    def answer(self, task: int, *choices: str, client: LabelStudioClient | None = None) -> int:
        return submit_annotation(client or self.client, task, self.schema.controls[0], choices)

    def answer_rightly(self, served: ServedTask, client: LabelStudioClient | None = None) -> int:
        return self.answer(served.task, self.truth[served.text], client=client)

    def answer_next(self, n: int) -> list[int]:
        """Submits the right labels of the next n served tasks. Returns the ids of the annotations."""
        annotation_ids = []
        for _ in range(n):
            served = self.next()
            assert served is not None, "nothing is served"
            annotation_ids.append(self.answer_rightly(served))
        return annotation_ids

    def skip(self, task: int, client: LabelStudioClient | None = None) -> int:
        return skip_task(client or self.client, task)


@dataclass
class Backend:
    """A running `apprentice serve`, with its store."""

    settings: Settings
    log: Path
    store: Store
    client: LabelStudioClient
    pid: int = 0
    connected: list[int] = field(default_factory=list)

    @property
    def secret(self) -> str:
        return self.settings.secret.get_secret_value()

    def connect(self, project: Project) -> None:
        self.connected.append(project.number)
        connect(self.client, self.store, self.settings, project.number, lambda _: None)

    def cli(self, *arguments: str, **overrides: str) -> subprocess.CompletedProcess[str]:
        """Runs `apprentice` with this backend's settings. `overrides` are settings by their names."""
        return subprocess.run(
            [sys.executable, "-m", "ml_backend.cli", *arguments],
            env={**os.environ, **as_environment(self.settings)}
            | {"COLUMNS": "200"}
            | {f"APPRENTICE_{name.upper()}": text for name, text in overrides.items()},
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    def status(self, project: Project) -> Status:
        return read_status(self.store, project.number)

    def printed_status(self, project: Project) -> dict[str, Any]:
        """Returns the output of `apprentice status --json`."""
        done = self.cli("status", "--project", str(project.number), "--json")
        assert done.returncode == 0, done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def active(self, project: Project) -> ModelVersion:
        version = self.store.versions.active(project.number)
        assert version is not None, "no version is active"
        return version

    def published(self, project: Project) -> str | None:
        project_row = self.store.projects.get(project.number)
        return project_row.published if project_row else None

    def follows(self, project: Project, labelled: int = 0) -> ModelVersion | None:
        """Returns the served version if it was fitted on at least `labelled` tasks and no round runs or waits."""
        project_row = self.store.projects.get(project.number)
        version, job = self.store.versions.active(project.number), self.store.jobs.state(project.number)
        done = project_row and project_row.fingerprint and version and version.name == project_row.published
        return (
            version if version and done and version.labelled >= labelled and not (job.running or job.waiting) else None
        )

    def wait_for_queue(self, project: Project, labelled: int = 0, seconds: float = WAIT_SECONDS) -> ModelVersion:
        """Waits until a version with at least `labelled` tasks is served, and returns the version."""
        try:
            version: ModelVersion = until(
                lambda: self.follows(project, labelled), f"a queue from {labelled} labelled tasks", seconds
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._describe(project)}") from None
        return version

    def _describe(self, project: Project) -> str:
        try:
            status = str(self.status(project))
        except ApprenticeError as error:
            status = str(error)
        return status + "\n" + "\n".join(self.log.read_text().splitlines()[-15:])

    def processes(self, role: str) -> list[int]:
        """Returns the ids of the running child processes of `apprentice serve` with this role: web or worker."""
        process_ids = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                after_name = stat.read_text().rpartition(")")[2].split()
                command = (stat.parent / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if after_name[0] != "Z" and int(after_name[1]) == self.pid and role.encode() in command:
                process_ids.append(int(stat.parent.name))
        return process_ids

    def kill(self, role: str) -> int:
        """Kills the process with this role. Returns its id."""
        (process,) = until(lambda: self.processes(role), f"a {role} process to kill")
        os.kill(process, signal.SIGKILL)
        return int(process)

    def restart(self, role: str) -> None:
        """Kills the process with this role and waits for its successor."""
        killed = self.kill(role)
        until(lambda: (running := self.processes(role)) and killed not in running, f"another {role} process")

    @contextmanager
    def held_queue(self, project: Project, labelled: int = 0) -> Iterator[ModelVersion]:
        """Yields the version that serves a queue from at least `labelled` tasks, and stops the worker inside the block.

        Without the stop, a new prior or newly encoded tasks could lead to another version.
        """
        versions: list[ModelVersion] = []

        def hold() -> bool:
            version = self.wait_for_queue(project, labelled)
            (worker,) = until(lambda: self.processes("worker"), "a worker")
            if not self._stop_outside_transactions(worker):
                return False
            if self.follows(project, labelled) == version:
                versions.append(version)
                return True
            os.kill(worker, signal.SIGCONT)
            return False

        until(hold, "a moment without a new queue")
        try:
            yield versions[-1]
        finally:
            for worker in self.processes("worker"):
                os.kill(worker, signal.SIGCONT)

    def change_config(self, project: Project, config: str) -> ModelVersion:
        """Saves a labelling configuration of a connected project, and returns the version that served until then.

        No round runs meanwhile: a switch of the model version could write the earlier configuration again (see
        `LabelStudioClient.change_project`).
        """
        with self.held_queue(project) as version:
            project.client.change_project(project.number, label_config=config)
        project.schema = read_schema(config)
        return version

    @contextmanager
    def worker_held_in_a_round(self, project: Project) -> Iterator[None]:
        """Submits annotations until a round runs, and stops the worker in that round inside the block."""
        (worker,) = self.processes("worker")

        def catch() -> bool:
            project.answer_next(1)

            def running() -> bool:
                return self.store.jobs.state(project.number).running

            until(running, "a round", seconds=30)
            if self._stop_outside_transactions(worker):
                if running():
                    return True
                os.kill(worker, signal.SIGCONT)
            return False

        until(catch, "a moment to stop the worker in")
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)

    def _stop_outside_transactions(self, process: int) -> bool:
        """Stops a process unless it is in a write transaction, which would block all other processes."""
        os.kill(process, signal.SIGSTOP)
        if self._writable():
            return True
        os.kill(process, signal.SIGCONT)
        return False

    def _writable(self) -> bool:
        with closing(self.database(timeout=1)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
            except sqlite3.OperationalError:
                return False
        return True

    def database(self, timeout: float = 20) -> sqlite3.Connection:
        """Opens the store's SQLite file directly."""
        return sqlite3.connect(self.settings.data_dir / "apprentice.db", timeout=timeout)

    def active_versions(self, project: Project) -> list[str]:
        """Returns the names of all versions that are marked as active. A consistent store has one."""
        with closing(self.database()) as database:
            query = "SELECT name FROM version WHERE project = ? AND active"
            return [name for (name,) in database.execute(query, (project.number,))]

    def check_consistency(self, project: Project, labels: dict[int, str]) -> None:
        """Asserts that each annotation is stored once, and that Label Studio serves the one active version."""
        stored = {annotation.id: chosen(annotation) for annotation in self.store.annotations.of(project.number)}
        assert stored == {number: (label,) for number, label in labels.items()}
        assert self.active_versions(project) == [self.published(project)]
        assert project.seen()["model_version"] == self.published(project)
        artifacts = [
            self.store.versions.artifact(project.number, learner)
            for learner in self.store.versions.learners(project.number)
        ]
        for name, digest in filter(None, artifacts):
            self.store.artifacts.read(name, digest)

    def leaked(self, texts: Sequence[str]) -> list[str]:
        """Returns the keys, secrets and texts of tasks that are in the log although they must not be."""
        from base64 import b64encode

        log = self.log.read_text(errors="replace")
        key = self.settings.label_studio_api_key.get_secret_value()
        basic = b64encode(f"apprentice:{self.secret}".encode()).decode()
        return [text for text in (key, self.secret, basic, *texts) if text and text in log]


@contextmanager
def running_backend(server: LocalLabelStudio, folder: Path, **overrides: Any) -> Iterator[Backend]:
    """Runs a backend in this folder, with its own port and secret, and stops it after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "label_studio_url": server.url,
        "label_studio_api_key": server.token,
        "secret": random.Random(str(folder)).randbytes(16).hex(),
        "host": "127.0.0.1",
        "port": free_port(),
        "public_url": "",
        "store_url": "",
        "data_dir": folder / "data",
        "workers": 1,
        "reconcile_seconds": 2,
        "lease_seconds": 3,
        "timeout_seconds": 20,
        "log_level": "debug",
    }
    settings = Settings(**(values | overrides))
    client, store = LabelStudioClient(server.url, server.token, timeout=60), Store(settings)
    try:
        with run_backend(settings, folder / "backend.log") as pid:
            yield Backend(settings, folder / "backend.log", store, client, pid)
    finally:
        store.close()
        client.close()
