"""Real records for the demo: breast tumours under the microscope (Wolberg, Street and Mangasarian, 1995), taken from
scikit-learn (BSD), and what a textbook says of their fields.
"""

from __future__ import annotations

import random

from ml_backend.core.types import record_text
from ml_backend.demo.texts import Question
from ml_backend.teacher.descriptions.feature_scores import BY_HAND, Features

HELD_OUT = 169
OF_CELLS = {
    "radius": (7, "from the centre of the nucleus to its edge"),
    "texture": (4, "how much the grey of the nucleus varies"),
    "perimeter": (7, "length of the edge of the nucleus"),
    "area": (7, "area of the nucleus"),
    "smoothness": (2, "how much the radius varies from place to place"),
    "compactness": (4, "perimeter squared by area: how far from round"),
    "concavity": (6, "how deep the dents of the edge are"),
    "concave points": (8, "how much of the edge is dented"),
    "symmetry": (2, "how uneven the two halves are"),
    "fractal dimension": (0, "how ragged the edge is at small scale"),
}
"""What speaks for a malignant tumour: large, uneven, dented nuclei."""
OF_SAMPLE = {"mean": (1.0, "mean of the sample"), "error": (0.4, "spread"), "worst": (1.0, "mean of the three largest")}
MALIGNANT, BENIGN = "Malignant", "Benign"


def records() -> tuple[list[Question], list[Question]]:
    """The pool and the fixed held-out set."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    names = [str(name) for name in found.feature_names]
    everything = []
    for row, target in zip(found.data.tolist(), found.target.tolist(), strict=True):
        record = dict(zip(names, row, strict=True))
        label = str(found.target_names[target]).capitalize()
        everything.append(Question(record_text(record), label, {"record": record}))
    random.Random(0).shuffle(everything)  # noqa: S311 (a fixed order, no secret)
    return everything[HELD_OUT:], everything[:HELD_OUT]


def knowledge() -> Features:
    """Descriptions and scores of all fields, as somebody who knows would write them."""
    fields, scores = {}, {}
    for cell, (score, meaning) in OF_CELLS.items():
        for sample, (part, said) in OF_SAMPLE.items():
            name = f"{cell} {sample}" if sample == "error" else f"{sample} {cell}"
            fields[name] = {"description": f"{meaning}, {said}"}
            scores[name] = round(part * score, 1)
    return {"fields": fields, "estimates": [{MALIGNANT: scores}], "by": BY_HAND}
