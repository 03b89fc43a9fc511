"""Learning curves over spans: the learner in random order, and with each query strategy, as the loop fits and
chooses."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.data import CACHE
from benchmarks.span_sets import SpanSet
from ml_backend.core import registry
from ml_backend.core.arrays import Fit, Floats, Ints, Pool, Tensors, TrainingSet
from ml_backend.core.ports import TextLearner
from ml_backend.core.settings import ProjectSettings
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.loop.query_selection import select_queries
from ml_backend.model.training_sample import MAX_POOL_TEXTS
from ml_backend.pool.pool_snapshot import MAX_CLUSTERS
from ml_backend.simulation.learning_curves import Measurement, append_run, read_csv
from ml_backend.simulation.replay import SEED_STRIDE

SIZES = (25, 50, 100, 200, 500)
"""Labelled sentences in random order."""
INITIAL, BATCH, BUDGET = 25, 25, 500
MAX_COMPARED_ROWS = 5000
F1, WORDS, SPANS, SECONDS = "accuracy", "words", "spans", "seconds"
"""Metrics: strict F1 on the test texts; words and spans of the labelled texts; CPU seconds of the fit."""


@dataclass(frozen=True)
class Bench:
    """A set with its learner."""

    span_set: SpanSet

    @property
    def learner(self) -> TextLearner:
        learner = registry.learner(kind_of(self.span_set.control).default_learner)
        assert isinstance(learner, TextLearner)
        return learner

    def fit(self, rows: Ints, sample: Ints, serving: Tensors | None = None) -> tuple[Fit, float]:
        """The learner fitted on some train rows, and the CPU seconds that this took.

        sample   random rows of the pool
        serving  of the serving learner, from which the fit starts
        """
        texts = self.span_set.train
        train = TrainingSet(
            texts.vectors[rows],
            texts.targets[rows],
            np.ones(len(rows), np.float32),
            self.span_set.control,
            earlier_tensors=serving,
            texts=texts.read(rows),
            pool_texts=texts.read(sample),
        )
        start_time = time.process_time()
        fit = self.learner.fit(train, 0)
        return fit, time.process_time() - start_time

    def measure(self, strategy: str, seed: int, rows: Ints, fit: Fit, seconds: float) -> Iterator[Measurement]:
        """Yields the metrics of a learner that was fitted on some train rows."""
        control, test = self.span_set.control, self.span_set.test
        every_row = np.arange(len(test.texts))
        predicted = self.learner.predict(fit.tensors, test.vectors, test.read(every_row))
        metrics = kind_of(control).simulation_metrics(control, predicted, test.targets)
        words, spans = self.span_set.train.count(rows)
        for metric, value in {F1: metrics[STRICT_F1], WORDS: words, SPANS: spans, SECONDS: seconds}.items():
            yield Measurement(strategy, seed, len(rows), metric, "", value, control.name)


def random_order(bench: Bench, seed: int) -> Iterator[Measurement]:
    """Measures fits from nothing on the first texts of a random order."""
    order = np.random.default_rng(seed).permutation(len(bench.span_set.train.texts))
    for n in SIZES:
        sample = np.sort(order[SIZES[-1] :][:MAX_POOL_TEXTS])
        yield from bench.measure("random", seed, np.sort(order[:n]), *bench.fit(np.sort(order[:n]), sample))


def active(bench: Bench, strategy: str, seed: int) -> Iterator[Measurement]:
    """Measures the learner while a strategy chooses the texts, in batches, from a random part of the train texts. Each
    fit starts from the one before."""
    texts = bench.span_set.train
    random = np.random.default_rng(seed)
    compared = np.sort(random.permutation(len(texts.texts))[:MAX_COMPARED_ROWS])
    labelled = np.isin(compared, random.choice(compared, INITIAL, replace=False))
    vectors = texts.vectors[compared]
    clustering = registry.clusterer().cut(vectors, MAX_CLUSTERS, seed)
    options = ProjectSettings().with_form_defaults("text").model_copy(update={"acquisition": strategy})
    control, fit = bench.span_set.control, None
    of_kind = kind_of(control)
    while True:
        rows = compared[labelled]
        sample = np.sort(np.random.default_rng(seed).permutation(compared)[:MAX_POOL_TEXTS])
        fit, seconds = bench.fit(rows, sample, fit.tensors if fit else None)
        yield from bench.measure(strategy, seed, rows, fit, seconds)
        if len(rows) >= BUDGET:
            return
        predicted = bench.learner.predict(fit.tensors, vectors, texts.read(compared))
        errors: Floats = np.full(len(compared), np.nan, np.float32)
        errors[labelled] = of_kind.expected_errors(control, fit.held_out, texts.targets[rows])
        pool = Pool(
            vectors, of_kind.predictions(control, predicted), labelled.copy(), ~labelled, errors, clustering=clustering
        )
        labelled[select_queries(options, pool, None, BATCH, SEED_STRIDE * seed + len(rows)).rows] = True


def run(bench: Bench, part: str, strategies: Sequence[str], seeds: int) -> list[Measurement]:
    """Runs the curves that are not in the set's file yet, seed by seed. Returns those of the strategies and seeds."""
    file = CACHE / f"spans-{bench.span_set.name}-{part}.csv"
    CACHE.mkdir(parents=True, exist_ok=True)
    finished = {(measurement.strategy, measurement.seed) for measurement in read_csv(file)}
    for seed in range(seeds):
        for strategy in strategies:
            if (strategy, seed) not in finished:
                curve = random_order(bench, seed) if part == "random" else active(bench, strategy, seed)
                append_run(file, list(curve))
                print(f"{bench.span_set.name}, {part}: {strategy}, seed {seed}", file=sys.stderr, flush=True)
    return [m for m in read_csv(file) if m.seed < seeds and m.strategy in strategies]
