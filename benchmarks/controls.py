"""The live loop with three controls compared with one, in the same run against a real Label Studio.

    python -m benchmarks.controls [--size 10000] [--annotations 40] [--patience 1800] [--save]

Two projects have the same texts; the tasks of one are labelled for one control, those of the other for three. They are
annotated in turns once their texts are encoded. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import datetime
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.loop import Table, bench_settings, encoded_share, serves_labels, texts_with_labels, until
from ml_backend.demo.run import backend_process
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.setup import connect
from ml_backend.label_studio.testing_client import create_project, import_tasks, next_task, submit_labels
from ml_backend.storage import Store

START_WORDS = ("What", "Who", "How", "Where", "When")
LENGTHS = {"short": 7, "medium": 11}  # at most so many words


def length_of(text: str) -> str:
    return next((name for name, words in LENGTHS.items() if len(text.split()) <= words), "long")


def start_of(text: str) -> str:
    return next((word for word in START_WORDS if text.startswith(word)), "Other")


@dataclass
class Arm:
    """A project with the label of each control for a text, and the seconds from each annotation to the next task."""

    name: str
    config: str
    label_of: Mapping[str, Callable[[str], str]]
    project: int = 0
    seconds: list[float] = field(default_factory=list)


def choices(name: str, labels: tuple[str, ...]) -> str:
    items = "".join(f'<Choice value="{label}"/>' for label in labels)
    return f'<Choices name="{name}" toName="text">{items}</Choices>'


def make_arms(label_of: Mapping[str, str]) -> list[Arm]:
    topic = choices("topic", tuple(sorted({*label_of.values()})))
    others = choices("length", (*LENGTHS, "long")) + choices("start", (*START_WORDS, "Other"))
    view = '<View><Text name="text" value="$text"/>{}</View>'
    return [
        Arm("one control", view.format(topic), {"topic": label_of.__getitem__}),
        Arm(
            "three controls",
            view.format(topic + others),
            {"topic": label_of.__getitem__, "length": length_of, "start": start_of},
        ),
    ]


def annotate(client: LabelStudioClient, store: Store, arm: Arm) -> None:
    """Annotates the next task, and measures the seconds until a task is served from a version that knows the label."""
    schema = read_schema(arm.config)
    served = next_task(client, arm.project, schema)
    if served is None:
        raise SystemExit("the queue is empty")
    labelled_count = store.annotations.count(arm.project)[0]
    values = [(control, (arm.label_of[control.name](served.text),)) for control in schema.controls]
    submit_labels(client, served.content, values)
    begin = time.monotonic()
    until(lambda: serves_labels(store, arm.project, labelled_count + 1), 120)
    next_task(client, arm.project, schema)
    arm.seconds.append(time.monotonic() - begin)


def run(table: Table, options: argparse.Namespace, folder: Path) -> None:
    label_of = texts_with_labels(options.size, folder / "texts")
    arms = make_arms(label_of)
    folder.mkdir(exist_ok=True)
    with LocalLabelStudio(folder / "label-studio") as label_studio:
        client = LabelStudioClient(label_studio.url, label_studio.token, timeout=120)
        settings = bench_settings(label_studio, folder / "apprentice")
        store = Store(settings)
        with backend_process(settings, folder / "apprentice.log"):
            for arm in arms:
                arm.project = create_project(client, arm.name, arm.config)
                list(import_tasks(client, arm.project, [{"text": text} for text in label_of]))
                connect(client, store, settings, arm.project, lambda _: None)
                until(lambda: store.projects.ensure(arm.project).fingerprint != "", 900)  # noqa: B023
            begin = time.monotonic()
            while min(encoded_share(store, arm.project) for arm in arms) < 1:
                if time.monotonic() - begin > options.patience:
                    break
                time.sleep(1)
            for arm in arms:
                share = encoded_share(store, arm.project)
                table.add(f"encoded before the annotations, {arm.name}", options.size, f"{share:.0%}")
            for _ in range(options.annotations):
                for arm in arms:
                    annotate(client, store, arm)
        report(table, store, arms, options)
        store.close()


def report(table: Table, store: Store, arms: list[Arm], options: argparse.Namespace) -> None:
    medians = [statistics.median(arm.seconds) for arm in arms]
    for arm, median in zip(arms, medians, strict=True):
        stages = [row.stages for row in store.versions.last_rounds(arm.project, options.annotations, failed=False)]
        named = {name: statistics.median(stage.get(name, 0.0) for stage in stages) for name in stages[0]}
        listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in named.items())
        what = f"annotation to the next task, {arm.name}, median of {options.annotations}"
        table.add(what, options.size, f"{median:.2f} s ({listed})")
    table.add("three controls, as a multiple of one", options.size, f"{medians[1] / medians[0]:.2f}", "1.3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--annotations", type=int, default=40)
    parser.add_argument("--patience", type=int, default=1800, help="seconds to wait for the background encoding")
    parser.add_argument("--save", action="store_true", help="write the table beside this file, under today's date")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers are stopped in any case
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        run(table, options, Path(folder))
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        command = " ".join(["python -m benchmarks.controls", *sys.argv[1:]])
        text = f"# The live loop with several controls, {today}\n\n`{command}`, 2 cores shared by all processes.\n\n"
        Path(__file__).with_name(f"{today}-controls.md").write_text(text + table.markdown())


if __name__ == "__main__":
    main()
