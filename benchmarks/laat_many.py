"""A part of `make bench-laat`: with many labels, the best kind of learner, and the kind that the default learner takes.

    python -m benchmarks.laat_many [--seeds 10] [--save]

Uses the two tables that have enough rows, with the teacher's scores as in `laat`. Labels are drawn at random from the
pool, and the AUC is measured on the same test rows for all arms. `chosen by itself` is the default learner, which takes
one of the kinds by the labels alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.arms import publish, spread, table
from benchmarks.laat import Arm, Table, of_sklearn, taught
from ml_backend.core.arrays import Fit, TrainingSet
from plugins.learners.laat import Laat
from plugins.learners.mlp import Mlp
from plugins.learners.tabular import KIND, KINDS, Tabular
from plugins.learners.trees import Trees

TABLES = ("adult", "bank")
BUDGETS = (100, 200, 400, 800, 1600)


class CountingTabular(Tabular):
    """The default learner of records, which counts the kinds that it takes in `taken`."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        fit = super().fit(train, seed)
        self.taken[list(KINDS)[int(fit.tensors[KIND][0])]] += 1
        return fit


def pages(seeds: int) -> Iterator[str]:
    for name in TABLES:
        t, watched = Table(name), CountingTabular()
        arms: dict[str, Arm] = {
            "logistic regression": of_sklearn(lambda _: LogisticRegression(max_iter=500)),
            "linear": taught(lambda t, _: t.scores, Laat),
            "a layer of units": taught(lambda t, _: t.scores, Mlp),
            "trees": taught(lambda t, _: t.scores, Trees),
            "chosen by itself": taught(lambda t, _: t.scores, lambda watched=watched: watched),  # type: ignore[misc]
        }
        lines, kinds, took = {arm: [arm] for arm in arms}, ["taken"], dict.fromkeys(arms, 0.0)
        for n in BUDGETS:
            rows = [np.random.default_rng(seed).choice(len(t.pool_y), n, replace=False) for seed in range(seeds)]
            for arm, run in arms.items():
                begin = time.process_time()
                lines[arm].append(spread([t.auc(run(t, drawn_rows, seed)) for seed, drawn_rows in enumerate(rows)]))
                took[arm] = (time.process_time() - begin) / seeds
            kinds.append(", ".join(f"{kind} {times}" for kind, times in watched.taken.most_common()))
            watched.taken.clear()
        yield f"## {name}\n"
        rounds = [[*line, f"{took[arm]:.2f}"] for arm, line in lines.items()]
        yield table(["arm", *map(str, BUDGETS), f"CPU s with {BUDGETS[-1]}"], [*rounds, [*kinds, ""]])


if __name__ == "__main__":
    publish("laat_many", "Records with many labels", 10, pages)
