"""Selection of tasks if annotators pay for the words that they read: the gain per word decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from hypothesis import given
from hypothesis import strategies as st
from plugin_overrides import OverridePlugins
from pools import clustered, make_pool
from round_fixtures import MakeRound, active, queue

from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Pool, Selection
from ml_backend.core.settings import ProjectSettings
from ml_backend.loop.query_selection import SHORTLIST, WORDS_OF_A_TASK, select_queries
from ml_backend.loop.round import run_round
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Store

STRATEGIES = sorted(registry.installed("acquisition") - {"random"})


class InOrder:
    """Selects the first free rows of the pool."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = np.flatnonzero(pool.available & ~pool.labelled)[: max(k, 0)]
        return Selection(rows, (rows / 1000).astype(np.float32), "in order")


@pytest.fixture
def in_order(override_plugins: OverridePlugins) -> None:
    override_plugins({"acquisition.margin": InOrder})


def options(acquisition: str = "margin", balance: float = 0.0) -> ProjectSettings:
    return ProjectSettings(acquisition=acquisition, balance=balance)


def word_counts(n: int, seed: int = 0) -> Ints:
    return np.random.default_rng(seed).integers(1, 60, n)


@given(words=st.lists(st.integers(0, 200), min_size=1, max_size=60), k=st.integers(-1, 20))
@pytest.mark.usefixtures("in_order")
def test_the_rows_with_the_highest_gain_per_word_are_selected(words: list[int], k: int) -> None:
    n, m = len(words), min(len(words), SHORTLIST * max(k, 0))
    none = np.zeros(n, np.bool_)
    pool = Pool(np.eye(n, 12, dtype=np.float32), None, none, ~none, words=np.array(words))
    selection = select_queries(options(), pool, None, k, 0)
    gains = {row: (1 - row / m) / (words[row] + WORDS_OF_A_TASK) for row in range(m)}
    expected = sorted(gains, key=lambda row: (-gains[row], row))[: max(k, 0)]
    assert selection.rows.tolist() == expected
    assert selection.uncertainty.tolist() == pytest.approx([row / 1000 for row in expected])
    for chosen in expected:
        assert not any(row < chosen and words[row] <= words[chosen] for row in gains if row not in expected)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_reads_fewer_words(name: str) -> None:
    pool = clustered(make_pool(200, errors=True, free=1.0), np.arange(200) % 5, 5)
    words = word_counts(200)
    for seed in range(3):
        plain = select_queries(options(name), pool, None, 15, seed)
        selection = select_queries(options(name), replace(pool, words=words), None, 15, seed)
        assert len({*selection.rows.tolist()}) == 15 and pool.available[selection.rows].all()
        assert words[selection.rows].sum() < words[plain.rows].sum()
        assert selection.ground == plain.ground
        again = select_queries(options(name), replace(pool, words=words), None, 15, seed)
        assert again.rows.tolist() == selection.rows.tolist()


@pytest.mark.parametrize(
    "name", ["margin", "entropy", "least-confidence", "cluster-uncertainty", "coverage", "k-center"]
)
def test_with_equally_long_texts_the_order_is_that_of_the_strategy(name: str) -> None:
    pool = make_pool(80)
    plain = select_queries(options(name), pool, None, 10, 0)
    selection = select_queries(options(name), replace(pool, words=np.full(80, 7)), None, 10, 0)
    assert selection.rows.tolist() == plain.rows.tolist()


def test_random_order_stays_a_random_sample() -> None:
    pool = make_pool(80)
    plain = select_queries(options("random"), pool, None, 10, 0)
    assert select_queries(options("random"), replace(pool, words=word_counts(80)), None, 10, 0).rows.tolist() == (
        plain.rows.tolist()
    )


@pytest.mark.usefixtures("in_order")
def test_the_places_of_weak_groups_are_filled_by_the_gain_per_word_too() -> None:
    pool = make_pool(120, labelled=0.3, free=1.0)
    group = np.arange(120) // 40
    wrong = np.where(pool.labelled, np.where(group == 2, 0.8, 0.1), np.nan).astype(np.float32)
    pool = replace(pool, errors=wrong, words=np.where(np.arange(120) % 2, 40, 4))
    rows = select_queries(options(balance=0.5), pool, group, 8, 0).rows
    assert (group[rows] == 2).sum() == 4 and (rows % 2 == 0).all()


def test_all_rows_are_selected_if_there_are_no_more() -> None:
    pool = replace(make_pool(30), words=word_counts(30))
    rows = select_queries(options("entropy"), pool, None, 100, 0).rows
    assert sorted(rows.tolist()) == np.flatnonzero(pool.available).tolist()


def test_the_queue_of_a_project_prefers_short_texts_and_is_published_again_if_the_setting_changes(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    add_labelled_tasks(server, 60)
    for place, task in enumerate(server.tasks.values()):
        task["data"]["text"] += " and so on" * (10 * (place % 2))
    options(queue_size=12, audit_share=0.0, acquisition="coverage")
    run_round(make_round(server))
    plain = queue(server)
    options(queue_size=12, audit_share=0.0, acquisition="coverage", cost="words")
    run_round(make_round(server))
    words = {task: len(body["data"]["text"].split()) for task, body in server.tasks.items()}
    assert active(store).number == 2
    assert len(queue(server)) == 12
    assert sum(words[task] for task in queue(server)) < sum(words[task] for task in plain)
    assert "cost" not in remarks_text(active(store).remarks)
