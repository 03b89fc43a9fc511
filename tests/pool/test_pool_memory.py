"""How much memory a pool takes for each task: the vector of its text, and nothing for its words."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
from fake_word_encoder import FakeWordEncoder
from project_pools import put

from ml_backend.core.arrays import Floats
from ml_backend.core.texts import WordVectors
from ml_backend.core.types import content_key
from ml_backend.pool.project_pool import MATRIX_CAPACITY, ProjectPool
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import Store

DIM, WORDS = 384, 20
TEXTS_PER_SHARD = 100
KILOBYTES_OF_WORDS = WORDS * DIM * 2 / 1000
OTHER_BYTES = 600  # of a task: its id, its content key, the row of the vector


class SilentEncoder(FakeWordEncoder):
    """Must not be asked, because the cache has all vectors."""

    @property
    def dim(self) -> int:
        return DIM

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        raise AssertionError(f"{len(texts)} texts are not in the cache")


def fill(store: Store, n: int) -> int:
    """Stores n tasks and random vectors of their texts and words; returns the revision of the tasks."""
    random, tasks = np.random.default_rng(0), np.arange(1, n + 1)
    revision = put(store, *tasks.tolist())
    cache, starts = store.vectors(5, WordSpaceEncoder(SilentEncoder()).name), np.arange(WORDS)
    for shard in np.array_split(tasks, n // TEXTS_PER_SHARD):
        words = [
            WordVectors(starts, starts + 1, random.normal(size=(WORDS, DIM)).astype(np.float16))
            for _ in range(len(shard))
        ]
        keys = [content_key(f"text number {task}") for task in shard]
        cache.add(keys, random.normal(size=(len(shard), DIM)).astype(np.float32), words)
    return revision


def bytes_after_use(store: Store, n: int) -> int:
    """The memory of a pool of n tasks that has read all vectors and, a batch at a time, all words."""
    revision, rows = fill(store, n), np.arange(n)
    tracemalloc.start()
    try:
        pool = ProjectPool(store, 5, WordSpaceEncoder(SilentEncoder()))
        pool.refresh(revision)
        assert not pool.missing.any()
        for contents in (pool, pool.snapshot()):
            for batch in np.array_split(rows, n // TEXTS_PER_SHARD):
                assert len(contents.texts(pool.tasks[batch]).words(np.arange(len(batch)))) == len(batch)
            assert contents.count_words(rows) == n * WORDS
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_the_memory_of_a_pool_does_not_grow_with_the_words_of_its_texts(store: Store) -> None:
    small, large = (bytes_after_use(store, n) for n in (400, 1200))
    of_task = (large - small) / 800
    assert of_task < MATRIX_CAPACITY * DIM * 4 + OTHER_BYTES
    assert of_task < KILOBYTES_OF_WORDS * 1000 / 5


def test_words_are_on_disk_once(store: Store) -> None:
    fill(store, 800)
    files = [path.stat().st_size for path in store.folder.rglob("*.words.npy")]
    assert sum(files) / 800 < 1.02 * WORDS * (DIM * 2 + 4) + 2
