"""`make demo`, with an automatic annotator and by hand: Label Studio and the backend from one command."""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from running_backend import until

from ml_backend.core.words import count_words
from ml_backend.demo.rewrites import CONTROL, load_rewrites
from ml_backend.demo.server import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def alive(folder: Path) -> list[str]:
    """Returns the processes with this folder in their command line, environment or working directory."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            description = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(process.name) != str(os.getpid()) and (
            str(folder).encode() in description or where.startswith(str(folder))
        ):
            processes.append(description.split(b"\0" * 2)[0].decode(errors="replace")[:200])
    return processes


def environment() -> dict[str, str]:
    outside = {name: text for name, text in os.environ.items() if not name.startswith("APPRENTICE_")}
    return {**outside, "PYTHONUNBUFFERED": "1"}


def run_headless(folder: Path, template: Path, kind: str, annotations: int) -> subprocess.CompletedProcess[str]:
    """Runs the demo of a kind until it has annotated so many tasks."""
    shutil.copytree(template, folder / "label-studio")
    command = [sys.executable, "-m", "ml_backend.cli", "demo", "--folder", str(folder), "--port", str(free_port())]
    headless = [*command, "--kind", kind, "--annotations", str(annotations)]
    done = subprocess.run(headless, env=environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.timeout(580)
def test_the_demo_runs_headless_and_again_by_hand_and_leaves_nothing_running(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(template, folder / "label-studio")  # as after an earlier demo: saves the minute of the first start
    port = free_port()
    command = [sys.executable, "-m", "ml_backend.cli", "demo", "--folder", str(folder), "--port", str(port)]
    headless = [*command, "--annotations", "12"]
    done = subprocess.run(headless, env=environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    rows = re.findall(r"^ *(\d+) +(apprentice-\d+-\w+) +(\S+) +(\S+) +(\S+)$", done.stdout, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, 13)), done.stdout
    assert len({row[1] for row in rows}) == 12, "every annotation is answered by a version of its own"
    assert all(0 <= float(row[2].rstrip("%")) <= 100 for row in rows if row[2] != "-")
    assert any(row[2] != "-" for row in rows)
    until(lambda: not alive(folder), f"the end of {alive(folder)}", seconds=20)

    # again, by hand: what is there is used again, a third one is refused meanwhile, and Ctrl-C stops everything
    output_file = tmp_path / "output"
    with output_file.open("w") as out:
        by_hand = subprocess.Popen(command, env=environment(), stdout=out, stderr=out)
    try:
        until(
            lambda: "Ctrl-C stops everything" in output_file.read_text() or by_hand.poll() is not None, "an invitation"
        )
        assert "is there already" in output_file.read_text(), output_file.read_text()
        third = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        assert third.returncode == 1 and "already" in third.stderr
        by_hand.send_signal(signal.SIGINT)
        assert by_hand.wait(120) == 0
    finally:
        by_hand.terminate()  # so that it stops its servers, too
        by_hand.wait(120)
    until(lambda: not alive(folder), f"the end of {alive(folder)}", seconds=20)


@pytest.mark.timeout(580)
def test_the_demo_of_two_controls_prints_the_accuracy_of_each(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = run_headless(folder, template, "controls", 8)
    assert re.search(r"^annotations +active version +subclass +random order +class +random order ", done.stdout, re.M)
    rows = re.findall(r"^ *(\d+) +apprentice-\d+-\w+((?: +[\d.]+%){4}) +\S+$", done.stdout, re.MULTILINE)
    assert rows and rows[-1][0] == "8", done.stdout
    for control in ("subclass", "class"):
        assert re.search(rf"^  {control} +8 labelled; accuracy ", done.stdout, re.MULTILINE), done.stdout
    until(lambda: not alive(folder), f"the end of {alive(folder)}", seconds=20)


@pytest.mark.timeout(580)
def test_the_demo_of_spans_prints_strict_f1_and_the_words_that_were_read(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = run_headless(folder, template, "spans", 12)
    assert re.search(r"^annotations +active version +held-out strict F1 +random order +words read ", done.stdout, re.M)
    rows = re.findall(
        r"^ *(\d+) +apprentice-\d+-\w+ +([\d.]+%|-) +([\d.]+%|-) +([\d,]+) +([\d,]+) +\S+$", done.stdout, re.MULTILINE
    )
    assert [int(row[0]) for row in rows] == list(range(1, 13)), done.stdout
    words = [int(row[3].replace(",", "")) for row in rows]
    assert words == sorted({*words}) and words[0] > 0
    assert rows[-1][1] != "-" and rows[-1][2] != "-"
    until(lambda: not alive(folder), f"the end of {alive(folder)}", seconds=20)


@pytest.mark.timeout(580)
def test_the_demo_of_rewriting_prints_the_words_that_are_edited_and_the_drafts_that_are_accepted(
    template: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    done = run_headless(folder, template, "rewrite", 12)
    columns = "annotations +active version +held-out words edited +random order +held-out accepted +random order "
    assert re.search(f"^{columns}", done.stdout, re.MULTILINE), done.stdout
    scores = r"([\d.]+) +([\d.]+) +([\d.]+)% +([\d.]+)%"
    rows = re.findall(rf"^ *(\d+) +(?:apprentice-\d+-\w+)? +{scores} +(\S+)$", done.stdout, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(13)), done.stdout
    mean_words = statistics.mean(count_words(str(task.values[CONTROL][0])) for task in load_rewrites()[1])
    assert rows[0][1:] == (f"{mean_words:.2f}", f"{mean_words:.2f}", "0.0", "0.0", "-"), "no draft is shown"
    assert all(float(score) < mean_words for score in rows[-1][1:3]), done.stdout
    until(lambda: not alive(folder), f"the end of {alive(folder)}", seconds=20)
