"""Real records for the demo: breast tumours under the microscope (Wolberg, Street and Mangasarian, 1995).

The records are those of scikit-learn (BSD). The descriptions and scores of their fields are textbook knowledge.
"""

from __future__ import annotations

import random

from ml_backend.core.types import record_text
from ml_backend.demo.texts import DemoTask
from ml_backend.teacher.descriptions.feature_scores import BY_HAND, Features

N_HELD_OUT = 169
NUCLEUS_FEATURES = {
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
"""The score for a malignant tumour (large, uneven, dented nuclei) and the description, by feature of a nucleus."""
SAMPLE_STATISTICS = {
    "mean": (1.0, "mean of the sample"),
    "error": (0.4, "spread"),
    "worst": (1.0, "mean of the three largest"),
}
"""The factor of the score and the description, by statistic over the nuclei of a sample."""
MALIGNANT, BENIGN = "Malignant", "Benign"
CONTROL = "label"  # name of the control in `label_config_table.xml`


def load_records() -> tuple[list[DemoTask], list[DemoTask]]:
    """The tasks of the pool, and a fixed set of held-out tasks."""
    from sklearn.datasets import load_breast_cancer

    dataset = load_breast_cancer()
    fields = [str(name) for name in dataset.feature_names]
    tasks = []
    for row, target in zip(dataset.data.tolist(), dataset.target.tolist(), strict=True):
        record = dict(zip(fields, row, strict=True))
        label = str(dataset.target_names[target]).capitalize()
        tasks.append(DemoTask(record_text(record), {CONTROL: (label,)}, {"record": record}))
    random.Random(0).shuffle(tasks)  # noqa: S311 (a fixed order, no secret)
    return tasks[N_HELD_OUT:], tasks[:N_HELD_OUT]


def expert_features() -> Features:
    """Descriptions and scores of all fields, as an expert would write them."""
    fields, scores = {}, {}
    for feature, (score, description) in NUCLEUS_FEATURES.items():
        for statistic, (factor, statistic_description) in SAMPLE_STATISTICS.items():
            name = f"{feature} {statistic}" if statistic == "error" else f"{statistic} {feature}"
            fields[name] = {"description": f"{description}, {statistic_description}"}
            scores[name] = round(factor * score, 1)
    return Features(fields, {"estimates": [{MALIGNANT: scores}], "by": BY_HAND})
