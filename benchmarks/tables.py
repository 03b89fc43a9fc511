"""The public tables of `make bench-laat`, with a teacher's scores of their fields, read from `../shared/data`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.data import DATA
from ml_backend.core.arrays import Floats, Ints, Mask

FOLDER = DATA / "tabular"
TEST_SHARE, SPLIT = 0.35, 12345
"""For tables without a split. The test rows are drawn from each class with a fixed seed."""
LEVELS = ["LevelOne", "LevelTwo", "LevelThree", "LevelFour"]
ADULT = (
    "age", "workclass", "fnlwgt", "education", "educational-num", "marital-status", "occupation", "relationship",
    "race", "gender", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
BANK = (
    "age", "job", "marital", "education", "default", "balance", "housing", "loan", "contact", "day", "month",
    "duration", "campaign", "pdays", "previous", "poutcome",
)  # fmt: skip
"""The meaning of the columns V1 to V16, from the header of the table."""
WIDE = ("spambase", "z_alizadeh_sani", "telco_churn")
TABLES = ("adult", "bank", "diabetes", "contraceptive", "indian_liver", "breast-ljubljana", *WIDE)


@dataclass(frozen=True)
class RecordSet:
    """The records of one table.

    y          (n,) the class of each record, 1 for the positive class
    test       (n,) bool: the test rows
    estimates  the teacher's estimates: in each, scores by the name of a field, or by "field_value" for a category
    kinds      overrides of inferred field kinds, by field name
    """

    name: str
    records: list[dict[str, Any]]
    y: Ints
    test: Mask
    estimates: list[Mapping[str, float]]
    kinds: Mapping[str, object] = field(default_factory=dict)


def record_set(name: str) -> RecordSet:
    scores_json = json.loads((DATA / "teacher" / "feature_scores.json").read_text(encoding="utf-8"))[name]
    test: Mask | None = None
    if name == "adult":
        records, labels, test = _adult()
    elif name == "bank":
        records, labels = _bank()
    else:
        with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        last = list(rows[0])[-1]
        labels = [row.pop(last) for row in rows]
        records = [dict(row) for row in rows]
    y = np.array([label == scores_json["positive_class"] for label in labels], np.int64)
    ordered = ("WifeEdu", "HusbandEdu", "HusbandOccupation", "StandardOfLivingIndex")
    kinds = dict.fromkeys(ordered, LEVELS) if name == "contraceptive" else {}
    return RecordSet(name, records, y, _held_out(y) if test is None else test, scores_json["estimates"], kinds)


def scored(estimates: Sequence[Mapping[str, float]], columns: Sequence[Any], lower: Mapping[str, str]) -> Floats:
    """(k, columns) the score of each column in each of k estimates; 0 without a score. `lower`: the lower value of each
    field with two values; if both values have a score, half of the difference counts."""
    out = np.zeros((len(estimates), len(columns)), np.float32)
    for row, estimate in enumerate(estimates):
        scores = {name.lower(): score for name, score in estimate.items()}
        for place, column in enumerate(columns):
            name = column.field.lower()
            if column.is_number:
                out[row, place] = scores.get(name, 0)
            elif column.field in lower:
                both = [scores.get(f"{name}_{value.lower()}") for value in (lower[column.field], column.value)]
                halved = None if None in both else (both[1] - both[0]) / 2  # type: ignore[operator]
                out[row, place] = scores.get(name, 0) if halved is None else halved
            else:
                value = "unknown" if column.value == "(missing)" else column.value.lower()
                out[row, place] = scores.get(f"{name}_{value}", 0)
    return out


def _adult() -> tuple[list[dict[str, Any]], list[str], Mask]:
    records: list[dict[str, Any]] = []
    labels: list[str] = []
    test: list[bool] = []
    for file in ("adult.data", "adult.test"):
        for line in (FOLDER / "adult" / file).read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.rstrip(".").split(",")]
            if len(cells) == len(ADULT) + 1:
                records.append(dict(zip(ADULT, ("Unknown" if cell == "?" else cell for cell in cells), strict=False)))
                labels.append("yes" if cells[-1] == ">50K" else "no")
                test.append(file == "adult.test")
    return records, labels, np.array(test)


def _bank() -> tuple[list[dict[str, Any]], list[str]]:
    lines = (FOLDER / "bank" / "bank-full.arff").read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.strip().lower() == "@data") + 1
    rows = [line.split(",") for line in lines[start:] if line.strip() and not line.startswith("%")]
    spelt = {"admin.": "administrative"}
    records = [dict(zip(BANK, (spelt.get(cell, cell) for cell in row), strict=False)) for row in rows]
    return records, ["yes" if row[-1] == "2" else "no" for row in rows]


def _held_out(y: Ints) -> Mask:
    random = np.random.default_rng(SPLIT)
    test = np.zeros(len(y), np.bool_)
    for label in np.unique(y):
        rows = random.permutation(np.flatnonzero(y == label))
        test[rows[: round(TEST_SHARE * len(rows))]] = True
    return test
