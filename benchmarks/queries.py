"""Prepares one query of each strategy, ours and the peers', for timing.

A peer's query is made in the peers' environment, where nothing of ours is installed: all libraries are imported where
they are used. Peers get a classifier that returns stored probabilities, so that no fit is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.mixture import CLASSES, CLUSTERS, SEED, Data

OURS, SKACTIVEML, SMALL_TEXT = "ours", "scikit-activeml", "small-text"
CUT = f"(cutting the pool into {CLUSTERS} clusters, once in many rounds)"
PEERS = {
    "random": {SKACTIVEML: "RandomSampling", SMALL_TEXT: "RandomSampling"},
    "least-confidence": {SKACTIVEML: "UncertaintySampling:least_confident", SMALL_TEXT: "LeastConfidence"},
    "margin": {SKACTIVEML: "UncertaintySampling:margin_sampling", SMALL_TEXT: "BreakingTies"},
    "entropy": {SKACTIVEML: "UncertaintySampling:entropy", SMALL_TEXT: "PredictionEntropy"},
    "k-center": {SKACTIVEML: "CoreSet", SMALL_TEXT: "GreedyCoreset"},
    "typicality": {SKACTIVEML: "TypiClust"},
    "badge": {SKACTIVEML: "Badge", SMALL_TEXT: "BADGE"},
    "cluster-uncertainty": {SKACTIVEML: "MaxHerding"},  # the same herding, without the uncertainty
    "(none of ours)": {SKACTIVEML: "ProbCover", SMALL_TEXT: "EmbeddingKMeans"},
}
ALL_PAIRS = {"MaxHerding", "ProbCover"}  # they keep n x n distances: 40 GB for 100,000 tasks


def ours(name: str, data: Data, batch: int) -> Callable[[], object]:
    from ml_backend.core import registry
    from ml_backend.core.arrays import Clustering, Pool
    from ml_backend.kinds.choices.predictions import ChoicePredictions

    if name == CUT:
        return lambda: registry.clusterer().cut(data.vectors, CLUSTERS, SEED)
    errors = np.where(data.labelled, 1 - data.probabilities[np.arange(len(data.classes)), data.classes], np.nan)
    pool = Pool(
        vectors=data.vectors,
        predictions=ChoicePredictions(data.probabilities, multiple=False),
        labelled=data.labelled,
        available=~data.labelled,
        errors=errors.astype(np.float32),
        clustering=Clustering(data.centroids, data.assignment),
    )
    return lambda: registry.acquisition(name).select(pool, batch, SEED)


def scikit_activeml(name: str, data: Data, batch: int) -> Callable[[], object]:
    from skactiveml import pool
    from skactiveml.base import SkactivemlClassifier

    class Ready(SkactivemlClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Ready:  # noqa: N803
            return self

        def predict_proba(self, X: Any) -> Any:  # noqa: N803
            return probabilities

    probabilities = data.probabilities[~data.labelled]
    labels = np.where(data.labelled, data.classes, np.nan)
    kind, _, method = name.partition(":")
    options: dict[str, Any] = {"method": method} if method else {}
    options |= {"n_classes": CLASSES} if kind == "ProbCover" else {}
    classifier_options = (
        {"clf": Ready(range(CLASSES)), "fit_clf": False} if kind in ("UncertaintySampling", "Badge") else {}
    )

    def query() -> object:
        strategy = getattr(pool, kind)(
            random_state=SEED, **options
        )  # a new instance, because ProbCover caches its distances
        return strategy.query(data.vectors, labels, batch_size=batch, **classifier_options)

    return query


def small_text(name: str, data: Data, batch: int) -> Callable[[], object]:
    from small_text import query_strategies

    class Ready:
        def predict_proba(self, dataset: Any) -> Any:
            return data.probabilities

        def embed(self, dataset: Any, return_proba: bool, pbar: Any) -> Any:
            return data.vectors, data.probabilities  # of all rows: those without a label are the first

    class Texts:
        def __getitem__(self, rows: Any) -> Texts:
            return self

    if name == "BADGE":
        from small_text.integrations.pytorch.query_strategies import BADGE

        strategy = BADGE(CLASSES)
    else:
        strategy = getattr(query_strategies, name)()
    options = {"pbar": None} if isinstance(strategy, query_strategies.EmbeddingBasedQueryStrategy) else {}
    free, labelled_rows = np.flatnonzero(~data.labelled), np.flatnonzero(data.labelled)
    np.random.seed(SEED)
    return lambda: strategy.query(
        Ready(), Texts(), free, labelled_rows, data.classes[labelled_rows], n=batch, **options
    )
