"""What the size of a project costs those who follow its labels and those who only read, on made-up annotations.

    python -m benchmarks.readers [--sizes 1000 10000 100000] [--labels 6] [--store-url postgresql+psycopg://...]

CPU milliseconds (the best of several) and SQL statements. No Label Studio is needed, and nothing is encoded. A database
that is named must be empty, and each size needs one of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks import made_project as made
from ml_backend import knowledge, project_stats, registry
from ml_backend.aggregation import Aggregator
from ml_backend.domain import content_key
from ml_backend.label_studio.config import read_schema
from ml_backend.metrics import Metrics
from ml_backend.pool import ProjectPool
from ml_backend.serving import Predictor
from ml_backend.settings import Settings
from ml_backend.status import read_status
from ml_backend.store import Store
from ml_backend.teaching.recall import recall

REPEATS = 5
Measured = tuple[float, int]  # milliseconds and statements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--labels", type=int, default=6)
    parser.add_argument("--store-url", default="", help="of an empty database, else SQLite in a temporary folder")
    options = parser.parse_args()
    columns: list[dict[str, Measured]] = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(data_dir=Path(folder), store_url=options.store_url, _env_file=None)
            columns.append(measure(settings, size, options.labels))
    print("| CPU ms, statements | " + " | ".join(f"{size:,}" for size in options.sizes) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name][0]:.1f}, {column[name][1]}" for column in columns) + " |")


def measure(settings: Settings, size: int, labels: int) -> dict[str, Measured]:
    """Every figure of a project with so many answers."""
    store, encoder = Store(settings), registry.encoder(settings.encoder)
    made.fill(store, size, labels, encoder.name, encoder.dim)
    store.vectors(made.PROJECT, encoder.name).add([content_key(made.text_of(1))], np.ones((1, encoder.dim), np.float32))
    statements: list[str] = []

    def note(_connection: object, _cursor: object, text: str, *_: object) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            statements.append(text)

    sa.event.listen(store.database._engine, "before_cursor_execute", note)

    def best(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> Measured:
        found = []
        for _ in range(REPEATS):
            prepare()
            statements.clear()
            before = time.process_time()
            work()
            found.append((1000 * (time.process_time() - before), len(statements)))
        return min(found)

    schema, open_tasks = read_schema(made.config(labels)), iter(range(size + 1, size + made.QUEUE + 1))
    aggregator, pool = Aggregator(store, made.PROJECT), ProjectPool(store, made.PROJECT, encoder)
    pool.refresh(store.projects.known(made.PROJECT).tasks_revision)
    learner, _ = knowledge.load_best(store, store.versions.active(made.PROJECT), encoder.name)
    answers = aggregator.refresh(schema).answers
    recalled = recall(store, made.TEACHER, schema, pool, made.PROJECT, answers)
    predictor, metrics = Predictor(settings, store), Metrics(store)

    def answer() -> None:
        store.labels.put(made.PROJECT, [made.annotation(next(open_tasks), 0)])

    def leave() -> None:
        project_stats.update(store, made.PROJECT, schema, pool, aggregator, learner, recalled)

    def predict() -> None:
        predictor.predict(made.PROJECT, "", [1], [made.text_of(1)])

    leave()
    predict()
    return {
        "labels after one more answer": best(lambda: aggregator.refresh(schema), answer),
        "the numbers at a round's end": best(leave, answer),
        "/predict with a teacher": best(predict),
        "a scrape": best(metrics.render),
        "`status`": best(lambda: read_status(store, made.PROJECT)),
    }


if __name__ == "__main__":
    main()
