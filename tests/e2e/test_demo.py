"""`make demo` without a person: Label Studio, the backend and an automatic annotator from one command."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from world import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def alive(folder: Path) -> list[str]:
    """The processes that have this folder in their command line, environment or working directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(process.name) != str(os.getpid()) and (str(folder).encode() in told or where.startswith(str(folder))):
            found.append(told.split(b"\0" * 2)[0].decode(errors="replace")[:200])
    return found


@pytest.mark.timeout(580)
def test_the_headless_demo_prints_how_the_learner_grows_and_leaves_nothing_running(
    template: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(template, folder / "label-studio")  # as after an earlier demo: saves the minute of the first start
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "ml_backend.cli", "demo", "--annotations", "12", "--folder", str(folder), "--port", str(port)]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("APPRENTICE_")}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    rows = re.findall(r"^ *(\d+) +(apprentice-\d+-\w+) +(\S+) +(\S+) +(\S+)$", done.stdout, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, 13)), done.stdout
    assert len({row[1] for row in rows}) == 12, "every annotation is answered by a version of its own"
    assert all(0 <= float(row[2].rstrip("%")) <= 100 for row in rows if row[2] != "-")
    assert any(row[2] != "-" for row in rows)
    until(lambda: not alive(folder), f"the end of {alive(folder)}", seconds=20)
