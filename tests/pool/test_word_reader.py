"""The words of texts are read from memory, from the vector cache of the pool, or from the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_word_encoder import FakeWordEncoder
from project_pools import put

from ml_backend.core.arrays import Floats
from ml_backend.core.texts import WordVectors
from ml_backend.pool import encoded_texts
from ml_backend.pool.encoded_texts import WordReader
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import Store, Vectors


class CountingEncoder(FakeWordEncoder):
    """Remembers the texts whose words it has encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded_texts: list[str] = []

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        self.encoded_texts += texts
        return super().encode_with_words(texts)


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def pool(store: Store, encoder: CountingEncoder) -> ProjectPool:
    """A pool of eight tasks, all of which are encoded."""
    pool = ProjectPool(store, 5, WordSpaceEncoder(encoder))
    pool.refresh(put(store, *range(1, 9)))
    pool.encode_missing(np.arange(8), 8)
    encoder.encoded_texts.clear()
    return pool


def read(pool: Any, *tasks: int) -> list[list[float]]:
    texts = pool.texts(np.array(tasks))
    return [words.vectors.ravel().tolist() for words in texts.words(np.arange(len(tasks)))]


def encode(*tasks: int) -> list[list[float]]:
    _, words = FakeWordEncoder().encode_with_words([f"text number {task}" for task in tasks])
    return [of_text.vectors.ravel().tolist() for of_text in words]


@pytest.mark.parametrize("is_written", [False, True], ids=["in memory", "on disk"])
def test_a_pool_and_its_snapshot_read_words_without_the_encoder(
    pool: ProjectPool, encoder: CountingEncoder, *, is_written: bool
) -> None:
    before = pool.snapshot()
    if is_written:
        pool.flush()
    for contents in (before, pool, pool.snapshot()):
        assert read(contents, 3, 1, 3) == encode(3, 1, 3)
    assert encoder.encoded_texts == []


def test_a_snapshot_does_not_open_the_vector_cache(pool: ProjectPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.flush()

    def fail(*_: object) -> None:
        raise AssertionError("the vector cache is opened")

    monkeypatch.setattr(Vectors, "__init__", fail)
    assert read(pool.snapshot(), 2) == encode(2)


def test_a_snapshot_reads_words_that_the_pool_writes_and_merges_later(pool: ProjectPool, store: Store) -> None:
    snapshot = pool.snapshot()
    pool.flush()
    for task in range(10, 30):
        pool.refresh(put(store, task))
        pool.encode_missing(np.arange(len(pool.tasks)), 1)
        pool.flush()
    assert read(snapshot, 1, 8) == encode(1, 8)


def test_words_without_a_place_in_the_cache_are_encoded_once(tmp_path: Path, encoder: CountingEncoder) -> None:
    reader = WordReader(WordSpaceEncoder(encoder), Vectors(tmp_path))
    for _ in range(3):
        [words] = reader(["text number 7"])
        assert words.vectors.ravel().tolist() == encode(7)[0]
    assert encoder.encoded_texts == ["text number 7"]


def test_words_that_are_remembered_have_a_limit(
    tmp_path: Path, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded_texts, "MAX_REMEMBERED_WORDS", 9)  # three texts
    reader = WordReader(WordSpaceEncoder(encoder), Vectors(tmp_path))
    for number in range(10):
        reader([f"text number {number}"])
        assert len(reader._remembered) <= 3
    assert len(encoder.encoded_texts) == 10


def test_texts_whose_vectors_were_damaged_on_disk_are_encoded_again(
    pool: ProjectPool, store: Store, encoder: CountingEncoder
) -> None:
    pool.flush()
    folder = store.folder / "vectors" / pool.space / "5"
    next(folder.glob("*.bounds.npy")).write_bytes(b"")
    Vectors(folder)  # another process finds the damage
    pool.refresh(pool.revision)
    assert pool.missing.all()
    pool.encode_missing(np.arange(8), 8)
    pool.flush()
    assert len(encoder.encoded_texts) == 8 and read(pool, 4) == encode(4)
    assert len(Vectors(folder)) == 8
