"""The words of texts in the vector cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.texts import WordVectors
from ml_backend.core.types import content_key
from ml_backend.storage import Vectors, word_shards
from ml_backend.storage.vector_cleanup import drop_vectors


def words_of(number: int) -> WordVectors:
    """As many words as the number says, up to 6: their vectors are bits of any kind that are finite."""
    n = number % 7
    random = np.random.default_rng(number)
    starts = 5 * np.arange(n) + 1000 * number
    return WordVectors(starts, starts + 3, random.normal(size=(n, 4)).astype(np.float16))


def keys(*numbers: int) -> list[bytes]:
    return [content_key(f"text {number}") for number in numbers]


def add(cache: Vectors, *numbers: int) -> None:
    vectors = np.array(numbers, np.float32)[:, None]
    cache.add(keys(*numbers), vectors, [words_of(number) for number in numbers])


def assert_has(cache: Vectors, *numbers: int) -> None:
    places = cache.find(keys(*numbers))
    assert cache.read(places)[:, 0].tolist() == [*numbers]
    for number, words in zip(numbers, cache.read_words(places), strict=True):
        expected = words_of(number)
        assert words.starts.tolist() == expected.starts.tolist() and words.ends.tolist() == expected.ends.tolist()
        assert words.vectors.tobytes() == expected.vectors.tobytes()


def test_words_are_found_by_another_reader(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 3, 1, 0, 12)
    assert_has(Vectors(tmp_path), 12, 0, 1, 3, 0)


def test_words_survive_the_merging_of_shards(tmp_path: Path) -> None:
    writer = Vectors(tmp_path, fanout=3)
    for number in range(20):
        add(writer, number, number + 20)
    assert len([*tmp_path.glob("*.keys.npy")]) < 8
    assert len({len([*tmp_path.glob(f"*.{kind}.npy")]) for kind in ("keys", "vectors", "words", "bounds")}) == 1
    for reader in (writer, Vectors(tmp_path)):
        assert_has(reader, *range(40))


def test_words_of_deleted_texts_are_removed_and_the_others_stay(tmp_path: Path) -> None:
    add(Vectors(tmp_path), *range(10))
    kept = np.array(sorted(keys(*range(5))))
    assert drop_vectors(tmp_path, kept) == 5
    cache = Vectors(tmp_path)
    assert (cache.find(keys(*range(5, 10))) < 0).all()
    assert_has(cache, *range(5))
    assert len([*tmp_path.glob("*.npy")]) == 4


def test_a_shard_with_damaged_words_is_ignored(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1, 2)
    [path] = tmp_path.glob("*.bounds.npy")
    np.save(path, np.array([0, 1, 100]))
    assert (Vectors(tmp_path).find(keys(1, 2)) == -1).all()


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(1, 9)), max_size=20), st.integers(0, 5))
def test_words_come_back_as_they_were(offsets: list[tuple[int, int]], dimension: int) -> None:
    starts = np.array(sorted(start for start, _ in offsets), np.int64)
    ends = starts + 1
    vectors = np.random.default_rng(0).integers(0, 2**16, (len(starts), dimension)).astype(np.uint16).view(np.float16)
    words = word_shards.unpack(word_shards.pack(WordVectors(starts, ends, vectors)))
    n_stored = int((ends < word_shards.MAX_CHARACTERS).sum())
    assert words.starts.tolist() == starts[:n_stored].tolist() and words.ends.tolist() == ends[:n_stored].tolist()
    assert words.vectors.tobytes() == vectors[:n_stored].tobytes()
