"""`make bench-loop`: the live loop against a real Label Studio, compared with the floor in the same run.

    python -m benchmarks.loop [--sizes 10000 100000] [--annotations 30] [--teacher] [--save]

The floor is the time that Label Studio needs for the calls of a round, sent without a backend. Nothing here is
asserted.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import SecretStr

from benchmarks.data import ONE_CHOICE
from benchmarks.teacher_stand_in import AT_WORK, teacher
from ml_backend.core import registry
from ml_backend.core.arrays import TrainingSet
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import content_key
from ml_backend.demo.run import backend_process
from ml_backend.demo.server import LocalLabelStudio, free_port
from ml_backend.demo.texts import load_questions
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import HEAD_PREDICTIONS
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import (
    ServedTask,
    create_project,
    import_tasks,
    next_task,
    submit_annotation,
)
from ml_backend.storage import Store

EVENTS_A_SECOND = 50
EVENT_SECONDS = 20
FLOOR_REPEATS = 5
TICKS = os.sysconf("SC_CLK_TCK")  # units of the processor's time, in a second


@dataclass
class Table:
    """Collects rows of (name, size, measured, goal), and prints each row at once."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, name: str, size: int | str, measured: str, goal: str = "") -> None:
        self.rows.append((name, f"{size:,}" if isinstance(size, int) else size, measured, goal))
        print("| " + " | ".join(self.rows[-1]) + " |", flush=True)

    def markdown(self) -> str:
        head = "| what | tasks | measured | goal |\n|---|---|---|---|\n"
        return head + "\n".join("| " + " | ".join(row) + " |" for row in self.rows) + "\n"


def parser(description: str | None, patience: int) -> argparse.ArgumentParser:
    """Returns the parser with the options of both benchmarks of the loop."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    arguments.add_argument("--annotations", type=int, default=30)
    arguments.add_argument("--patience", type=int, default=patience, help="seconds to wait for the background encoding")
    arguments.add_argument("--teacher", action="store_true", help="with a teacher at work, which costs no CPU")
    arguments.add_argument("--save", action="store_true", help="write the table beside this file, under today's date")
    return arguments


def main() -> None:
    options = parser(__doc__, patience=3600).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers are stopped in any case
    table = Table()
    refit(table)
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            run(table, size, options, Path(folder) / str(size))
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        command = "make bench-loop" if len(sys.argv) == 2 else f"python -m benchmarks.loop {' '.join(sys.argv[1:])}"
        text = f"# The live loop, {today}\n\n`{command}` on {platform.machine()}, 2 cores shared by all processes.\n\n"
        Path(__file__).with_name(f"{today}-loop.md").write_text(text + table.markdown())


def refit(table: Table) -> None:
    """Measures the seconds of a fit alone, with 500 labels of 6 classes."""
    import torch

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(500, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = np.eye(6, dtype=np.float32)[(vectors[:, :6] * 3 + generator.normal(size=(500, 6)) * 0.2).argmax(axis=1)]
    learner = registry.learner("logistic")
    for name, earlier in (("fit, 5 folds", None), ("fit, 5 folds and the earlier learner's 5", targets)):
        train = TrainingSet(vectors, targets, np.ones(500, np.float32), ONE_CHOICE, earlier)
        learner.fit(train, 0)
        seconds = [_timed(lambda: learner.fit(train, 0)) for _ in range(20)]  # noqa: B023
        table.add(
            f"head, {name}, on 500 labels, median of 20", "-", f"{statistics.median(seconds) * 1e3:.0f} ms", "50 ms"
        )


def bench_settings(label_studio: LocalLabelStudio, data_dir: Path, **further: Any) -> Settings:
    """The settings of a backend for a Label Studio that was started for a benchmark."""
    return Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=SecretStr(label_studio.token),
        secret=SecretStr("bench-secret"),
        data_dir=data_dir,
        port=free_port(),
        **further,
    )


def run(table: Table, size: int, options: argparse.Namespace, folder: Path) -> None:
    annotations = options.annotations
    folder.mkdir(parents=True)
    label_of = texts_with_labels(size, folder / "texts")
    config = Path("label_config.xml").read_text()
    schema = read_schema(config)
    with (
        LocalLabelStudio(folder / "label-studio") as label_studio,
        teacher(label_of, schema.controls[0].labels) as teacher_url,
    ):
        client = LabelStudioClient(label_studio.url, label_studio.token, timeout=120)
        project = create_project(client, f"bench {size}", config)
        seconds = _timed(
            lambda: list(import_tasks(client, project, [{schema.input.text_field: text} for text in label_of]))
        )
        table.add("(Label Studio imports the tasks)", size, f"{seconds:.0f} s")
        floors = floor(table, client, project, schema, size, schema.controls[0].labels[0])
        settings = bench_settings(
            label_studio,
            folder / "apprentice",
            teacher_url=teacher_url,
            defaults=AT_WORK if options.teacher else ProjectSettings(),
        )
        store = Store(settings)
        with backend_process(settings, folder / "apprentice.log") as supervisor:
            begin = time.monotonic()
            connect(client, store, settings, project, lambda _: None)
            until(lambda: store.projects.ensure(project).fingerprint != "", 900)
            table.add("connect to first ordered queue", size, f"{time.monotonic() - begin:.1f} s", "60 s")
            bench = LoopBench(table, client, store, project, size, label_of)
            loop(bench, annotations, floors, "while MiniLM encodes the pool")
            begin = time.monotonic()
            while encoded_share(store, project) < 1 and time.monotonic() - begin < options.patience:
                time.sleep(1)
            waited = f"{encoded_share(store, project):.0%} of the tasks after {time.monotonic() - begin:.0f} s more"
            table.add("encoding in the background", size, waited)
            loop(bench, annotations, floors, "after that")
            predict(table, settings, project, size, _cached(settings, store, project, label_of), config)
            webhook(table, settings, store, project, size, config)
            memory(table, supervisor, size)
            if options.teacher:
                teacher_at_work(table, store, project, size)
        store.close()


def texts_with_labels(size: int, folder: Path) -> dict[str, str]:
    """Returns `size` different texts with their labels."""
    pool, _ = load_questions(folder)
    label_of: dict[str, str] = {}
    for text, label in _pairs([question.text for question in pool], [question.values["label"][0] for question in pool]):
        label_of.setdefault(text, label)
        if len(label_of) == size:
            break
    return label_of


def floor(
    table: Table, client: LabelStudioClient, project: int, schema: ProjectSchema, size: int, label: str
) -> dict[str, float]:
    """Measures the calls that publish a queue and ask for its first task, without a backend."""
    tasks = [task["id"] for task in next(client.task_pages(project, fields="task_only", include="id"))[:50]]
    names = (f"floor-{number}" for number in itertools.count())

    def rows(name: str, n: int) -> list[dict[str, object]]:
        region = {
            "from_name": schema.controls[0].name, "to_name": schema.controls[0].source, "type": "choices",
            "value": {"choices": [label]},
        }  # fmt: skip
        return [{"task": task, "result": [region], "score": 0.5, "model_version": name} for task in tasks[:n]]

    def bulk() -> None:
        name = next(names)
        client.call("POST", f"api/projects/{project}/import/predictions", body=rows(name, 50), timeout=120)
        client.change_project(project, model_version=name)
        next_task(client, project, schema)

    def singles() -> None:
        name = next(names)
        for row in rows(name, HEAD_PREDICTIONS):
            client.call("POST", "api/predictions/", body=row)
        client.change_project(project, model_version=name)
        next_task(client, project, schema)

    seconds = {
        "bulk": statistics.median(_timed(bulk) for _ in range(FLOOR_REPEATS)),
        "single": statistics.median(_timed(singles) for _ in range(FLOOR_REPEATS)),
    }
    table.add("floor: bulk import of 50 rows, PATCH and /next, bare", size, f"{seconds['bulk']:.2f} s")
    table.add(f"floor: {HEAD_PREDICTIONS} single rows, PATCH and /next, bare", size, f"{seconds['single']:.2f} s")
    return seconds


@dataclass(frozen=True)
class LoopBench:
    """A connected project of `size` tasks, the label of each text, and the table that the figures are added to."""

    table: Table
    client: LabelStudioClient
    store: Store
    project: int
    size: int
    label_of: dict[str, str]

    def submit(self, served: ServedTask, control: ControlSchema) -> None:
        """Submits the right label of a task."""
        submit_annotation(self.client, served.task, control, [self.label_of[served.text]])


def loop(bench: LoopBench, annotations: int, floors: dict[str, float], when: str) -> None:
    """Measures the time from an annotation's reply to the first /next from a version that was fitted on it."""
    table, client, store, project, size = bench.table, bench.client, bench.store, bench.project, bench.size
    schema = read_schema(store.projects.ensure(project).label_config)
    seconds = []
    for _ in range(annotations):
        served = next_task(client, project, schema)
        if served is None:
            raise SystemExit("the queue is empty")
        labelled_count = store.annotations.count(project)[0]
        bench.submit(served, schema.controls[0])
        begin = time.monotonic()
        until(lambda: serves_labels(store, project, labelled_count + 1), 120)  # noqa: B023
        served = next_task(client, project, schema)
        seconds.append(time.monotonic() - begin)
        if served is None or served.version != store.projects.ensure(project).published:
            table.add(f"NOT served from the newest version: {served.version if served else None}", size, "-")
    median, worst = statistics.median(seconds), max(seconds)
    in_floors = f", {median / min(floors.values()):.1f} x the floor" if floors else ""
    table.add(
        f"annotation to /next from its version, {when}, median of {annotations}", size,
        f"{median:.2f} s (worst {worst:.2f} s){in_floors}", "1.5 x the floor" if floors else "1.2 s",
    )  # fmt: skip
    stages = [record.stages for record in store.versions.last_rounds(project, annotations, failed=False)]
    named = {name: statistics.median(stage[name] for stage in stages if name in stage) for name in stages[0]}
    table.add("of that, median by stage", size, ", ".join(f"{name} {seconds:.2f}" for name, seconds in named.items()))


def teacher_at_work(table: Table, store: Store, project: int, size: int) -> None:
    answered = store.questions.counts(project, f"{AT_WORK.teacher}:{AT_WORK.teacher_model}")
    table.add("labels that the teacher gave meanwhile", size, f"{answered['label', 'answered']:,}")


def predict(table: Table, settings: Settings, project: int, size: int, text: str, config: str) -> None:
    body = {
        "project": f"{project}.1",
        "label_config": config,
        "tasks": [{"id": 1, "data": {"text": text}}],
        "params": {},
    }
    with httpx.Client(base_url=settings.address, auth=("apprentice", "bench-secret"), timeout=60) as web:
        web.post("/predict", json=body).raise_for_status()
        seconds = sorted(_timed(lambda: web.post("/predict", json=body).raise_for_status()) for _ in range(300))
        table.add("/predict of one cached task, p95 of 300", size, f"{seconds[284] * 1e3:.1f} ms", "20 ms")
        body["tasks"] = [{"id": 2, "data": {"text": f"never seen before: {text}"}}]
        begin = time.monotonic()
        web.post("/predict", json=body).raise_for_status()
        table.add("/predict of a new text, with the encoder to load", size, f"{time.monotonic() - begin:.1f} s")


def webhook(table: Table, settings: Settings, store: Store, project: int, size: int, config: str) -> None:
    """Measures the acknowledgement of updated annotations at a steady rate, while the requested rounds run."""
    annotations = store.annotations.of(project)
    labels = read_schema(config).controls[0].labels
    counts = store.projects.ensure(project).counts or {}
    details = {
        "id": project, "label_config": config, "task_number": counts["tasks"],
        "total_annotations_number": counts["annotations"], "skipped_annotations_number": counts["skips"],
    }  # fmt: skip
    seconds: list[float] = []
    numbers = [annotation.task for annotation in annotations]
    texts = dict(zip(numbers, store.tasks.texts(project, numbers), strict=True))
    turns = itertools.cycle(annotations)
    rounds_before = len(store.versions.last_rounds(project, 1000))

    def send(web: httpx.Client) -> None:
        annotation = next(turns)
        result = [{"from_name": "label", "type": "choices", "value": {"choices": [random.choice(labels)]}}]
        event = {
            "action": "ANNOTATION_UPDATED", "project": details,
            "annotation": {
                "id": annotation.id, "task": annotation.task, "completed_by": annotation.annotator, "result": result,
                "updated_at": datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z"),
            },
            "task": {"id": annotation.task, "data": {"text": texts[annotation.task]}},
        }  # fmt: skip
        begin = time.perf_counter()
        web.post("/webhook", json=event).raise_for_status()
        seconds.append(time.perf_counter() - begin)

    with httpx.Client(base_url=settings.address, auth=("apprentice", "bench-secret"), timeout=10) as web:
        threads = []
        start = time.monotonic()
        for number in range(EVENTS_A_SECOND * EVENT_SECONDS):
            time.sleep(max(0.0, start + number / EVENTS_A_SECOND - time.monotonic()))
            threads.append(threading.Thread(target=send, args=(web,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
    seconds.sort()
    rounds = len(store.versions.last_rounds(project, 1000)) - rounds_before
    table.add(
        f"webhook acknowledged, {EVENTS_A_SECOND} a second for {EVENT_SECONDS} s, {rounds} rounds meanwhile, p50 / p99",
        size, f"{seconds[len(seconds) // 2] * 1e3:.1f} / {seconds[int(len(seconds) * 0.99)] * 1e3:.1f} ms", "p99 20 ms",
    )  # fmt: skip


def memory(table: Table, supervisor: int, size: int, goals: tuple[str, str] = ("700 MB", "1,500 MB")) -> None:
    """Measures the memory of the processes. goals: for the web process, and for a worker"""
    for child in _children(supervisor):
        role = "web" if "web" in Path(f"/proc/{child}/cmdline").read_text().split("\0") else "worker"
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
        now, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        goal = goals[role == "worker"]
        table.add(f"memory of the {role} process, now / peak", size, f"{now:.0f} / {peak:.0f} MB", goal)


def processor_seconds(supervisor: int) -> float:
    """The time that the workers have used of a processor so far."""
    workers = [child for child in _children(supervisor) if "worker" in Path(f"/proc/{child}/cmdline").read_text()]
    ticks = [
        int(n) for child in workers for n in Path(f"/proc/{child}/stat").read_text().rsplit(") ")[1].split()[11:13]
    ]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def _pairs(texts: list[str], labels: list[str]) -> Iterator[tuple[str, str]]:
    """Yields different texts without end, with their labels: the questions, then pairs with the label of the first."""
    yield from zip(texts, labels, strict=True)
    generator = random.Random(0)
    while True:
        first, second = generator.randrange(len(texts)), generator.randrange(len(texts))
        yield f"{texts[first]} {texts[second]}", labels[first]


def _cached(settings: Settings, store: Store, project: int, texts: Iterable[str]) -> str:
    """Returns a text whose vector is on disk."""
    space = registry.encoder(settings.encoder).name
    everything = list(texts)
    positions = store.vectors(project, space).find([content_key(text) for text in everything])
    return everything[int((positions >= 0).argmax())]


def serves_labels(store: Store, project: int, labels: int) -> bool:
    """Returns whether the published version was made from at least so many labels."""
    project_row, active = store.projects.ensure(project), store.versions.active(project)
    return bool(active and active.name == project_row.published and active.labelled >= labels)


def encoded_share(store: Store, project: int) -> float:
    progress = store.projects.ensure(project).progress or {}
    return progress["encoded"] / progress["tasks"] if progress.get("tasks") else 0.0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"the condition was not met within {seconds:.0f} s")
        time.sleep(0.01)


def _timed(operation: Callable[[], object]) -> float:
    begin = time.monotonic()
    operation()
    return time.monotonic() - begin


if __name__ == "__main__":
    main()
