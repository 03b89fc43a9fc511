"""The vector cache: any process finds the vectors that were added, even if single files are damaged."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import StoreError
from ml_backend.core.types import content_key
from ml_backend.storage import Vectors
from ml_backend.storage.files import write_atomically

DIM = 8


def vector_of(key: bytes) -> Floats:
    """A vector that fp16 holds exactly."""
    return np.asarray(np.frombuffer(key[:DIM], np.uint8).astype(np.float32) / 4, np.float32)


def keys(*numbers: int) -> list[bytes]:
    return [content_key(f"text {number}") for number in numbers]


def add(vectors: Vectors, *numbers: int) -> None:
    vectors.add(keys(*numbers), np.stack([vector_of(key) for key in keys(*numbers)]))


def assert_has(vectors: Vectors, *numbers: int) -> None:
    places = vectors.find(keys(*numbers))
    assert (places >= 0).all(), [number for number, place in zip(numbers, places, strict=True) if place < 0]
    assert np.array_equal(vectors.read(places), np.stack([vector_of(key) for key in keys(*numbers)]))


def assert_lacks(vectors: Vectors, *numbers: int) -> None:
    assert (vectors.find(keys(*numbers)) == -1).all()


def test_an_empty_cache_finds_nothing(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path / "none")
    assert len(vectors) == 0
    assert_lacks(vectors, 1, 2)
    assert vectors.find([]).tolist() == []


def test_added_vectors_are_found_by_another_reader(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1, 2, 3)
    other = Vectors(tmp_path)
    assert_has(other, 3, 1, 2, 3)
    assert_lacks(other, 4)
    assert len(other) == 3


batches = st.lists(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=5), max_size=6)


@given(batches=batches, other_keys=st.lists(st.binary(min_size=16, max_size=16), max_size=5))
@hypothesis_settings(max_examples=40)
def test_after_any_additions_the_cache_has_the_vectors_of_a_dictionary(
    batches: list[list[bytes]], other_keys: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    model: dict[bytes, Floats] = {}
    vectors = Vectors(folder)
    for batch in batches:
        vectors.add(batch, np.stack([vector_of(key) for key in batch]))
        model |= {key: vector_of(key) for key in batch}
    searched = [*other_keys, *model, b"\0" * 16, b"\xff" * 16]
    for reader in (vectors, Vectors(folder)):
        assert len(reader) == len(model)
        positions = reader.find(searched)
        assert [position >= 0 for position in positions] == [key in model for key in searched]
        present = [key for key in searched if key in model]
        if present:
            assert np.array_equal(reader.read(positions[positions >= 0]), np.stack([model[key] for key in present]))


def test_a_reader_finds_all_of_several_additions(tmp_path: Path) -> None:
    writer, reader = Vectors(tmp_path), Vectors(tmp_path)
    for number in range(30):
        add(writer, number)
        assert_has(writer, *range(number + 1))
        reader.refresh()
    reader.refresh()
    assert_has(reader, *range(30))


@pytest.mark.parametrize("kind", ["keys", "vectors"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other_length"])
def test_a_damaged_shard_is_removed_and_its_vectors_can_be_added_again(tmp_path: Path, kind: str, damage: str) -> None:
    add(Vectors(tmp_path), 1, 2)
    bad = next(tmp_path.glob(f"*.{kind}.npy"))
    data = bad.read_bytes()
    if damage == "other_length":
        np.save(bad, np.load(bad)[:1])
    else:
        bad.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "text": b"garbage" * 30}[damage])
    add(Vectors(tmp_path / "elsewhere"), 3)
    for path in (tmp_path / "elsewhere").glob("*.npy"):
        path.rename(tmp_path / path.name)
    with capture_logs() as logs:
        vectors = Vectors(tmp_path)
    [message] = logs
    assert message["log_level"] == "warning" and "encoded again" in message["event"]
    assert_lacks(vectors, 1, 2)
    assert_has(vectors, 3)
    assert len([*tmp_path.glob("*.npy")]) == 2, "no file of the damaged shard is left"
    add(vectors, 1, 2)
    assert_has(vectors, 1, 2, 3)


def test_a_shard_whose_keys_are_pickled_is_ignored(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1)
    bad = next(tmp_path.glob("*.keys.npy"))
    np.save(bad, np.array([{"a": 1}], object), allow_pickle=True)
    assert_lacks(Vectors(tmp_path), 1)


def test_a_shard_that_was_cut_off_before_its_keys_is_ignored(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1)
    add(Vectors(tmp_path), 2)
    cut = next(path for path in tmp_path.glob("*.keys.npy"))
    number = 1 if bytes(np.load(cut)[0]) == keys(1)[0] else 2
    cut.unlink()
    assert_lacks(Vectors(tmp_path), number)
    assert_has(Vectors(tmp_path), 3 - number)


def test_merging_keeps_all_vectors_and_leaves_fewer_files(tmp_path: Path) -> None:
    vectors, reader = Vectors(tmp_path, fanout=4), Vectors(tmp_path, fanout=4)
    add(vectors, *range(100, 120))  # a large shard, which is not copied
    large = {path.name for path in tmp_path.glob("*.npy")}
    for number in range(17):
        add(vectors, number, number + 1)
    assert len(list(tmp_path.glob("*.keys.npy"))) <= 6
    assert large <= {path.name for path in tmp_path.glob("*.npy")}
    assert_has(vectors, *range(18), *range(100, 120))
    reader.refresh()
    assert_has(reader, *range(18), *range(100, 120))
    assert len(reader) == 38


def test_a_reader_that_still_maps_a_merged_shard_reads_on(tmp_path: Path) -> None:
    writer = Vectors(tmp_path, fanout=2)
    add(writer, 1)
    reader = Vectors(tmp_path)
    for number in range(2, 6):
        add(writer, number)
    assert len(list(tmp_path.glob("*.keys.npy"))) == 2
    assert_has(reader, 1)


@pytest.mark.parametrize("process", ["writer", "reader"])
def test_each_key_is_handled_once_and_once_more_in_each_tier(tmp_path: Path, process: str) -> None:
    """Each shard has 3 vectors. A key is handled once, and once more in each tier that it is merged into."""
    fanout, shards = 4, 90
    writer, reader = Vectors(tmp_path, fanout), Vectors(tmp_path, fanout)
    counted = {"writer": writer, "reader": reader}[process]
    for shard in range(shards):
        add(writer, *range(3 * shard, 3 * shard + 3))
        reader.refresh()
        tiers = 1 + int(np.log(3 * shard + 3) / np.log(fanout))
        assert counted.keys_handled <= (1 + tiers) * (3 * shard + 3)
        assert len(list(tmp_path.glob("*.npy"))) <= 2 * fanout * (tiers + 1), "files"
    assert_has(reader, *range(3 * shards))


def test_a_process_does_not_read_its_own_shards_again(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    for number in range(5):
        add(vectors, number)
        vectors.refresh()
    assert (vectors.keys_handled, vectors.changes) == (5, 0)


def test_a_cached_vector_is_not_written_again(tmp_path: Path) -> None:
    vectors, other = Vectors(tmp_path), Vectors(tmp_path)
    add(vectors, 1, 2)
    add(other, 2, 3, 3)
    assert sorted(len(np.load(path)) for path in tmp_path.glob("*.keys.npy")) == [1, 2]
    vectors.refresh()
    assert_has(vectors, 1, 2, 3)
    assert len(vectors) == len(other) == 3


def test_shards_of_older_releases_whose_keys_are_in_any_order_are_read_and_merged(tmp_path: Path) -> None:
    for name, numbers in (("one", [5, 3, 9, 1]), ("two", [2, 8, 7])):
        vectors = np.stack([vector_of(key) for key in keys(*numbers)]).astype(np.float16)
        np.save(tmp_path / f"{name}.vectors.npy", vectors)
        np.save(tmp_path / f"{name}.keys.npy", np.frombuffer(b"".join(keys(*numbers)), np.uint8).reshape(-1, 16))
    cache = Vectors(tmp_path, fanout=2)
    assert_has(cache, 1, 2, 3, 5, 7, 8, 9)
    add(cache, 4)
    add(cache, 6)
    assert len(list(tmp_path.glob("*.keys.npy"))) < 3
    assert_has(Vectors(tmp_path), *range(1, 10))


def test_two_writers_that_merge_at_once_lose_and_duplicate_no_vector(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write(first: int) -> None:
        try:
            vectors = Vectors(tmp_path, fanout=2)
            for number in range(first, first + 25):
                add(vectors, number)
                assert_has(vectors, *range(first, number + 1))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 25, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    vectors = Vectors(tmp_path)
    assert_has(vectors, *range(75))
    assert len(vectors) == 75
    assert {path.name.split(".")[1] for path in tmp_path.iterdir()} == {"keys", "vectors"}
    assert len(list(tmp_path.glob("*.keys.npy"))) == len(list(tmp_path.glob("*.vectors.npy")))


def test_a_shard_that_another_process_merges_as_soon_as_it_is_complete_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Vectors(tmp_path, fanout=2), Vectors(tmp_path, fanout=2)

    def write_then_let_the_other_merge(path: Path, *arguments: Any) -> None:
        write_atomically(path, *arguments)
        if path.name.endswith("keys.npy"):
            monkeypatch.undo()
            add(second, 2)
            assert not path.exists(), "the other process has merged it"

    monkeypatch.setattr("ml_backend.storage.vectors.write_atomically", write_then_let_the_other_merge)
    add(first, 1)
    assert_has(first, 1)
    assert_has(Vectors(tmp_path), 1, 2)


def test_a_merge_that_was_killed_before_the_old_shards_were_removed_duplicates_no_result(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1, 2)
    for path in list(tmp_path.glob("*.npy")):
        shutil.copy(path, tmp_path / f"again.{path.name.partition('.')[2]}")
    vectors = Vectors(tmp_path, fanout=3)
    assert_has(vectors, 1, 2)
    add(vectors, 3)
    add(vectors, 4, 5)
    assert_has(vectors, 1, 2, 3, 4, 5)
    add(vectors, 6)
    add(vectors, 7)
    assert_has(Vectors(tmp_path), *range(1, 8))


def test_files_of_a_killed_process_are_removed_an_hour_later(tmp_path: Path) -> None:
    add(Vectors(tmp_path), 1)
    leftovers = [tmp_path / ".new-abc", tmp_path / "cut.vectors.npy"]
    for path in leftovers:
        path.write_bytes(b"half")
    Vectors(tmp_path)
    assert all(path.exists() for path in leftovers), "another process may be writing them"
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 3700,) * 2)
    assert_has(Vectors(tmp_path), 1)
    assert not any(path.exists() for path in leftovers)


def test_a_full_disk_adds_nothing_and_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = Vectors(tmp_path)
    add(vectors, 1)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            add(vectors, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert_has(vectors, 1)
    add(vectors, 2)
    assert_has(vectors, 1, 2)
