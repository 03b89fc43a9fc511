"""`make bench-growth`: the cost of an annotation, a /predict, a scrape and a status by the number of annotations.

    python -m benchmarks.growth [--sizes 1000 10000 100000] [--databases sqlite postgresql] [--save]

The annotations and the vectors are made up, the pool has the same tasks at each size, and a stand-in for Label Studio
replies at once from memory, so that the figures are our own cost. Each case runs in a process of its own. CPU seconds
are those of the process, the median of `REPEATS` runs. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import platform
import queue
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import sqlalchemy as sa
from pydantic import SecretStr

from benchmarks.label_studio_stand_in import PROJECT, LabelStudioStandIn
from ml_backend.core import registry
from ml_backend.core.logs import set_up_logs
from ml_backend.core.settings import Settings, load_settings
from ml_backend.core.teacher_types import Answer, Call
from ml_backend.core.types import ModelVersion, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.monitoring.status import read_status
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.web.app import create_app
from ml_backend.worker.worker import Worker

SIZES = (1_000, 10_000, 100_000)
POOL = 110_000  # tasks, the same at each size
REPLIES = 2_000  # teacher labels
VERSIONS = 30_000
VECTORS, SHARD = 1_000_000, 1024
REPEATS = 7
IDLE_SECONDS = 5.0
SETTLE_SECONDS = 15.0  # for the work beside the rounds, and the rounds that it requests
REST_SECONDS = 40.0  # after a start, for the monitor's first run and the round that follows it
SETTLING_ROUNDS = 19
"""Rounds after which most tasks have been candidates once. Caches of a candidate are filled when it is first drawn."""
TEACHER = {"teacher": "batch", "teacher_model": "made-up"}


@dataclass(frozen=True)
class Cost:
    """The cost of one operation: CPU seconds of this process, SQL statements, additional MiB of memory."""

    seconds: float
    statements: int
    memory: float

    def __str__(self) -> str:
        return f"{self.seconds * 1e3:,.1f} ms, {self.statements} statements, {self.memory:,.0f} MiB"


@dataclass
class Meter:
    """Counts the SQL statements of this process."""

    statements: int = 0

    def __post_init__(self) -> None:
        @sa.event.listens_for(sa.Engine, "before_cursor_execute")
        def count(*_: object) -> None:
            self.statements += 1

    def cost(self, operation: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> Cost:
        """Returns the median of `REPEATS` runs after one warm-up run. `prepare` is not measured."""
        seconds, statements, memory = [], [], []
        for _ in range(REPEATS + 1):
            prepare()
            statements_before, begun, resident = self.statements, time.process_time(), _reset_peak()
            operation()
            seconds.append(time.process_time() - begun)
            statements.append(self.statements - statements_before)
            memory.append(_peak() - resident)
        return Cost(
            statistics.median(seconds[1:]), int(statistics.median(statements[1:])), statistics.median(memory[1:])
        )


def _reset_peak() -> float:
    """Resets the peak that `_peak` reads. Returns the memory in use, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return float(psutil.Process().memory_info().rss) / 2**20


def _peak() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


class MadeUpProject:
    """A project with `POOL` tasks with vectors, `size` of them annotated, in its own store."""

    def __init__(self, settings: Settings, size: int) -> None:
        self.settings = settings
        self.label_studio = LabelStudioStandIn(POOL)
        self._random = np.random.default_rng(0)
        self.label_studio.annotate(range(1, size + 1))
        self.worker = self.new_worker(threading.Event())
        self.store = Store(settings)
        self._store_vectors()
        self.label_studio.connect(self.store)
        self.round()

    def _store_vectors(self) -> None:
        """Stores made-up vectors: one cluster per label, so that a learner can separate the labels."""
        encoder = registry.encoder(self.settings.encoder)
        vectors = self.store.vectors(PROJECT, encoder.name)
        centres = self._random.normal(size=(len(self.label_studio.labels), encoder.dim))
        for start in range(1, POOL + 1, 20_000):
            tasks = range(start, min(start + 20_000, POOL + 1))
            label_numbers = [self.label_studio.label_number(task) for task in tasks]
            values = centres[label_numbers] + 1.5 * self._random.normal(size=(len(tasks), encoder.dim))
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            vectors.add([content_key(self.label_studio.text(task)) for task in tasks], values.astype(np.float32))

    def new_worker(self, stop: threading.Event) -> Worker:
        """A worker with a store of its own."""
        return Worker(self.settings, Store(self.settings), stop, make_client=lambda *_: self.label_studio.client())

    def round(self) -> None:
        """Runs the requested rounds."""
        while self.store.jobs.claimable():
            self.worker.step()
        if error := self.store.versions.last_rounds(PROJECT)[0].error:
            raise SystemExit(error)

    def annotate_one(self) -> None:
        """Stores the webhook's event of one more annotation."""
        store_event(self.store, read_event(self.label_studio.annotate_one()))

    def add_teacher(self) -> None:
        """Sets a `batch` teacher that has labelled the first tasks."""
        self.label_studio.set_extra_params(self.store, TEACHER)
        schema = read_schema(self.label_studio.label_config)
        options, _ = self.settings.for_project(TEACHER)
        teacher = registry.teacher(options.teacher, self.settings.teacher_options(options))
        assert teacher is not None
        for start in range(0, REPLIES, 500):
            tasks = range(start + 1, start + 501)
            keys = {task: content_key(self.label_studio.text(task)) for task in tasks}
            questions = {
                task: prompts.label_question(
                    prompts.LabelPrompt([schema.controls[0]]), key, self.label_studio.text(task), teacher.name
                )
                for task, key in keys.items()
            }
            self.store.questions.add(PROJECT, teacher.name, [(questions[task], keys[task]) for task in tasks])
            for task in tasks:
                shares = np.full(len(schema.controls[0].labels), 0.02, np.float32)
                shares[self.label_studio.label_number(task)] = 0.9
                call = Call("made-up", 0.5, 200, 10, "answered")
                content = {"label": self.label_studio.label(task)}
                answer = Answer(questions[task].id, content, {"label": shares}, (call,))
                self.store.questions.store_answer(PROJECT, answer, [0.0])
        self.settle()

    def settle(self) -> None:
        """Steps the worker for SETTLE_SECONDS, and runs the rounds that are still requested then."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self.worker.step()
        self.round()

    def predict_body(self, task: int) -> dict[str, Any]:
        data = {"id": task, "data": {"text": self.label_studio.text(task)}}
        return {"project": f"{PROJECT}.1", "label_config": self.label_studio.label_config, "tasks": [data]}

    def add_versions(self, count: int) -> None:
        """Stores as many versions as months of rounds do."""
        number = self.store.versions.next_number(PROJECT)
        for n in range(number, number + count):
            version = ModelVersion(PROJECT, n, f"made-up-{n}", None, 0, {}, self.store.clock.now())
            self.store.versions.add(version, None, rows=0)


def measure(database: str, url: str, size: int, rows: Any) -> None:
    """Measures all figures of one size, and puts them into the queue `rows` as (name, database, size, cost)."""
    set_up_logs("warning")
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            data_dir=Path(folder), store_url=url, label_studio_api_key=SecretStr("none"), reconcile_seconds=86_400.0,
        )  # fmt: skip
        project = MadeUpProject(settings, size)
        annotate_one = project.annotate_one
        web = create_app(settings, project.store).test_client()

        def row(name: str, cost: object) -> None:
            rows.put((name, database, size, str(cost)))

        def predict(task: int) -> None:
            if web.post("/predict", json=project.predict_body(task)).status_code != 200:
                raise SystemExit("/predict failed")

        def add_figures(when: str) -> None:
            row(f"round after one more annotation{when}", meter.cost(project.round, annotate_one))
            stages = project.store.versions.last_rounds(PROJECT)[0].stages
            row(f"  of that, wall{when}", ", ".join(f"{name} {seconds:.3f}" for name, seconds in stages.items()))
            row(f"/predict{when}", meter.cost(lambda: predict(POOL - 1)))
            row(f"/predict of a text that the teacher has labelled{when}", meter.cost(lambda: predict(7)))
            row(f"scrape of /metrics{when}", meter.cost(lambda: web.get("/metrics")))
            row(f"status{when}", meter.cost(lambda: read_status(project.store, PROJECT)))

        row("round after one more annotation, the first ones after a start", meter.cost(project.round, annotate_one))
        for _ in range(SETTLING_ROUNDS):
            annotate_one()
            project.round()
        add_figures(", without a teacher")
        project.add_teacher()
        add_figures(", with a teacher")
        row("/predict, wall p95 of 100", f"{_p95(lambda: predict(7)) * 1e3:.1f} ms")
        row("idle worker, queries a second", f"{_idle(project, meter):.1f}")
        if size == SIZES[0]:
            project.add_versions(VERSIONS)
            add_figures(f", with {VERSIONS:,} versions")
        project.store.close()


def _p95(operation: Callable[[], object]) -> float:
    seconds = []
    for _ in range(100):
        begun = time.perf_counter()
        operation()
        seconds.append(time.perf_counter() - begun)
    return sorted(seconds)[94]


def _idle(project: MadeUpProject, meter: Meter) -> float:
    """Returns the SQL statements per second of an idle worker."""
    stop = threading.Event()
    worker = project.new_worker(stop)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    time.sleep(REST_SECONDS)
    statements_before = meter.statements
    time.sleep(IDLE_SECONDS)
    idle = (meter.statements - statements_before) / IDLE_SECONDS
    stop.set()
    thread.join()
    return idle


def measure_vectors(rows: Any) -> None:
    """Measures writing a million vectors in shards, as the encoder does, and finding them."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        vectors = Store(load_settings(data_dir=Path(folder))).vectors(PROJECT, "made-up")
        block = random.normal(size=(SHARD, 384)).astype(np.float32)
        tenth, begun = VECTORS // 10, time.process_time()
        for start in range(0, VECTORS, SHARD):
            vectors.add([content_key(f"text {n}") for n in range(start, start + SHARD)], block)
            if (start + SHARD) // tenth > start // tenth:
                taken, begun = time.process_time() - begun, time.process_time()
                rows.put((f"adding vectors up to {start + SHARD:,}", "-", VECTORS, f"{taken:.2f} s"))
        files = sum(1 for _ in Path(folder).rglob("*.npy"))
        rows.put(("number of their files", "-", VECTORS, str(files)))


@contextmanager
def postgresql() -> Iterator[Callable[[], str]]:
    """Starts a server on a socket in a temporary folder. Yields a function that creates a database for a URL."""
    import psycopg

    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    shutil.chown(folder, "postgres")

    def run(*command: str) -> None:
        as_owner = ["runuser", "-u", "postgres", "--"]
        subprocess.run([*as_owner, *command], check=True, capture_output=True, cwd=folder, timeout=120)

    data, names = folder / "data", (f"bench{n}" for n in range(1000))
    try:
        run(str(binaries / "initdb"), "--pgdata", str(data), "--auth", "trust", "--username", "bench")
        options = f"-c listen_addresses='' -k {folder}"
        run(str(binaries / "pg_ctl"), "--pgdata", str(data), "--options", options, "--wait", "--log",
            str(folder / "log"), "start")  # fmt: skip

        def make() -> str:
            name = next(names)
            with psycopg.connect(host=str(folder), user="bench", dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return f"postgresql+psycopg://bench@/{name}?host={folder}"

        yield make
    finally:
        run(str(binaries / "pg_ctl"), "--pgdata", str(data), "--mode", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--without-vectors", action="store_true")
    parser.add_argument("--save", action="store_true", help="write the table beside this file, under today's date")
    options = parser.parse_args()
    table: list[tuple[str, str, int, str]] = []
    with ExitStack() as stack:
        make = stack.enter_context(postgresql()) if "postgresql" in options.databases else None
        cases: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            (measure, (database, make() if make and database == "postgresql" else "", size))
            for database in options.databases
            for size in options.sizes
        ]
        if not options.without_vectors:
            cases.append((measure_vectors, ()))
        for target, arguments in cases:
            table += _in_a_process(target, arguments)
    text = _markdown(table)
    print(text)
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        head = f"# What grows with a project, {today}\n\n`python -m benchmarks.growth {' '.join(sys.argv[1:])}` on "
        (Path(__file__).with_name(f"{today}-growth.md")).write_text(f"{head}{platform.machine()}, 2 cores.\n\n{text}")


def _in_a_process(target: Callable[..., None], arguments: tuple[object, ...]) -> list[tuple[str, str, int, str]]:
    """Runs a case in its own process, for separate peak memory and caches. Prints and returns the rows of the case."""
    context = multiprocessing.get_context("spawn")
    rows = context.Queue()
    process = context.Process(target=target, args=(*arguments, rows))
    process.start()
    rows_received = []
    while process.is_alive() or not rows.empty():
        try:
            rows_received.append(rows.get(timeout=0.5))
        except queue.Empty:
            continue
        print(json.dumps(rows_received[-1]), flush=True)
    process.join()
    return rows_received


def _markdown(table: list[tuple[str, str, int, str]]) -> str:
    """Formats a table with one row per figure and database, and one column per size."""
    sizes = sorted({size for _, _, size, _ in table if size != VECTORS})
    figures: dict[tuple[str, str], dict[int, str]] = {(name, database): {} for name, database, _, _ in table}
    for name, database, size, measured in table:
        figures[name, database][size] = measured
    lines = [
        f"| figure | database | {' | '.join(f'{size:,} annotations' for size in sizes)} |",
        "|---" * (2 + len(sizes)) + "|",
    ]
    for (name, database), by_size in figures.items():
        cells = [by_size.get(size, "") for size in sizes] if VECTORS not in by_size else [by_size[VECTORS]]
        lines.append(f"| {name} | {database} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    main()
