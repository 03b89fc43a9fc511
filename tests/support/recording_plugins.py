"""A learner and a query strategy that do what the installed ones do, and record it. A test may set their hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from plugin_overrides import OverridePlugins

from ml_backend.core import registry
from ml_backend.core.arrays import DistillationData, Fit, Floats, Pool, Selection, Tensors, TrainingSet
from ml_backend.core.ports import Acquisition, Learner


class RecordingLearner:
    """
    trained        the training set of each fit
    threads        the names of the threads that have distilled
    before_fit     called before each fit; may raise
    before_distil  called before each distillation; may raise
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.trained: list[TrainingSet] = []
        self.threads: set[str] = set()
        self.before_fit: Callable[[], object] = lambda: None
        self.before_distil: Callable[[], object] = lambda: None

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        self.trained.append(train)
        self.before_fit()
        return self._learner.fit(train, seed)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        self.threads.add(threading.current_thread().name)
        self.before_distil()
        return self._learner.distil(data, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        return self._learner.predict(tensors, vectors)


class RecordingStrategy:
    """
    selections     the pool and the selection of each call
    threads        the names of the threads that have called it
    before_select  called before each selection; may raise
    """

    def __init__(self, strategy: Acquisition) -> None:
        self._strategy = strategy
        self.selections: list[tuple[Pool, Selection]] = []
        self.threads: set[str] = set()
        self.before_select: Callable[[], object] = lambda: None

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        self.threads.add(threading.current_thread().name)
        self.before_select()
        self.selections.append((pool, self._strategy.select(pool, k, seed)))
        return self.selections[-1][1]


@pytest.fixture
def logistic(override_plugins: OverridePlugins) -> RecordingLearner:
    """Takes the place of the default learner of texts."""
    learner = RecordingLearner(registry.learner("logistic"))
    override_plugins({"learner.logistic": lambda: learner})
    return learner


@pytest.fixture
def teacher_strategy(override_plugins: OverridePlugins) -> RecordingStrategy:
    """Takes the place of the default query strategy for tasks that the teacher labels."""
    strategy = RecordingStrategy(registry.acquisition("coverage"))
    override_plugins({"acquisition.coverage": lambda: strategy})
    return strategy
