"""`make bench-spans`: the live loop on spans of many sentences, against a real Label Studio.

    python -m benchmarks.span_loop [--sizes 10000 100000] [--annotations 30] [--save]

The sentences are those of wnut17, ncbi-disease and the demo; of these, pairs make as many tasks as are wanted. Measures
the same figures as `make bench-loop` does for choices.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import random
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.loop import LoopBench, Table, bench_settings, encoded_share, loop, memory, parser, until
from benchmarks.span_sets import FILES, load
from ml_backend.core.schema import ControlSchema
from ml_backend.demo.run import backend_process
from ml_backend.demo.sentences import CONTROL, load_sentences
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.kinds.spans.values import Span
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import ServedTask, create_project, import_tasks, submit_labels
from ml_backend.storage import Store

MarkedText = tuple[str, tuple[Span, ...]]
"""A text with its right spans."""


@dataclass(frozen=True)
class SpanLoopBench(LoopBench):
    """`spans_of`: the right spans of each text."""

    spans_of: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)

    def submit(self, served: ServedTask, control: ControlSchema) -> None:
        submit_labels(self.client, served.content, [(control, self.spans_of[served.text])])


def sentences(folder: Path) -> Iterator[MarkedText]:
    """Yields texts without end, with their spans: the sentences, then pairs of them."""
    known: list[MarkedText] = []
    for name in FILES:
        train = load(name).train
        known += [(text, tuple(spans)) for text, spans in zip(train.texts, train.spans, strict=True)]
    known += [(task.text, task.values[CONTROL]) for task in load_sentences(folder)[0]]
    yield from known
    generator = random.Random(0)
    while True:
        (text, spans), (other, other_spans) = (known[generator.randrange(len(known))] for _ in range(2))
        shift = len(text) + 1
        moved = tuple((start + shift, end + shift, label) for start, end, label in other_spans)
        yield f"{text} {other}", (*spans, *moved)


def run(table: Table, size: int, options: argparse.Namespace, folder: Path) -> None:
    spans_of: dict[str, tuple[Span, ...]] = {}
    for text, spans in sentences(folder / "texts"):
        spans_of.setdefault(text, spans)
        if len(spans_of) == size:
            break
    labels = sorted({label for spans in spans_of.values() for *_, label in spans})
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    config = f'<View><Labels name="spans" toName="text">{tags}</Labels><Text name="text" value="$text"/></View>'
    with LocalLabelStudio(folder / "label-studio") as label_studio:
        client = LabelStudioClient(label_studio.url, label_studio.token, timeout=120)
        project = create_project(client, f"bench {size}", config)
        list(import_tasks(client, project, [{"text": text} for text in spans_of]))
        settings = bench_settings(label_studio, folder / "apprentice")
        store = Store(settings)
        with backend_process(settings, folder / "apprentice.log") as supervisor:
            begin = time.monotonic()
            connect(client, store, settings, project, lambda _: None)
            until(lambda: store.projects.ensure(project).fingerprint != "", 900)
            table.add("connect to first ordered queue", size, f"{time.monotonic() - begin:.1f} s", "60 s")
            bench = SpanLoopBench(table, client, store, project, size, {}, spans_of)
            loop(bench, options.annotations, {}, "while it is encoded")
            begin = time.monotonic()
            while encoded_share(store, project) < 1 and time.monotonic() - begin < options.patience:
                time.sleep(1)
            waited = f"{encoded_share(store, project):.0%} of the tasks after {time.monotonic() - begin:.0f} s more"
            table.add("encoding in the background", size, waited)
            loop(bench, options.annotations, {}, "after that")
            memory(table, supervisor, size, ("700 MB", "2,000 MB"))
        megabytes = sum(path.stat().st_size for path in (folder / "apprentice" / "vectors").rglob("*.npy")) / 1e6
        table.add("vectors of words and texts on disk", size, f"{megabytes:,.0f} MB")
        store.close()


def main() -> None:
    options = parser(__doc__, patience=1800).parse_args()
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
