"""`make demo`: Label Studio, the backend and real texts on one machine; by hand, or with an automatic annotator."""

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
from ml_backend.demo.control import Examiner
from ml_backend.demo.llama import MODEL, LocalLlama
from ml_backend.demo.server import LocalLabelStudio, free_port
from ml_backend.demo.table import knowledge, records
from ml_backend.demo.texts import Question, questions
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import answer, create_project, find_project, import_tasks, next_task
from ml_backend.monitoring.status import lines, read_status
from ml_backend.monitoring.text_sample import question_and_text_sentences
from ml_backend.storage import Store
from ml_backend.storage.files import alone

CONFIG = {"text": Path("label_config.xml"), "table": Path("label_config_table.xml")}
TITLE = {"text": "Apprentice demo: questions", "table": "Apprentice demo: tumours"}
FIRST_QUEUE_SECONDS = 600.0
ROUND_SECONDS = 120.0
TAUGHT, TEACHER_SECONDS = 100, 300.0  # labels of the teacher before an annotator begins who never pauses
ROWS = 12  # lines of the headless table
TEACHERS = ("similarity", "smollm2")

out = Console(soft_wrap=True, emoji=False)


def run_demo(folder: Path, annotations: int, port: int, teacher: str, kind: str) -> None:
    """Starts everything; stops all of it at the end or at Ctrl-C. `annotations` > 0: label so many automatically.

    `teacher`: `similarity`, or `smollm2` for a small language model on this machine, behind an endpoint; `kind`: of
    what is labelled, `text` or `table`.
    """
    if kind not in CONFIG:
        raise ApprenticeError(f"The demo has no kind {kind!r}: take one of {', '.join(CONFIG)}")
    if teacher not in TEACHERS:
        raise ApprenticeError(f"The demo has no teacher {teacher!r}: take one of {', '.join(TEACHERS)}")
    if not CONFIG[kind].is_file():
        raise ApprenticeError(f"The demo needs {CONFIG[kind]}: run it in the project's own folder, with `make demo`")
    config = CONFIG[kind].read_text()
    with _alone(folder), ExitStack() as stack:
        try:
            with _progress("the tasks"):
                pool, held_out = questions(folder / "texts") if kind == "text" else records()
            label_studio = LocalLabelStudio(folder / "label-studio", port=_free(port))
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
                stack.enter_context(backend(settings, folder / "apprentice.log"))
            client = LabelStudioClient(label_studio.url, label_studio.token)
            stack.callback(client.close)
            project = _project(client, TITLE[kind], config, pool)
            if kind == "table" and teacher == registry.EMBEDDED and store.projects.ensure(project).features is None:
                store.feature_scores.put(project, knowledge())  # what an expert would write: --edit
            out.print("connecting the project:")
            schema = connect(client, store, settings, project, _say)
            for sentence in question_and_text_sentences(client, project, schema):
                _say(sentence)
            _first_queue(store, project)
            if annotations:
                if teacher != registry.EMBEDDED:
                    _first_labels(store, project)
                _annotate(client, store, settings, project, pool, held_out, annotations)
                _tell(store, project)
                return
            _invite(label_studio, project, _environment_file(folder, settings), kind)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
            out.print("stopping Label Studio and the backend …")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder. Raises ApprenticeError if another demo does: two would share one database."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # Label Studio keeps keys in its database, which others could read
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(folder))
        except BlockingIOError:
            raise ApprenticeError(
                f"A demo runs in {folder} already: stop it with Ctrl-C in its terminal, or run another one with "
                "`.venv/bin/apprentice demo --folder …`"
            ) from None
        yield


@contextmanager
def backend(settings: Settings, log: Path) -> Iterator[int]:
    """`apprentice serve` as a child process, ready to answer; yields its process id. Raises ApprenticeError."""
    import httpx

    environment = {**os.environ, **as_environment(settings)}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_backend.cli", "serve"],
            env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
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
    kept = data_dir / "secret"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(24))
    return Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=SecretStr(label_studio.token),
        secret=SecretStr(kept.read_text()),
        data_dir=data_dir,
        port=_free(9090),
        log_level="info",
    )


def _say(sentence: str) -> None:
    out.print(f"  {sentence}", highlight=False)


def _project(client: LabelStudioClient, title: str, config: str, pool: list[Question]) -> int:
    project = find_project(client, title)
    if project is not None:
        out.print(f"project {project} is there already")
        return project
    project = create_project(client, title, config)
    with _bar(f"importing {len(pool)} tasks", len(pool)) as advance:
        for done in import_tasks(client, project, [each.data for each in pool]):
            advance(done)
    return project


def _first_queue(store: Store, project: int) -> None:
    with _progress("the first ordered queue"):
        _wait(lambda: bool((record := store.projects.get(project)) and record.fingerprint), FIRST_QUEUE_SECONDS)


def _first_labels(store: Store, project: int) -> None:
    """A person would read while the teacher works; what it has not done after `TEACHER_SECONDS`, it does later."""
    teacher = (store.projects.ensure(project).teacher or {}).get("name", "")

    def labelled() -> int:
        name = teacher or (store.projects.ensure(project).teacher or {}).get("name", "")
        return store.questions.counts(project, name).get(("label", "answered"), 0)

    with (
        _progress(f"the teacher's first {TAUGHT} labels, for {TEACHER_SECONDS:.0f} s at most"),
        suppress(ApprenticeError),
    ):
        _wait(lambda: labelled() >= TAUGHT, TEACHER_SECONDS)
    if (n := labelled()) < TAUGHT:
        out.print(f"  there are {n}; the others come while you work", highlight=False)


def _annotate(
    client: LabelStudioClient, store: Store, settings: Settings, project: int, pool: list[Question],
    held_out: list[Question], n: int,
) -> None:  # fmt: skip
    """Answers what Label Studio serves, as fast as the queue follows, and prints how the learner grows."""
    record = store.projects.ensure(project)
    schema = read_schema(record.label_config, record.choices)
    known = {question.text: question.label for question in pool}
    there = read_status(store, project).labelled  # of an earlier demo
    examiner = Examiner(settings, store, project, schema, pool, held_out)
    with _progress("encoding the held-out tasks and the random-order control's"):
        examiner.prepare(there + n)
    header = ("annotations", "active version", "held-out accuracy", "random order", "submit to queue (median s)")
    widths = [len(name) for name in header]
    widths[1] = 24
    out.print("  ".join(f"{name:>{width}}" for name, width in zip(header, widths, strict=True)), style="bold")
    waits: list[float] = []
    step = max(1, n // ROWS)
    for done in range(there + 1, there + n + 1):
        served = next_task(client, project, schema)
        if served is None:
            out.print("nothing is left to label")
            return
        answer(client, served.task, schema, [known[served.text]])
        submitted = time.monotonic()
        _wait(lambda: _follows(store, project, done), ROUND_SECONDS)  # noqa: B023
        waits.append(time.monotonic() - submitted)
        if done % step == 0 or done == there + n:
            active = store.versions.active(project)
            row = (
                str(done), active.name if active else "", _percent(examiner.active()),
                _percent(examiner.random_order(done)), f"{statistics.median(waits):.2f}",
            )  # fmt: skip
            out.print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)), highlight=False)
            waits.clear()


def _tell(store: Store, project: int) -> None:
    """What `apprentice status` says at the end."""
    for name, text in lines(read_status(store, project)):
        out.print(f"  {name:<16}{text}", highlight=False, markup=False)


def _follows(store: Store, project: int, labels: int) -> bool:
    """Whether the served queue comes from a version that knows so many labels."""
    record, active = store.projects.get(project), store.versions.active(project)
    return bool(record and active and active.name == record.published and active.labelled >= labels)


def _environment_file(folder: Path, settings: Settings) -> Path:
    """The settings of the demo's backend, to be read by a shell; for the user's eyes alone."""
    path = folder / "environment"
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})  # from any folder
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in as_environment(settings).items()))
    return path


def _invite(label_studio: LocalLabelStudio, project: int, environment: Path, kind: str) -> None:
    more = "features" if kind == "table" else "cues"  # what is known before any answer
    out.print(
        f"\n[bold]{label_studio.url}/projects/{project}[/]\n"
        f"login [bold]{label_studio.username}[/]  password [bold]{label_studio.password}[/]\n"
        "Press “Label All Tasks” and answer: each answer trains the learner, and the next question is the one that it "
        "needs most. Ctrl-C stops everything.\n"
        "The Data Manager's tab “Apprentice queue” shows what comes next. To look behind the scenes, in another "
        f"terminal here:\n  set -a; . {environment}; .venv/bin/apprentice status\n"
        f"and likewise doctor, and with --project {project} versions, rollback and {more}",
        highlight=False,
    )


def _wait(met: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            raise ApprenticeError("The backend did not publish a queue in time: `apprentice status` says why")
        time.sleep(0.01)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _free(port: int) -> int:
    """The port, or another free one if something listens there."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    return free_port() if taken else port


@contextmanager
def _progress(what: str) -> Iterator[None]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        progress.add_task(what)
        begin = time.monotonic()
        yield
    out.print(f"{what}: {time.monotonic() - begin:.1f} s", highlight=False)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=out) as progress:
        number = progress.add_task(what, total=total)

        def advance(done: int) -> None:
            progress.update(number, completed=done)

        yield advance
