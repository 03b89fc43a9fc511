"""`make demo`: runs Label Studio, the backend and real tasks on one machine, for a person or an automatic annotator."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings, as_environment
from ml_backend.demo.control import HeldOutEvaluator
from ml_backend.demo.llama import MODEL, LocalLlama
from ml_backend.demo.server import LocalLabelStudio, free_port
from ml_backend.demo.table import expert_scores, load_records
from ml_backend.demo.texts import DemoTask, load_questions
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import (
    create_project,
    find_project,
    import_tasks,
    next_task,
    submit_annotation,
)
from ml_backend.monitoring.status import read_status
from ml_backend.monitoring.text_sample import check_first_tasks
from ml_backend.rendering.project_text import question_and_text_sentences
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.storage.files import folder_lock

CONFIG_FILES = {"text": Path("label_config.xml"), "table": Path("label_config_table.xml")}
TABLE_CONTROL = "label"  # name of the control in the configuration of the table
PROJECT_TITLES = {"text": "Apprentice demo: questions", "table": "Apprentice demo: tumours"}
START_SECONDS = 120.0  # longest wait for the backend
FIRST_QUEUE_SECONDS = 600.0  # longest wait for the first queue
ROUND_SECONDS = 120.0  # longest wait of the automatic annotator for a round
FIRST_TEACHER_LABELS, TEACHER_SECONDS = 100, 300.0  # the automatic annotator waits for so many labels, at most so long
TABLE_ROWS = 12  # of the table that the automatic annotator prints; it has up to twice as many rows
TEACHERS = ("similarity", "smollm2")

out = Console(soft_wrap=True, emoji=False)


def run_demo(folder: Path, annotations: int, port: int, teacher: str, kind: str) -> None:
    """Starts Label Studio and the backend, and stops both at the end or at Ctrl-C.

    annotations  number of tasks to annotate automatically; 0 to leave them to a person
    teacher      `similarity`, or `smollm2` for a small language model on this machine, behind an endpoint
    kind         `text` or `table`: the kind of tasks

    Raises ApprenticeError for another teacher or kind, if another demo uses the folder, or if a part does not start.
    """
    if kind not in CONFIG_FILES:
        raise ApprenticeError(f"The demo has no kind {kind!r}: choose one of {', '.join(CONFIG_FILES)}")
    if teacher not in TEACHERS:
        raise ApprenticeError(f"The demo has no teacher {teacher!r}: choose one of {', '.join(TEACHERS)}")
    config_file = CONFIG_FILES[kind]
    if not config_file.is_file():
        raise ApprenticeError(f"The demo needs {config_file}: run `make demo` in the folder of Apprentice's source")
    label_config = config_file.read_text()
    with _locked(folder), ExitStack() as stack:
        try:
            with _progress("the tasks"):
                pool, held_out = load_questions(folder / "texts") if kind == "text" else load_records()
            label_studio = LocalLabelStudio(folder / "label-studio", port=_free_port(port))
            with _progress("Label Studio (its first start migrates a database, about a minute)"):
                stack.enter_context(label_studio)
            settings = _settings(folder / "apprentice", label_studio)
            if teacher == "smollm2":
                llama = LocalLlama(folder / "llama.log")
                with _progress("the teacher, SmolLM2 behind llama.cpp"):
                    stack.enter_context(llama)
                defaults = ProjectSettings(teacher="openai", teacher_model=MODEL, teacher_labels=200)
                settings = settings.model_copy(update={"teacher_url": llama.url, "defaults": defaults})
            store = Store(settings)
            stack.callback(store.close)
            with _progress("the backend"):
                stack.enter_context(backend_process(settings, folder / "apprentice.log"))
            client = LabelStudioClient(label_studio.url, label_studio.token)
            stack.callback(client.close)
            project = _find_or_create_project(client, PROJECT_TITLES[kind], label_config, pool)
            if (
                kind == "table"
                and teacher == registry.EMBEDDED_TEACHER
                and not store.projects.ensure(project).feature_scores
            ):
                store.feature_scores.put(project, TABLE_CONTROL, expert_scores())  # as if an expert had written them
            out.print("connecting the project:")
            schema = connect(client, store, settings, project, _print_indented)
            for sentence in question_and_text_sentences(schema, check_first_tasks(client, project, schema)):
                _print_indented(sentence)
            _wait_for_first_queue(store, project)
            if annotations:
                if teacher != registry.EMBEDDED_TEACHER:
                    _wait_for_teacher_labels(store, project)
                evaluator = HeldOutEvaluator(settings, store, project, pool, held_out)
                _annotate(client, store, project, evaluator, annotations)
                _print_status(store, project)
                return
            _print_instructions(label_studio, project, _environment_file(folder, settings), kind)
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


def _print_indented(sentence: str) -> None:
    out.print(f"  {sentence}", highlight=False)


def _find_or_create_project(client: LabelStudioClient, title: str, config: str, pool: list[DemoTask]) -> int:
    project = find_project(client, title)
    if project is not None:
        out.print(f"project {project} is there already")
        return project
    project = create_project(client, title, config)
    with _progress_bar(f"importing {len(pool)} tasks", len(pool)) as update:
        for n_imported in import_tasks(client, project, [task.data for task in pool]):
            update(n_imported)
    return project


def _wait_for_first_queue(store: Store, project: int) -> None:
    with _progress("the first ordered queue"):
        _wait(lambda: store.publications.is_complete(project), FIRST_QUEUE_SECONDS)


def _wait_for_teacher_labels(store: Store, project: int) -> None:
    """Waits for the teacher's first labels, at most `TEACHER_SECONDS`, because the automatic annotator is faster than a
    person, and would annotate most tasks before the teacher has labelled any."""

    def n_labels() -> int:
        name = (store.projects.ensure(project).teacher or {}).get("name", "")
        return store.questions.counts(project, name).get(("label", "answered"), 0)

    with (
        _progress(f"the teacher's first {FIRST_TEACHER_LABELS} labels, for {TEACHER_SECONDS:.0f} s at most"),
        suppress(ApprenticeError),
    ):
        _wait(lambda: n_labels() >= FIRST_TEACHER_LABELS, TEACHER_SECONDS)
    if (n := n_labels()) < FIRST_TEACHER_LABELS:
        out.print(f"  the teacher has given {n}; the others follow during the annotation", highlight=False)


def _annotate(
    client: LabelStudioClient,
    store: Store,
    project: int,
    evaluator: HeldOutEvaluator,
    n: int,
) -> None:
    """Annotates n tasks that Label Studio serves, each as soon as the served version counts the last annotation, and
    prints a table of the accuracy."""
    n_before = read_status(store, project).labelled  # by an earlier demo
    with _progress("encoding the held-out tasks and those of the random-order control"):
        evaluator.prepare(n_before + n)
    header = ("annotations", "active version", "held-out accuracy", "random order", "submit to queue (median s)")
    widths = [len(name) for name in header]
    widths[1] = 24
    out.print("  ".join(f"{name:>{width}}" for name, width in zip(header, widths, strict=True)), style="bold")
    schema = evaluator.schema
    waits: list[float] = []
    step = max(1, n // TABLE_ROWS)
    for n_labels in range(n_before + 1, n_before + n + 1):
        served = next_task(client, project, schema)
        if served is None:
            out.print("nothing is left to label")
            return
        submit_annotation(client, served.task, evaluator.control, [evaluator.true_label(served.text)])
        submitted = time.monotonic()
        _wait(lambda: _is_queue_of(store, project, n_labels), ROUND_SECONDS)  # noqa: B023
        waits.append(time.monotonic() - submitted)
        if n_labels % step == 0 or n_labels == n_before + n:
            active = store.versions.active(project)
            row = (
                str(n_labels), active.name if active else "", _percent(evaluator.active_accuracy()),
                _percent(evaluator.control_accuracy(n_labels)), f"{statistics.median(waits):.2f}",
            )  # fmt: skip
            out.print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)), highlight=False)
            waits.clear()


def _print_status(store: Store, project: int) -> None:
    """Prints the lines of `apprentice status`."""
    for name, sentence in status_lines(read_status(store, project)):
        out.print(f"  {name:<16}{sentence}", highlight=False, markup=False)


def _is_queue_of(store: Store, project: int, n_labels: int) -> bool:
    """Whether the served queue comes from a version with at least so many labels."""
    project_row, active = store.projects.get(project), store.versions.active(project)
    return bool(project_row and active and active.name == project_row.published and active.labelled >= n_labels)


def _environment_file(folder: Path, settings: Settings) -> Path:
    """Writes the settings of the demo's backend to a file for a shell (mode 0600)."""
    path = folder / "environment"
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})  # usable from any folder
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in as_environment(settings).items()))
    return path


def _print_instructions(label_studio: LocalLabelStudio, project: int, environment: Path, kind: str) -> None:
    prior_command = "features" if kind == "table" else "cues"
    out.print(
        f"\n[bold]{label_studio.url}/projects/{project}[/]\n"
        f"login [bold]{label_studio.username}[/]  password [bold]{label_studio.password}[/]\n"
        "Press “Label All Tasks” and annotate: each annotation trains the learner, and the next task is the one that "
        "it needs most. Ctrl-C stops everything.\n"
        "The Data Manager's tab “Apprentice queue” shows the next tasks. To see the state of the project, in another "
        f"terminal here:\n  set -a; . {environment}; .venv/bin/apprentice status\n"
        f"and likewise doctor, and with --project {project} versions, rollback and {prior_command}",
        highlight=False,
    )


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Waits until the condition holds. Raises ApprenticeError if it does not hold after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ApprenticeError("The backend did not publish a queue in time: `apprentice status` says why")
        time.sleep(0.01)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _free_port(port: int) -> int:
    """The port, or another free one if something listens on it."""
    with socket.socket() as probe:
        is_taken = probe.connect_ex(("127.0.0.1", port)) == 0
    return free_port() if is_taken else port


@contextmanager
def _progress(description: str) -> Iterator[None]:
    """Shows a spinner inside the `with` block, and prints the seconds that the block took."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        progress.add_task(description)
        begin = time.monotonic()
        yield
    out.print(f"{description}: {time.monotonic() - begin:.1f} s", highlight=False)


@contextmanager
def _progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar inside the `with` block; yields a function that takes the number of finished items."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=out) as progress:
        task = progress.add_task(description, total=total)

        def update(n_done: int) -> None:
            progress.update(task, completed=n_done)

        yield update
