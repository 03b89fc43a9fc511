"""Records of patients, for tests of table tasks. The label depends on a few of the fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from fake_label_studio import FakeLabelStudio

from ml_backend.core.arrays import FieldScores

TABLE = (
    '<View><Table name="record" value="$record"/><Choices name="label" toName="record" choice="single">'
    '<Choice value="no"/><Choice value="yes"/></Choices></View>'
)
MIXED = TABLE.replace("<View>", '<View><Text name="note" value="$note"/>')
SCORES: dict[str, FieldScores] = {"yes": {"age": 8, "smoker": 6, "city": {"Oslo": -3, "Bergen": 4}, "noise": 0}}


def draw_patient(random: np.random.Generator) -> tuple[dict[str, Any], str]:
    """Returns a record and its label: whether that person is likely to be ill."""
    record: dict[str, Any] = {
        "age": int(random.integers(18, 90)),
        "smoker": str(random.choice(["yes", "no"], p=[0.3, 0.7])),
        "city": str(random.choice(["Oslo", "Bergen"])),
        "noise": float(np.round(random.normal(), 3)),
    }
    risk = (record["age"] - 54) / 10 + 1.5 * (record["smoker"] == "yes") + 0.8 * (record["city"] == "Bergen") - 0.8
    return record, "yes" if risk + 0.5 * random.normal() > 0 else "no"


def add_patients(server: FakeLabelStudio, n: int, seed: int = 0) -> dict[int, str]:
    """Fills a project with n records. Returns the right label of each task."""
    random = np.random.default_rng(seed)
    truth: dict[int, str] = {}
    for number in range(n):
        record, label = draw_patient(random)
        note = f"{'cough and fever' if label == 'yes' else 'all well'} on day {number % 30}"
        server.add_tasks([""], record=record, note=note)
        truth[max(server.tasks)] = label
    return truth
