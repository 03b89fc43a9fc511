"""The paper's selection, compared with an example in its notation, and with its description in loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import clustered, make_pool

from ml_backend.core.arrays import Floats, InclusiveBy, Pool
from plugins.acquisition.clusters import DEFAULT_CLUSTERS, cut
from plugins.acquisition.inclusive import Inclusive

FAILURES = [0.9, 0.6, 0.2, 0.55, 0.3, 0.1, 0.7]
"""R(G(x), H): the probability that the attribute fails in the text that the learner writes for each candidate x."""
CLUSTERS = [0, 0, 0, 1, 1, 1, 2]


def pool_of(failures: Sequence[float], clusters: Sequence[int], by: InclusiveBy = "attribute-least") -> Pool:
    pool = make_pool(len(failures), labelled=0.0, free=1.0)
    return replace(
        clustered(pool, np.array(clusters), max(clusters) + 1),
        draft_failures=np.array(failures, np.float32),
        inclusive_by=by,
    )


def softmax(scores: Sequence[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def test_the_example_by_hand_where_the_attribute_is_least_satisfied() -> None:
    """Six places for three clusters: a quota of two each. Cluster 2 has a single candidate, so that one place is left:
    it goes to cluster 0, whose candidates are the most informative."""
    e = softmax(FAILURES[:3])
    assert [round(value, 2) for value in e] == [0.45, 0.33, 0.22]
    chosen = Inclusive().select(pool_of(FAILURES, CLUSTERS), 6, 0).rows.tolist()
    assert chosen == [0, 6, 3, 1, 4, 2]


def test_the_example_by_hand_where_the_attribute_model_is_least_sure() -> None:
    """1 - |2p - 1| is 0.2, 0.8, 0.4 in cluster 0, 0.9, 0.6, 0.2 in cluster 1, and 0.6 in cluster 2."""
    chosen = Inclusive().select(pool_of(FAILURES, CLUSTERS, "attribute-unsure"), 6, 0).rows.tolist()
    assert chosen == [3, 1, 6, 4, 2, 5]


@given(
    failures=st.lists(st.integers(0, 1000), min_size=12, max_size=40, unique=True),
    clusters=st.integers(1, 4),
    k=st.integers(1, 12),
)
@settings(max_examples=40, deadline=None)
def test_each_cluster_gives_its_quota_of_the_highest_e(failures: list[int], clusters: int, k: int) -> None:
    scores = [failure / 1000 for failure in failures]
    assignment = [row % clusters for row in range(len(scores))]
    chosen = Inclusive().select(pool_of(scores, assignment), k, 0).rows.tolist()
    for cluster in range(clusters):
        inside = [row for row in range(len(scores)) if assignment[row] == cluster]
        e = dict(zip(inside, softmax([scores[row] for row in inside]), strict=True))
        of_cluster = [row for row in chosen if row in e]
        if k <= len(scores) // clusters:  # then no cluster runs out of candidates
            assert k // clusters <= len(of_cluster) <= -(-k // clusters)
        assert of_cluster == sorted(inside, key=lambda row: -e[row])[: len(of_cluster)]


@pytest.mark.parametrize("judged", [False, True])
def test_without_a_judge_or_by_choice_the_doubt_of_the_learner_ranks(judged: bool) -> None:
    pool = pool_of(FAILURES, [0] * 7, "doubt")
    pool = pool if judged else replace(pool, draft_failures=None, inclusive_by="attribute-least")
    selection = Inclusive().select(pool, 7, 0)
    doubts: Floats = pool.uncertainty("margin", np.arange(7))
    assert selection.rows.tolist() == np.argsort(-doubts, kind="stable").tolist()


def test_a_pool_without_clusters_is_clustered_first() -> None:
    pool = make_pool(120)
    clustering = cut(pool.vectors, DEFAULT_CLUSTERS, 5)
    rows = Inclusive().select(pool, 20, 5).rows.tolist()
    assert rows == Inclusive().select(replace(pool, clustering=clustering), 20, 5).rows.tolist()
