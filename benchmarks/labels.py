"""`make bench-labels`: how many labels each strategy needs, beside scikit-activeml's and small-text's.

    python -m benchmarks.labels [--sets banking77 ...] [--seeds 10] [--strategies ...] [--cached] [--save]

Runs the code of `apprentice simulate`, with the same learner, vectors, initial labels and test rows for all strategies,
but without a prior from the labels' names (`make bench-teacher` has it). A peer's strategy takes the place of an
installed one. Runs are kept in the cache folder, so that an interrupted benchmark continues: delete its labels-*.csv
after a change to a strategy or the learner.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import CACHE, SETS, Row, TextSet, one_hot
from benchmarks.label_tables import DEFAULT, MIN_SEEDS, document, runs_of
from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Pool, Selection
from ml_backend.core.settings import ProjectSettings
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.simulation.learning_curves import append_run, read_csv
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate

BATCH, BUDGET = 25, 500  # the peers' margins and core-set choose as ours do: `make bench-acquisition` has their times
COLD_START = [DEFAULT, "random", "typicality"]  # also run without initial labels
OURS = [DEFAULT, "random", "margin", "badge", "k-center", "typicality"]


@dataclass(frozen=True)
class Peer:
    """Adapts a strategy of another library. `query`: (pool, free rows, k, seed) -> rows."""

    query: Callable[[Pool, Ints, int, int], Any]

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        free = np.flatnonzero(pool.available)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = np.asarray(self.query(pool, free, k, seed), np.int64)
        return Selection(rows, np.full(len(rows), np.nan, np.float32))


def _probabilities(pool: Pool) -> Floats:
    """Returns the learner's probabilities (n, c) of a pool of choices."""
    assert isinstance(pool.predictions, ChoicePredictions)
    return pool.predictions.probabilities


def skactiveml(kind: str) -> Peer:
    from skactiveml import pool as strategies
    from skactiveml.base import SkactivemlClassifier

    class Ready(SkactivemlClassifier):  # type: ignore[misc]
        """A classifier that returns the learner's probabilities of the unlabelled rows."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Ready:  # noqa: N803
            return self

        def predict_proba(self, X: Any) -> Any:  # noqa: N803
            return self.answers

    def query(pool: Pool, free: Ints, k: int, seed: int) -> Any:
        labels = np.where(pool.labelled, 0.0, np.nan)  # the strategies only check whether a label is there
        classifier_options: dict[str, Any] = {}
        if kind == "Badge":
            probabilities = _probabilities(pool)
            classifier = Ready(range(probabilities.shape[1]))
            classifier.answers = probabilities[free].astype(np.float64)
            classifier_options = {"clf": classifier, "fit_clf": False}
        strategy = getattr(strategies, kind)(random_state=seed)
        return strategy.query(pool.vectors.astype(np.float64), labels, batch_size=k, **classifier_options)

    return Peer(query)


def small_text(kind: str) -> Peer:
    from small_text import query_strategies

    class Ready:
        def __init__(self, pool: Pool) -> None:
            self._pool = pool

        def predict_proba(self, dataset: Ints) -> Any:
            return _probabilities(self._pool)[dataset]

        def embed(self, dataset: Ints, return_proba: bool = False, pbar: Any = None) -> Any:
            return (self._pool.vectors[dataset], self.predict_proba(dataset)) if return_proba else self._pool.vectors

    def query(pool: Pool, free: Ints, k: int, seed: int) -> Any:
        strategy = getattr(query_strategies, kind)()
        options = {"pbar": None} if isinstance(strategy, query_strategies.EmbeddingBasedQueryStrategy) else {}
        np.random.seed(seed % 2**32)
        labelled_rows = np.flatnonzero(pool.labelled)
        return strategy.query(
            Ready(pool), np.arange(len(pool.vectors)), free, labelled_rows, np.zeros(len(labelled_rows)), n=k, **options
        )

    return Peer(query)


PEERS: dict[str, Callable[[], Peer]] = {
    "scikit-activeml Badge": lambda: skactiveml("Badge"),
    "scikit-activeml TypiClust": lambda: skactiveml("TypiClust"),
    "small-text EmbeddingKMeans": lambda: small_text("EmbeddingKMeans"),
}


def run(text_set: TextSet, strategies: list[str], seeds: int, initial: int) -> None:
    """Runs the simulations that are not in the set's file yet, seed by seed."""
    [control] = text_set.schema.controls
    train, test = text_set.vectors()

    def labelled_pool(rows: list[Row], vectors: Floats) -> LabelledPool:
        targets = one_hot(control, [row.label for row in rows])
        return LabelledPool(vectors, {control.name: targets}, [row.group for row in rows])

    file = runs_of(text_set.name, initial)
    finished = {(measurement.strategy, measurement.seed) for measurement in read_csv(file)}
    plan = SimulationPlan(
        text_set.schema, ProjectSettings().with_form_defaults("text"), "all-MiniLM-L6-v2", initial, BATCH, BUDGET
    )
    pool, held_out = labelled_pool(text_set.train, train), labelled_pool(text_set.test, test)
    for seed in range(seeds):
        for name in strategies:
            if (name, seed) not in finished:
                append_run(file, list(simulate(plan, pool, held_out, name, seed)))
                print(f"{text_set.name} from {initial}: {name}, seed {seed}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--strategies", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cached", action="store_true", help="run nothing: tables of the runs that are there")
    parser.add_argument("--save", action="store_true", help="write the tables beside this file, under today's date")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if not options.cached:
        with registry.overridden({f"acquisition.{name}": peer for name, peer in PEERS.items()}):
            for name in options.sets:
                run(SETS[name](), options.strategies, options.seeds, BATCH)
                cold_start = [strategy for strategy in COLD_START if strategy in options.strategies]
                run(SETS[name](), cold_start, options.seeds, 0)
    if options.seeds < MIN_SEEDS and not options.cached:
        print(f"The runs are in {CACHE}; a table takes at least {MIN_SEEDS} seeds", file=sys.stderr)
        return
    text = document([SETS[name]() for name in options.sets], list(PEERS), BATCH)
    print(text)
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        Path(__file__).with_name(f"{today}-labels.md").write_text(f"# Labels needed, {today}\n\n{text}")


if __name__ == "__main__":
    main()
