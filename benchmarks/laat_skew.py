"""A part of `make bench-laat`: training rows that lack the positives of one group, as in section 5 of the paper.

    python -m benchmarks.laat_skew [--seeds 20] [--save]

The training rows have no positives of one group (diabetes: under 50; indian_liver: women). The AUC is measured on all
test rows and on those of the group, for which only the teacher's scores can tell positives from negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.arms import publish, spread, table
from benchmarks.laat import ARMS, Table
from benchmarks.tables import record_set
from ml_backend.core.arrays import Ints

Group = Callable[[Mapping[str, Any]], bool]
SKEWS: dict[str, tuple[str, Group]] = {
    "diabetes": ("under 50", lambda record: float(record["Age"]) < 50),
    "indian_liver": ("women", lambda record: str(record["Gender"]).lower() == "female"),
}
BUDGETS = (5, 10, 25)
SHOWN = (
    "logistic regression", "random forest", "gradient boosting", "LAAT as published, linear", "LAAT as it should be",
    "control: no scores (anonymous columns)", "control: negated scores",
)  # fmt: skip


def skewed(t: Table, removed: Ints, budget: int, seed: int) -> Ints:
    """Draws training rows of both classes, without the removed rows."""
    random = np.random.default_rng(seed)
    remaining = np.setdiff1d(np.arange(len(t.pool_y)), removed)
    orders = [random.permutation(remaining[t.pool_y[remaining] == label]) for label in (0, 1)]
    return np.concatenate([order[: min(budget, *map(len, orders))] for order in orders])


def pages(seeds: int) -> Iterator[str]:
    for name, (skew, is_in) in SKEWS.items():
        record_set_, t = record_set(name), Table(name)
        rows = np.flatnonzero(~record_set_.test), np.flatnonzero(record_set_.test)
        pool, test = (np.array([is_in(record_set_.records[row]) for row in some]) for some in rows)
        removed = np.flatnonzero(pool & (t.pool_y == 1))
        yield f"## {name}: no positives {skew} in training ({len(removed)} of {int(t.pool_y.sum())} are gone)\n"
        heads = [f"{budget} a class: {of}" for budget in BUDGETS for of in ("all", skew)]
        lines = []
        for arm in SHOWN:
            cells: list[str] = []
            for budget in BUDGETS:
                predictions = [ARMS[arm](t, skewed(t, removed, budget, seed), seed) for seed in range(seeds)]
                cells.append(spread([t.auc(predicted) for predicted in predictions]))
                cells.append(
                    spread([100 * float(roc_auc_score(t.test_y[test], predicted[test])) for predicted in predictions])
                )
            lines.append([arm, *cells])
        yield table(["arm", *heads], lines)


if __name__ == "__main__":
    publish("laat_skew", "Skewed training", 20, pages)
