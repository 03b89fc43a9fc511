"""The public text sets of the label benchmarks. Their vectors are kept in a cache folder.

Read from `../shared/data` or the folder that APPRENTICE_BENCH_DATA names; the TREC questions come from a package.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats
from ml_backend.core.schema import ChoicesSchema, ControlSchema, InputSpec, ProjectSchema
from ml_backend.demo.texts import load_questions

DATA = Path(os.environ.get("APPRENTICE_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
CACHE = Path(os.environ.get("APPRENTICE_BENCH_CACHE", Path(__file__).parents[1] / ".bench"))
ONE_CHOICE = ChoicesSchema("", "")
"""The control of a learner that sees the number of labels in the targets."""
TEST_SHARE = 0.3
"""For sets without a split. The test rows are drawn at random with a fixed seed."""


@dataclass(frozen=True)
class Row:
    text: str
    label: str
    group: str = ""


@dataclass(frozen=True)
class TextSet:
    name: str
    train: list[Row]
    test: list[Row]

    @property
    def schema(self) -> ProjectSchema:
        """A single choice among the labels of the train rows, in alphabetical order."""
        labels = tuple(sorted({row.label for row in self.train}))
        return ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("label", "text", labels),))

    def vectors(self) -> tuple[Floats, Floats]:
        """Returns the vectors of train and test rows from the default encoder. The first call takes minutes."""
        return encoded([row.text for row in self.train]), encoded([row.text for row in self.test])


def one_hot(control: ControlSchema, labels: Sequence[str]) -> Floats:
    """Returns the targets (n, c) of n labels of a single choice."""
    return np.eye(len(control.labels), dtype=np.float32)[[control.labels.index(label) for label in labels]]


def encoded(texts: list[str]) -> Floats:
    encoder = registry.encoder("minilm")
    file = CACHE / f"{hashlib.sha256(json.dumps([encoder.name, *texts]).encode()).hexdigest()[:16]}.npy"
    if not file.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(file, encoder.encode(texts))
    return np.asarray(np.load(file, allow_pickle=False), np.float32)


def _rows(path: str) -> Iterator[dict[str, str]]:
    with (DATA / "text" / path).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _split(name: str, rows: list[Row]) -> TextSet:
    order = np.random.default_rng(0).permutation(len(rows))
    test = set(order[: round(TEST_SHARE * len(rows))].tolist())
    return TextSet(
        name,
        [row for place, row in enumerate(rows) if place not in test],
        [rows[place] for place in sorted(test)],
    )


def banking77() -> TextSet:
    parts = [[Row(r["text"], r["category"]) for r in _rows(f"banking77/{part}.csv")] for part in ("train", "test")]
    return TextSet("banking77", *parts)


def clinc150() -> TextSet:
    """Reads the imbalanced split without the out-of-scope rows. The groups are the ten domains."""
    folder = DATA / "text" / "clinc150"
    rows_by_split = json.loads((folder / "data_imbalanced.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    domain = {label: name for name, labels in domains.items() for label in labels}
    parts = [[Row(text, label, domain[label]) for text, label in rows_by_split[part]] for part in ("train", "test")]
    return TextSet("clinc150", *parts)


def davidson() -> TextSet:
    names = {"0": "hate speech", "1": "offensive language", "2": "neither"}
    return _split("davidson", [Row(r["tweet"], names[r["class"]]) for r in _rows("davidson/labeled_data.csv")])


def hatecheck() -> TextSet:
    """Reads the test cases. The groups are the targets of the hate, where a case names one."""
    rows = _rows("hatecheck/test_suite_cases.csv")
    return _split("hatecheck", [Row(r["test_case"], r["label_gold"], r["target_ident"]) for r in rows])


def trec() -> TextSet:
    pool, held_out = load_questions(CACHE)
    return TextSet(
        "trec", [Row(q.text, q.values["label"][0]) for q in pool], [Row(q.text, q.values["label"][0]) for q in held_out]
    )


SETS: dict[str, Callable[[], TextSet]] = {
    load.__name__: load for load in (banking77, trec, clinc150, davidson, hatecheck)
}
DEVELOPMENT = ("banking77", "trec")
"""The sets on which choices were tuned. The other three were only measured."""
