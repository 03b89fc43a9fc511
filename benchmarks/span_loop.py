"""`make bench-spans`: the live loop on spans of many sentences, against a real Label Studio.

    python -m benchmarks.span_loop [--sizes 10000 100000] [--annotations 30] [--encoded] [--save]

The texts are those of `span_pool`. Measures the same figures as `make bench-loop` does for choices. The encoder needs
hours for 100,000 texts: with --encoded, all vectors are in the vector cache when the project is connected.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.loop import (
    LoopBench,
    Table,
    bench_settings,
    encoded_share,
    loop,
    memory,
    parser,
    processor_seconds,
    until,
)
from benchmarks.span_pool import Sentences
from ml_backend.core.schema import ControlSchema
from ml_backend.demo.run import backend_process
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.kinds.spans.values import Span
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import ServedTask, create_project, import_tasks, submit_labels
from ml_backend.pool import feature_space
from ml_backend.storage import Store

START_SECONDS = 1800  # longest wait for Label Studio, whose first start takes long beside other work


@dataclass(frozen=True)
class SpanLoopBench(LoopBench):
    """`spans_of`: the right spans of each text."""

    spans_of: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)

    def submit(self, served: ServedTask, control: ControlSchema) -> None:
        submit_labels(self.client, served.content, [(control, self.spans_of[served.text])])


def run(table: Table, size: int, options: argparse.Namespace, folder: Path) -> None:
    sentences = Sentences(folder / "texts")
    texts = sentences.pool(size)
    spans_of = {text.text: text.spans for text in texts}
    labels = sorted({label for spans in spans_of.values() for *_, label in spans})
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    config = f'<View><Labels name="spans" toName="text">{tags}</Labels><Text name="text" value="$text"/></View>'
    with LocalLabelStudio(folder / "label-studio", deadline=START_SECONDS) as label_studio:
        client = LabelStudioClient(label_studio.url, label_studio.token, timeout=120)
        project = create_project(client, f"bench {size}", config)
        list(import_tasks(client, project, [{"text": text} for text in spans_of]))
        settings = bench_settings(label_studio, folder / "apprentice")
        store = Store(settings)
        if options.encoded:
            encoder = feature_space.text_encoder(settings, read_schema(config).input)
            sentences.write_vectors(store.vectors(project, encoder.name), texts)
        with backend_process(settings, folder / "apprentice.log") as supervisor:
            begin = time.monotonic()
            connect(client, store, settings, project, lambda _: None)
            until(lambda: store.projects.ensure(project).fingerprint != "", 900)
            seconds, of_worker = time.monotonic() - begin, processor_seconds(supervisor)
            measured = f"{seconds:.1f} s, {of_worker:.0f} s of a processor by the worker"
            table.add("connect to first ordered queue", size, measured, "60 s")
            bench = SpanLoopBench(table, client, store, project, size, {}, spans_of)
            if not options.encoded:
                loop(bench, options.annotations, {}, "while it is encoded")
            begin = time.monotonic()
            while encoded_share(store, project) < 1 and time.monotonic() - begin < options.patience:
                time.sleep(1)
            waited = f"{encoded_share(store, project):.0%} of the tasks after {time.monotonic() - begin:.0f} s more"
            table.add("encoding in the background", size, waited)
            loop(bench, options.annotations, {}, "with all vectors" if options.encoded else "after that")
            load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
            table.add("processes that wanted one of the 2 cores, in the last 1, 5 and 15 minutes", size, load)
            memory(table, supervisor, size, ("700 MB", "2,000 MB"))
        megabytes = sum(path.stat().st_size for path in (folder / "apprentice" / "vectors").rglob("*.npy")) / 1e6
        table.add("vectors of words and texts on disk", size, f"{megabytes:,.0f} MB")
        store.close()


def main() -> None:
    arguments = parser(__doc__, patience=1800)
    arguments.add_argument("--encoded", action="store_true", help="with all vectors in the cache before it connects")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers are stopped in any case
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            run(table, size, options, Path(folder) / str(size))
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        head = f"# The live loop on spans, {today}\n\n`python -m benchmarks.span_loop` on {platform.machine()}, "
        text = f"{head}2 cores shared by all processes.\n\n{table.markdown()}"
        Path(__file__).with_name(f"{today}-span-loop.md").write_text(text)


if __name__ == "__main__":
    main()
