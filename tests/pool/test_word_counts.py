"""The words of the texts of a pool are counted once for each text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from project_pools import example, put

from ml_backend.core.words import count_words
from ml_backend.pool import project_pool
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts whose words are counted."""
    texts: list[str] = []

    def record(text: str) -> int:
        texts.append(text)
        return count_words(text)

    monkeypatch.setattr(project_pool, "count_words", record)
    return texts


def counts(pool: ProjectPool, rows: Sequence[int]) -> list[int]:
    return [int(count) for count in pool.word_counts(np.array(rows, np.int64))]


def test_words_are_counted_once_and_only_where_they_are_needed(
    pool: ProjectPool, store: Store, counted: list[str]
) -> None:
    pool.refresh(put(store, 10, 20, 30))
    assert counts(pool, [2, 0]) == [3, 3]
    assert counts(pool, [0, 1, 2]) == [3, 3, 3]
    assert sorted(counted) == ["text number 10", "text number 20", "text number 30"]
    assert counts(pool, []) == []


def test_only_new_and_changed_texts_are_counted_again(pool: ProjectPool, store: Store, counted: list[str]) -> None:
    pool.refresh(put(store, 10, 20, 30))
    counts(pool, [0, 1, 2])
    counted.clear()
    store.tasks.remove(5, [20])
    store.tasks.put(5, [example(30, "it's   short!"), example(5, "")])
    pool.refresh(store.projects.ensure(5).tasks_revision)
    assert pool.tasks.tolist() == [5, 10, 30]
    assert counts(pool, [0, 1, 2]) == [0, 3, 5]
    assert sorted(counted) == ["", "it's   short!"]
