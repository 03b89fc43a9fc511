"""`make demo`: runs Label Studio, the backend and real tasks on one machine, for a person or an automatic annotator."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings, as_environment
from ml_backend.demo.annotator import annotate, wait_until
from ml_backend.demo.held_out import HeldOutEvaluator
from ml_backend.demo.kinds import TABLE, DemoKind, demo_kind
from ml_backend.demo.llama import MODEL, REQUEST_TOKENS, LocalLlama
from ml_backend.demo.score_table import ScoreTable
from ml_backend.demo.server import LocalLabelStudio, free_port
from ml_backend.demo.table import CONTROL, expert_features
from ml_backend.demo.terminal import out, print_indented, progress_bar, spinner
from ml_backend.demo.texts import DemoTask
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import (
    create_project,
    find_project,
    import_tasks,
)
from ml_backend.monitoring.status import read_status
from ml_backend.monitoring.text_sample import check_first_tasks
from ml_backend.rendering.project_text import question_and_text_sentences
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.storage.files import folder_lock

START_SECONDS = 120.0  # longest wait for the backend
FIRST_QUEUE_SECONDS = 600.0  # longest wait for the first queue
FIRST_TEACHER_LABELS, TEACHER_SECONDS = 100, 300.0  # the automatic annotator waits for so many labels, at most so long
TEACHERS = ("similarity", "smollm2")


def run_demo(folder: Path, annotations: int, port: int, teacher: str, kind: str) -> None:
    """Starts Label Studio and the backend, and stops both at the end or at Ctrl-C.

    annotations  number of tasks to annotate automatically; 0 to leave them to a person
    teacher      `similarity`, or `smollm2` for a small language model on this machine, behind an endpoint
    kind         the kind of tasks, one of `DEMO_KINDS`

    Raises ApprenticeError for another teacher or kind, if another demo uses the folder, or if a part does not start.
    """
    demo = demo_kind(kind)
    if teacher not in TEACHERS:
        raise ApprenticeError(f"The demo has no teacher {teacher!r}: choose one of {', '.join(TEACHERS)}")
    label_config = demo.read_label_config()
    with _locked(folder), ExitStack() as stack:
        try:
            with spinner("the tasks"):
                pool, held_out = demo.load(folder / "texts")
            label_studio = LocalLabelStudio(folder / "label-studio", port=_free_port(port))
            with spinner("Label Studio (its first start migrates a database, about a minute)"):
                stack.enter_context(label_studio)
            settings = _settings(folder / "apprentice", label_studio)
            if teacher == "smollm2":
                llama = LocalLlama(folder / "llama.log")
                with spinner("the teacher, SmolLM2 behind llama.cpp"):
                    stack.enter_context(llama)
                defaults = ProjectSettings(
                    teacher="openai", teacher_model=MODEL, teacher_labels=200, teacher_context=REQUEST_TOKENS
                )
                settings = settings.model_copy(update={"teacher_url": llama.url, "defaults": defaults})
            store = Store(settings)
            stack.callback(store.close)
            with spinner("the backend"):
                stack.enter_context(backend_process(settings, folder / "apprentice.log"))
            client = LabelStudioClient(label_studio.url, label_studio.token)
            stack.callback(client.close)
            project = _find_or_create_project(client, demo.title, label_config, pool)
            if (
                kind == TABLE
                and teacher == registry.EMBEDDED_TEACHER
                and not store.projects.ensure(project).feature_scores
            ):
                features = expert_features()  # as if an expert had written them
                store.field_overrides.put(project, dict(features.fields))
                store.feature_scores.put(project, CONTROL, features.scores)
            out.print("connecting the project:")
            schema = connect(client, store, settings, project, print_indented)
            for sentence in question_and_text_sentences(schema, check_first_tasks(client, project, schema)):
                print_indented(sentence)
            _wait_for_first_queue(store, project)
            if annotations:
                if teacher != registry.EMBEDDED_TEACHER:
                    _wait_for_teacher_labels(store, project)
                evaluator = HeldOutEvaluator(settings, store, project, pool, held_out, demo.metrics)
                table = ScoreTable(store, project, evaluator, demo.metrics)
                annotate(client, store, project, evaluator, table, annotations)
                _print_status(store, project)
                return
            _print_instructions(label_studio, project, _environment_file(folder, settings), demo)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave a server running
            out.print("stopping Label Studio and the backend …")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the folder, since two demos must not share one database. Raises ApprenticeError if another demo has it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # Label Studio's database has keys that other users could read
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(folder))
        except BlockingIOError:
            raise ApprenticeError(
                f"A demo runs in {folder} already: stop it with Ctrl-C in its terminal, or run another one with "
                "`.venv/bin/apprentice demo --folder …`"
            ) from None
        yield


@contextmanager
def backend_process(settings: Settings, log: Path) -> Iterator[int]:
    """Runs `apprentice serve` as a child process and yields its process id once it is ready.

    Raises ApprenticeError if it ends or is not ready within `START_SECONDS`.
    """
    import httpx

    environment = {**os.environ, **as_environment(settings)}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_backend.cli", "serve"],
            env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{settings.address}/ready", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise ApprenticeError(f"The backend did not start: see {log}")
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _settings(data_dir: Path, label_studio: LocalLabelStudio) -> Settings:
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret_file = data_dir / "secret"
    if not secret_file.exists():
        secret_file.touch(mode=0o600)
        secret_file.write_text(secrets.token_urlsafe(24))
    return Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=SecretStr(label_studio.token),
        secret=SecretStr(secret_file.read_text()),
        data_dir=data_dir,
        port=_free_port(9090),
        log_level="info",
    )


def _find_or_create_project(client: LabelStudioClient, title: str, config: str, pool: list[DemoTask]) -> int:
    project = find_project(client, title)
    if project is not None:
        out.print(f"project {project} is there already")
        return project
    project = create_project(client, title, config)
    with progress_bar(f"importing {len(pool)} tasks", len(pool)) as update:
        for n_imported in import_tasks(client, project, [task.data for task in pool]):
            update(n_imported)
    return project


def _wait_for_first_queue(store: Store, project: int) -> None:
    with spinner("the first ordered queue"):
        wait_until(lambda: store.publications.is_complete(project), FIRST_QUEUE_SECONDS)


def _wait_for_teacher_labels(store: Store, project: int) -> None:
    """Waits for the teacher's first labels, at most `TEACHER_SECONDS`, because the automatic annotator is faster than a
    person, and would annotate most tasks before the teacher has labelled any."""

    def n_labels() -> int:
        name = (store.projects.ensure(project).teacher or {}).get("name", "")
        return store.questions.counts(project, name).get(("label", "answered"), 0)

    with (
        spinner(f"the teacher's first {FIRST_TEACHER_LABELS} labels, for {TEACHER_SECONDS:.0f} s at most"),
        suppress(ApprenticeError),
    ):
        wait_until(lambda: n_labels() >= FIRST_TEACHER_LABELS, TEACHER_SECONDS)
    if (n := n_labels()) < FIRST_TEACHER_LABELS:
        out.print(f"  the teacher has given {n}; the others follow during the annotation", highlight=False)


def _print_status(store: Store, project: int) -> None:
    """Prints the lines of `apprentice status`."""
    for name, sentence in status_lines(read_status(store, project)):
        out.print(f"  {name:<16}{sentence}", highlight=False, markup=False)


def _environment_file(folder: Path, settings: Settings) -> Path:
    """Writes the settings of the demo's backend to a file for a shell (mode 0600)."""
    path = folder / "environment"
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})  # usable from any folder
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in as_environment(settings).items()))
    return path


def _print_instructions(label_studio: LocalLabelStudio, project: int, environment: Path, kind: DemoKind) -> None:
    out.print(
        f"\n[bold]{label_studio.url}/projects/{project}[/]\n"
        f"login [bold]{label_studio.username}[/]  password [bold]{label_studio.password}[/]\n"
        "Press “Label All Tasks” and annotate: each annotation trains the learner, and the next task is the one that "
        "it needs most. Ctrl-C stops everything.\n"
        "The Data Manager's tab “Apprentice queue” shows the next tasks. To see the state of the project, in another "
        f"terminal here:\n  set -a; . {environment}; .venv/bin/apprentice status\n"
        f"and likewise doctor, and with --project {project} {kind.commands}",
        highlight=False,
    )


def _free_port(port: int) -> int:
    """The port, or another free one if something listens on it."""
    with socket.socket() as probe:
        is_taken = probe.connect_ex(("127.0.0.1", port)) == 0
    return free_port() if is_taken else port
