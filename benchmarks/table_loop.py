"""`make bench-tables`: the live loop on a large pool of records, against a real Label Studio.

    python -m benchmarks.table_loop [--sizes 10000 100000] [--fields 60] [--annotations 30] [--teacher] [--save]

The records are made up: three quarters of their fields are numbers, the rest categories of six values, and about a
third of the numbers have scores. Measures the same figures as `make bench-loop` does for texts, and the refit alone,
with REFIT labels.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import ONE_CHOICE
from benchmarks.loop import (
    LoopBench,
    Table,
    _timed,
    bench_settings,
    encoded_share,
    floor,
    loop,
    parser,
    teacher_at_work,
    until,
)
from benchmarks.teacher_stand_in import AT_WORK, teacher
from ml_backend.core import registry
from ml_backend.core.arrays import DistillationData, PseudoLabels, TrainingSet
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import record_text
from ml_backend.demo.run import backend_process
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import create_project, import_tasks
from ml_backend.storage import Store
from ml_backend.teacher.descriptions.feature_scores import BY_HAND

CONFIG = (
    '<View><Table name="record" value="$record"/><Choices name="label" toName="record"><Choice value="no"/>'
    '<Choice value="yes"/></Choices></View>'
)
REFIT = 500  # labels


def records(size: int, fields: int) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """Returns made-up records, their labels, and rough scores of the fields."""
    random = np.random.default_rng(0)
    plain = fields * 3 // 4
    x = random.normal(size=(size, plain)).round(3)
    categories = random.integers(0, 6, (size, fields - plain))
    weight = random.normal(size=plain) * (random.random(plain) < 0.3)
    score = x @ weight + (categories[:, 0] == 2) * 2 + random.normal(size=size)
    names = [f"number {n}" for n in range(plain)], [f"kind {n}" for n in range(fields - plain)]
    rows = [
        {**dict(zip(names[0], row, strict=True)), **{name: f"v{v}" for name, v in zip(names[1], kinds, strict=True)}}
        for row, kinds in zip(x.tolist(), categories.tolist(), strict=True)
    ]
    labels = np.where(score > np.median(score), "yes", "no").tolist()
    scores = {name: float(round(np.clip(4 * w, -10, 10))) for name, w in zip(names[0], weight, strict=True)}
    return rows, labels, {"estimates": [{"yes": scores}], "by": BY_HAND}


def refit(table: Table, rows: list[dict[str, Any]], labels: list[str], features: dict[str, Any]) -> None:
    texts = [record_text(record) for record in rows]
    encoder = registry.record_encoder(registry.profile(rows, {}, "minilm"), "minilm")
    seconds = _timed(lambda: encoder.encode(texts))
    table.add("encoding alone, records a second", len(rows), f"{len(rows) / seconds:,.0f}")
    x, attributions = encoder.encode(texts), encoder.attributions(features["estimates"], ["no", "yes"])
    targets = np.eye(2, dtype=np.float32)[[int(label == "yes") for label in labels]]
    nothing = PseudoLabels(x[:0], targets[:0], np.empty(0, np.float32))
    learner = registry.learner("tabular")
    priors = learner.distil(DistillationData(nothing, nothing, x, ONE_CHOICE, attributions), 0)
    train = TrainingSet(x[:REFIT], targets[:REFIT], np.ones(REFIT, np.float32), ONE_CHOICE, priors=priors)
    learner.fit(train, 0)
    took = statistics.median(_timed(lambda: learner.fit(train, 0)) for _ in range(20))
    name = f"refit on {REFIT} labels, {encoder.dim} columns, median of 20"
    table.add(name, "-", f"{took * 1e3:.0f} ms", "300 ms")


def run(table: Table, size: int, options: argparse.Namespace) -> None:
    rows, labels, features = records(size, options.fields)
    if size == options.sizes[0]:
        refit(table, rows[:5000], labels[:5000], features)
    label_of = dict(zip(map(record_text, rows), labels, strict=True))
    schema = read_schema(CONFIG)
    with (
        tempfile.TemporaryDirectory() as name,
        LocalLabelStudio(Path(name) / "label-studio") as label_studio,
        teacher(label_of, schema.controls[0].labels) as teacher_url,
    ):
        client = LabelStudioClient(label_studio.url, label_studio.token, timeout=120)
        project = create_project(client, f"bench {size}", CONFIG)
        seconds = _timed(lambda: list(import_tasks(client, project, [{"record": record} for record in rows])))
        table.add("(Label Studio imports the tasks)", size, f"{seconds:.0f} s")
        floors = floor(table, client, project, schema, size, labels[0])
        settings = bench_settings(
            label_studio,
            Path(name) / "apprentice",
            teacher_url=teacher_url,
            defaults=AT_WORK if options.teacher else ProjectSettings(),
        )
        store = Store(settings)
        with backend_process(settings, Path(name) / "apprentice.log"):
            begin = time.monotonic()
            connect(client, store, settings, project, lambda _: None)
            store.feature_scores.put(project, schema.controls[0].name, features)
            until(lambda: store.projects.ensure(project).fingerprint != "", 900)
            table.add("connect to first ordered queue", size, f"{time.monotonic() - begin:.1f} s", "60 s")
            bench = LoopBench(table, client, store, project, size, label_of)
            loop(bench, options.annotations, floors, "while it is encoded")
            begin = time.monotonic()
            while encoded_share(store, project) < 1 and time.monotonic() - begin < options.patience:
                time.sleep(1)
            waited = f"{encoded_share(store, project):.0%} of the tasks after {time.monotonic() - begin:.0f} s more"
            table.add("encoding in the background", size, waited)
            loop(bench, options.annotations, floors, "after that")
            if options.teacher:
                teacher_at_work(table, store, project, size)
        store.close()


def main() -> None:
    arguments = parser(__doc__, patience=1800)
    arguments.add_argument("--fields", type=int, default=60)
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers are stopped in any case
    table = Table()
    for size in options.sizes:
        run(table, size, options)
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        head = f"# The live loop on records of {options.fields} fields, {today}\n\n`make bench-tables` on "
        text = f"{head}{platform.machine()}, 2 cores shared by all processes.\n\n{table.markdown()}"
        Path(__file__).with_name(f"{today}-tables.md").write_text(text)


if __name__ == "__main__":
    main()
