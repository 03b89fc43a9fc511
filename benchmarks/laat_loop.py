"""A part of `make bench-laat`: the loop on records with a teacher's scores of their fields, and without scores.

    python -m benchmarks.laat_loop [--seeds 10] [--tables adult ...] [--save]

Compares near-and-far, the default for records (chosen on sixteen other tables), the two strategies that it consists of,
cluster-uncertainty, the default for texts, and random order, each with and without scores. The default learner of
records is refitted after every STEP labels. The second table has the number of labels that each arm needs for the mean
AUC of a plain logistic regression with 100 random labels.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.arms import table
from benchmarks.data import ONE_CHOICE
from benchmarks.laat import Table
from benchmarks.tables import TABLES
from ml_backend.core import registry
from ml_backend.core.arrays import Attributions, Clustering, DistillationData, Floats, Ints, Pool, PseudoLabels, Tensors
from ml_backend.core.settings import ProjectSettings
from ml_backend.kinds.lookup import fitted_schema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.query_selection import select_queries
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.pool_predictions import with_predictions
from ml_backend.pool.pool_snapshot import MAX_CLUSTERS

START, STEP, LABELS = 4, 4, 100  # number of labels at the start, added after each fit, and at the end
POOL = 4000  # rows that are drawn from a larger pool
SHOWN = (4, 8, 20, 40, 100)  # numbers of labels in the table
PLAIN = "logistic regression, random order"
STRATEGIES = ("random", "near-and-far", "coverage", "k-center", "cluster-uncertainty")
ARMS = {
    f"{strategy}, {'with' if has_scores else 'without'} scores": (strategy, has_scores)
    for has_scores in (False, True)
    for strategy in STRATEGIES
}
SCHEMA = read_schema(
    '<View><Table name="r" value="$r"/><Choices name="label" toName="r"><Choice value="no"/><Choice value="yes"/>'
    "</Choices></View>"
)
Curves = dict[str, list[list[float]]]
"""By arm, for each seed the AUC, in percent, after each STEP."""


def simulated(t: Table, seeds: int) -> Curves:
    rows = np.random.default_rng(0).permutation(len(t.pool_x))[:POOL]
    x, y = t.pool_x[rows], t.pool_y[rows]
    clustering = registry.clusterer().cut(x, MAX_CLUSTERS, 0)
    nothing = PseudoLabels(x[:0], np.empty((0, 2), np.float32), np.empty(0, np.float32))
    priors = {
        has_scores: registry.learner("tabular").distil(
            DistillationData(
                nothing,
                nothing,
                x,
                ONE_CHOICE,
                Attributions(np.stack([0 * t.scores, has_scores * t.scores]), t.width),
            ),
            0,
        )
        for has_scores in (False, True)
    }
    curves: Curves = {arm: [] for arm in (PLAIN, *ARMS)}
    for seed in range(seeds):
        start = np.random.default_rng(seed).permutation(len(x))
        pool_rows = LabelledRows(x, y, clustering, start[:START])
        curves[PLAIN].append([_plain(t, x[start[:n]], y[start[:n]]) for n in range(START, LABELS + 1, STEP)])
        for arm, (strategy, has_scores) in ARMS.items():
            curves[arm].append(list(_curve(t, pool_rows, strategy, priors[has_scores], seed)))
    return curves


def _plain(t: Table, x: Floats, y: Ints) -> float:
    if len(np.unique(y)) < 2:
        return 50.0
    fit = LogisticRegression(max_iter=500).fit(t.encoder.radius * x[:, :-1], y)
    return t.auc(fit.predict_proba(t.encoder.radius * t.test_x[:, :-1])[:, 1])


@dataclass(frozen=True)
class LabelledRows:
    """The pool of a run: vectors (n, d), labels (n,), the clusters, and the rows that are labelled first."""

    x: Floats
    y: Ints
    clustering: Clustering
    start: Ints


def _curve(t: Table, pool_rows: LabelledRows, strategy: str, priors: dict[str, Tensors], seed: int) -> Iterator[float]:
    x, y, clustering = pool_rows.x, pool_rows.y, pool_rows.clustering
    options, tasks, learner = ProjectSettings(acquisition=strategy), np.arange(len(x)), None
    labelled = np.zeros(len(x), np.bool_)
    labelled[pool_rows.start] = True
    while True:
        learner = _fitted(x, y, np.flatnonzero(labelled), learner, priors)
        probabilities = (
            learner.predict(SCHEMA.controls[0], t.test_x)[:, 1] if learner else np.zeros(len(t.test_x), np.float32)
        )
        yield t.auc(probabilities)
        n = int(labelled.sum())
        if n >= LABELS:
            return
        pool = Pool(x, None, labelled.copy(), ~labelled, clustering=clustering)
        pool = with_predictions(
            pool, {SCHEMA.controls[0].name: learner} if learner else {}, SCHEMA.controls, options, tasks
        )
        labelled[select_queries(options, pool, None, STEP, 1000 * seed + n).rows] = True


def _fitted(
    x: Floats, y: Ints, rows: Ints, serving: FittedModel | None, priors: dict[str, Tensors]
) -> FittedModel | None:
    targets = np.eye(2, dtype=np.float32)[y[rows]]
    snapshot = TrainingSnapshot("tabular", "records", fitted_schema(SCHEMA.controls[0]), rows, b"", targets)
    return fitted_model.fit_model(snapshot, snapshot.training_set(x[rows], priors=priors), serving, 1)[0] or serving


def pages(curves_by_table: dict[str, Curves]) -> Iterator[str]:
    budgets = list(range(START, LABELS + 1, STEP))
    yield "## AUC, mean of the tables, by labels\n"
    arms = (PLAIN, *ARMS)
    means = {
        arm: np.mean([np.mean(curves[arm], axis=0) for curves in curves_by_table.values()], axis=0) for arm in arms
    }
    rows = [[arm, *(f"{means[arm][budgets.index(n)]:.1f}" for n in SHOWN)] for arm in arms]
    yield table(["arm", *map(str, SHOWN)], rows)
    yield f"## Labels needed for the AUC of {PLAIN}, with {LABELS} labels\n"
    yield table(
        ["table", f"{PLAIN}: AUC", *ARMS],
        [
            [name, f"{np.mean(curves[PLAIN], axis=0)[-1]:.1f}", *(_needed(curves, arm, budgets) for arm in ARMS)]
            for name, curves in curves_by_table.items()
        ],
    )
    yield "## Ahead of random order: mean AUC over all budgets, points\n"
    ahead = [arm for arm in ARMS if not arm.startswith("random")]
    rows = [
        [name, *(_difference(curves[arm], curves[f"random,{arm.split(',')[1]}"]) for arm in ahead)]
        for name, curves in curves_by_table.items()
    ]
    yield table(["table", *ahead], rows)


def _difference(ours: list[list[float]], baseline: list[list[float]]) -> str:
    apart = np.mean(ours, axis=1) - np.mean(baseline, axis=1)
    return f"{apart.mean():+.1f} ± {1.96 * apart.std(ddof=1) / len(apart) ** 0.5:.1f}"


def _needed(curves: Curves, arm: str, budgets: Sequence[int]) -> str:
    target, mean = np.mean(curves[PLAIN], axis=0)[-1], np.mean(curves[arm], axis=0)
    reached = np.flatnonzero(mean >= target)
    return str(budgets[reached[0]]) if len(reached) else f"over {LABELS}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    curves: dict[str, Curves] = {}
    for name in options.tables:
        begin = time.monotonic()
        curves[name] = simulated(Table(name), options.seeds)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    text = "\n".join(pages(curves))
    print(text)
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        head = f"# Records in the loop, {today}\n\n`python -m benchmarks.laat_loop`, {options.seeds} seeds.\n\n"
        Path(__file__).with_name(f"{today}-laat-loop.md").write_text(head + text)


if __name__ == "__main__":
    main()
