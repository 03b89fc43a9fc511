"""`make bench-laat`: records with few labels and a teacher's scores of their fields.

    python -m benchmarks.laat [--seeds 20] [--tables adult ...] [--arms ...] [--save]

The tables are nine public ones with three estimates of the scores by a large language model, which may have met the
tables in training and used the documentation of spambase. 1, 5, 10 and 50 labels a class are drawn at random; the AUC
is measured on the same test rows for all arms. The fields are standardised over the unlabelled pool. TabPFN is not
among the arms: its package (9.2.0) installs, but its weights are available after a registration only. The constants
were chosen on pool rows of these tables, drawn with other seeds, on ten tables of a package and on made-up ones of
seventy fields; nothing was chosen on a test row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.arms import table
from benchmarks.data import ONE_CHOICE
from benchmarks.tables import TABLES, record_set, scored
from ml_backend.core.arrays import Attributions, DistillationData, Floats, Ints, PseudoLabels, TrainingSet
from ml_backend.core.ports import Learner
from plugins.encoders.feature_types import BOOLEAN, numbers
from plugins.encoders.tabular import TabularEncoder
from plugins.encoders.value_parsing import value_name
from plugins.learners.laat import Laat, direction
from plugins.learners.laat_paper import LaatPaper, paper_mlp

BUDGETS = (1, 5, 10, 50)
MAX_POOL_ROWS = 20_000  # for the standardisation of fields
NARROW = 0.5
"""Width of boolean columns, relative to numeric ones."""


class Table:
    """One encoded table, with the teacher's scores of its columns."""

    def __init__(self, name: str) -> None:
        record_set_ = record_set(name)
        pool = np.flatnonzero(~record_set_.test)
        pool_rows = (
            np.random.default_rng(0).choice(pool, MAX_POOL_ROWS, replace=False) if len(pool) > MAX_POOL_ROWS else pool
        )
        self.encoder = TabularEncoder(
            TabularEncoder.profile([record_set_.records[row] for row in pool_rows], record_set_.kinds)
        )
        texts = [json.dumps(record) for record in record_set_.records]
        sides = (pool_rows, np.flatnonzero(record_set_.test))
        self.pool_x, self.test_x = (self.encoder.encode([texts[row] for row in rows]) for rows in sides)
        self.pool_y, self.test_y = record_set_.y[pool_rows], record_set_.y[record_set_.test]
        self.pool_raw, self.test_raw = (raw(self.encoder, [record_set_.records[row] for row in rows]) for rows in sides)
        columns = self.encoder.columns
        lower = {field.name: field.values[0] for field in self.encoder.fields if field.kind == BOOLEAN}
        self.numbers = np.array([column.is_number for column in columns])
        field_scores = scored(record_set_.estimates, columns, lower)
        several = [not column.is_number and column.field not in lower for column in columns]
        self.teacher_scores = np.hstack([field_scores, np.zeros((len(field_scores), 1))])
        # the teacher scored the step between two values of a category
        self.scores = self.teacher_scores / np.append(np.where(several, 2 ** (1 / 3), 1.0), 1.0)
        self.width = np.append(np.where(self.numbers, 1.0, NARROW), 0.0).astype(np.float32)

    def rows(self, per_label: int, seed: int) -> Ints:
        random = np.random.default_rng(seed)
        orders = [random.permutation(np.flatnonzero(self.pool_y == label)) for label in (0, 1)]
        return np.concatenate([order[: min(per_label, *map(len, orders))] for order in orders])

    def auc(self, probabilities: Floats) -> float:
        return 100 * float(roc_auc_score(self.test_y, probabilities))


def raw(encoder: TabularEncoder, records: Sequence[Mapping[str, Any]]) -> Floats:
    """Returns the columns (n, d) without standardisation, as the published method uses them."""
    fields = {field.name: field for field in encoder.fields}
    parts = []
    for column in encoder.columns:
        values = [record.get(column.field) for record in records]
        if column.is_number:
            values_of_column = numbers(fields[column.field], values)
            parts.append(np.where(np.isnan(values_of_column), fields[column.field].centre, values_of_column))
        else:
            parts.append(np.array([value_name(value) == column.value for value in values], np.float64))
    return np.column_stack([*parts, np.zeros(len(records))]).astype(np.float32)


Arm = Callable[[Table, Ints, int], Floats]
BASE, OURS = "logistic regression", "LAAT as it should be"
Results = dict[str, dict[int, list[float]]]
"""table -> labels per class -> AUC, one per seed."""
PUBLISHED = "LAAT as published, linear", "LAAT as published, linear, columns as written"


def taught(
    scores_of: Callable[[Table, np.random.Generator], Floats], make: Callable[[], Learner] = Laat, written: bool = False
) -> Arm:
    """Returns an arm: a learner with scores from `scores_of`. `written`: on columns without standardisation."""

    def arm(t: Table, rows: Ints, seed: int) -> Floats:
        scores = scores_of(t, np.random.default_rng(seed))
        x, test_x = (t.pool_raw, t.test_raw) if written else (t.pool_x, t.test_x)
        nothing = PseudoLabels(x[:0], np.empty((0, 2), np.float32), np.zeros(0, np.float32))
        attributions = Attributions(np.stack([0 * scores, scores]).astype(np.float32), t.width)
        learner = make()
        priors = learner.distil(DistillationData(nothing, nothing, x, ONE_CHOICE, attributions), seed)
        one_hot = np.eye(2, dtype=np.float32)[t.pool_y[rows]]
        train = TrainingSet(x[rows], one_hot, np.ones(len(rows), np.float32), ONE_CHOICE, priors=priors)
        return learner.predict(learner.fit(train, seed).tensors, test_x)[:, 1]

    return arm


def shuffled(t: Table, random: np.random.Generator) -> Floats:
    return np.hstack([t.scores[:, random.permutation(t.scores.shape[1] - 1)], t.scores[:, -1:]])


def prior_alone(t: Table, rows: Ints, seed: int) -> Floats:
    covariance = np.cov(t.pool_x.astype(np.float64), rowvar=False).astype(np.float64)
    u, _ = direction(t.scores.astype(np.float64), covariance, t.width.astype(np.float64))
    return np.asarray(t.test_x @ u)


def of_sklearn(make: Callable[[int], object]) -> Arm:
    def arm(t: Table, rows: Ints, seed: int) -> Floats:
        x, test = (t.encoder.radius * x[:, :-1] for x in (t.pool_x[rows], t.test_x))
        return np.asarray(make(seed).fit(x, t.pool_y[rows]).predict_proba(test)[:, 1])  # type: ignore[attr-defined]

    return arm


ARMS: dict[str, Arm] = {
    BASE: of_sklearn(lambda _: LogisticRegression(max_iter=500)),
    "random forest": of_sklearn(lambda seed: RandomForestClassifier(200, random_state=seed)),
    "gradient boosting": of_sklearn(lambda seed: HistGradientBoostingClassifier(random_state=seed)),
    PUBLISHED[0]: taught(lambda t, _: t.teacher_scores, LaatPaper),
    PUBLISHED[1]: taught(lambda t, _: t.teacher_scores, LaatPaper, written=True),
    "LAAT as published, 100 units": taught(lambda t, _: t.teacher_scores, paper_mlp),
    "prior alone": prior_alone,
    OURS: taught(lambda t, _: t.scores),
    "control: shuffled scores": taught(shuffled),
    "control: negated scores": taught(lambda t, _: -t.scores),
    "control: no scores (anonymous columns)": taught(lambda t, _: 0 * t.scores),
}


def run(names: Sequence[str], arms: Sequence[str], seeds: int) -> dict[str, Results]:
    """Runs the arms on the tables. Returns the results by arm."""
    results: dict[str, Results] = {arm: {} for arm in arms}
    for name in names:
        t, begin = Table(name), time.monotonic()
        for arm in arms:
            results[arm][name] = {
                budget: [t.auc(ARMS[arm](t, t.rows(budget, seed), seed)) for seed in range(seeds)] for budget in BUDGETS
            }
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    return results


def pages(results: Mapping[str, Results]) -> Iterator[str]:
    names = list(next(iter(results.values())))
    yield "## AUC, mean of the tables\n"
    rows = [
        [arm, *(f"{np.mean([np.mean(by[n][budget]) for n in names]):.2f}" for budget in BUDGETS)]
        for arm, by in results.items()
    ]
    yield table(["arm", *(f"{budget} a class" for budget in BUDGETS)], rows)
    if OURS in results:
        yield f"### {OURS}\n"
        yield _by_table(names, lambda name, budget: f"{np.mean(results[OURS][name][budget]):.1f}")
    pairs = [(OURS, base) for base in PUBLISHED] + [(arm, BASE) for arm in results if arm != BASE]
    for arm, base in pairs:
        if arm in results and base in results:
            yield f"### {arm}, minus {base}\n"
            yield _by_table(names, partial(_compared, results[arm], results[base]))


def _by_table(names: Sequence[str], cell: Callable[[str, int], str]) -> str:
    return table(["table", *map(str, BUDGETS)], [[name, *(cell(name, budget) for budget in BUDGETS)] for name in names])


def _compared(first_arm: Results, second_arm: Results, name: str, budget: int) -> str:
    return _difference(first_arm[name][budget], second_arm[name][budget])


def _difference(first_arm: list[float], second_arm: list[float]) -> str:
    apart = np.subtract(first_arm, second_arm)
    return f"{apart.mean():+.1f} ± {1.96 * apart.std(ddof=1) / len(apart) ** 0.5:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--save", action="store_true", help="write the tables beside this file, under today's date")
    options = parser.parse_args()
    written = [
        f"`make bench-laat`, {options.seeds} repetitions.\n",
        *pages(run(options.tables, options.arms, options.seeds)),
    ]
    print("\n".join(written))
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        Path(__file__).with_name(f"{today}-laat.md").write_text(
            f"# Records with few labels, {today}\n\n{__doc__}\n" + "\n".join(written)
        )


if __name__ == "__main__":
    main()
