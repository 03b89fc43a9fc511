"""The words of texts in the vector cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ml_backend.core.exceptions import StoreError
from ml_backend.core.texts import WordVectors
from ml_backend.core.types import content_key
from ml_backend.storage import Vectors, word_shards
from ml_backend.storage.vector_cleanup import drop_vectors
from ml_backend.storage.vectors import VectorReader


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


def assert_has(cache: VectorReader, *numbers: int) -> None:
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


@pytest.mark.parametrize(
    "bounds", [[0, 1, 100], [0, 3], [0, 1, 2, 3], [0, 3, 2], [1, 2, 3]], ids=["end", "short", "long", "order", "start"]
)
def test_a_shard_with_damaged_bounds_is_removed_and_can_be_written_again(tmp_path: Path, bounds: list[int]) -> None:
    add(Vectors(tmp_path), 1, 2)
    [path] = tmp_path.glob("*.bounds.npy")
    np.save(path, np.array(bounds))
    assert_is_removed(tmp_path)


@pytest.mark.parametrize("kind", ["words", "bounds"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_a_shard_with_a_damaged_file_of_words_is_removed_and_can_be_written_again(
    tmp_path: Path, kind: str, damage: str
) -> None:
    add(Vectors(tmp_path), 1, 2)
    [path] = tmp_path.glob(f"*.{kind}.npy")
    data = path.read_bytes()
    path.write_bytes({"missing": b"", "empty": b"", "cut": data[:-1], "text": b"garbage" * 30}[damage])
    if damage == "missing":
        path.unlink()
    assert_is_removed(tmp_path)


def assert_is_removed(folder: Path) -> None:
    """The shard of the texts 1 and 2 is damaged."""
    with capture_logs() as logs:
        cache = Vectors(folder)
    [message] = logs
    assert message["log_level"] == "warning" and "encoded again" in message["event"]
    assert not [*folder.glob("*.npy")] and (cache.find(keys(1, 2)) == -1).all()
    add(cache, 1, 2)
    assert_has(Vectors(folder), 1, 2)


def test_a_damaged_shard_is_removed_with_the_vectors_of_deleted_texts(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1, 2)
    next(tmp_path.glob("*.words.npy")).write_bytes(b"")
    assert drop_vectors(tmp_path, np.array(keys(1, 2))) == 0
    assert not [*tmp_path.glob("*.npy")]


def test_a_file_of_words_that_is_cut_off_later_is_reported(tmp_path: Path) -> None:
    cache = Vectors(tmp_path)
    add(cache, 6)
    os.truncate(next(tmp_path.glob("*.words.npy")), 150)
    with pytest.raises(StoreError, match="cut off"):
        cache.read_words(cache.find(keys(6)))


def test_a_reader_that_has_opened_a_merged_shard_reads_on(tmp_path: Path) -> None:
    writer = Vectors(tmp_path, fanout=2)
    add(writer, 1)
    reader, snapshot = Vectors(tmp_path), writer.snapshot()
    for number in range(2, 6):
        add(writer, number)
    assert_has(reader, 1)
    assert_has(snapshot, 1)
    assert snapshot.find(keys(2)) == -1, "a snapshot stays as it was"


def test_words_that_are_read_or_merged_are_no_memory_of_the_process(tmp_path: Path) -> None:
    """A table of 40 MB, of which no more than one text at a time is in memory."""
    cache = Vectors(tmp_path, fanout=2)
    vectors = np.zeros((1000, 1000), np.float16)
    words = WordVectors(np.arange(1000), np.arange(1000) + 1, vectors)
    for number in range(20):
        cache.add(keys(number), np.ones((1, 1), np.float32), [words])
    before = mapped_bytes()
    for number in range(20):
        assert len(cache.read_words(cache.find(keys(number)))[0]) == 1000
    assert mapped_bytes() - before < 5e6
    maps = Path("/proc/self/maps").read_text()
    assert ".vectors.npy" in maps and ".words.npy" not in maps


def mapped_bytes() -> int:
    """The bytes of files that count as memory of this process."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile")]
    return int(line.split()[1]) * 1024


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(1, 9)), max_size=20), st.integers(0, 5))
def test_words_come_back_as_they_were(offsets: list[tuple[int, int]], dimension: int) -> None:
    starts = np.array(sorted(start for start, _ in offsets), np.int64)
    ends = starts + 1
    vectors = np.random.default_rng(0).integers(0, 2**16, (len(starts), dimension)).astype(np.uint16).view(np.float16)
    words = word_shards.unpack(word_shards.pack(WordVectors(starts, ends, vectors)))
    n_stored = int((ends < word_shards.MAX_CHARACTERS).sum())
    assert words.starts.tolist() == starts[:n_stored].tolist() and words.ends.tolist() == ends[:n_stored].tolist()
    assert words.vectors.tobytes() == vectors[:n_stored].tobytes()
