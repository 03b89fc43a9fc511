"""The vector cache of one feature space: fp16 shards on disk, indexed by content key (see `vector_shards`).

Shards are never changed, and any process may add one.

As in a log-structured merge tree (O'Neil et al., 1996), `FANOUT` shards of one size tier are merged into one of a
higher tier: each vector is copied once in each tier, and each of the log(n) tiers has at most `FANOUT` shards. One
process merges at a time. A vector that is in two shards is read from one of them.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.exceptions import StoreError
from ml_backend.core.texts import Halves, WordVectors
from ml_backend.core.types import CONTENT_KEY_BYTES
from ml_backend.storage import word_shards
from ml_backend.storage.files import TEMPORARY, folder_lock, remove_old, write_atomically
from ml_backend.storage.vector_shards import (
    FILES,
    KEYS,
    VECTORS,
    Keys,
    Shard,
    map_vectors,
    open_shard,
    remove_shard,
    shard_file,
    shard_names,
)
from ml_backend.storage.word_shards import ShardWords

FANOUT = 8
ROWS_PER_COPY = 8192  # in memory while shards are merged
CLOCK_TICK_SECONDS = 1.0  # two changes of a folder within so long may leave the same modification time
MAX_LISTINGS = 5  # of the folder, while another process removes merged shards


class VectorReader:
    """Reads the vectors of some shards, which stay the same. Any thread may use it."""

    def __init__(self, shards: Mapping[str, Shard]) -> None:
        self._shards = shards  # by name, the largest first

    def __len__(self) -> int:
        """The number of vectors. A vector that two processes added at once counts twice until its shards are merged."""
        return sum(map(len, self._shards.values()))

    def snapshot(self) -> VectorReader:
        """Returns a reader of the vectors that there are now. Takes constant time."""
        return VectorReader(self._shards)

    def find(self, keys: Sequence[bytes]) -> Ints:
        """Returns the positions (n,) int64 of the keys' vectors, -1 for a key without a vector. Positions are valid
        until the next `refresh` or `add`."""
        searched = np.array(keys, f"S{CONTENT_KEY_BYTES}")
        order = np.argsort(searched)  # a search in ascending order makes better use of the processor's cache
        ordered = searched[order]
        ordered_positions = np.full(len(searched), -1, np.int64)
        offset = 0
        for shard in self._shards.values():
            missing = np.flatnonzero(ordered_positions < 0)
            at = np.minimum(np.searchsorted(shard.keys, ordered[missing]), len(shard) - 1)
            ordered_positions[missing] = np.where(shard.keys[at] == ordered[missing], offset + at, -1)
            offset += len(shard)
        positions = np.empty_like(ordered_positions)
        positions[order] = ordered_positions
        return positions

    def read(self, positions: Ints) -> Floats:
        """Returns the vectors (n, d) float32 at positions (n,) that `find` returned; n must not be 0."""
        shards = list(self._shards.values())
        offsets = np.cumsum([0, *map(len, shards)])
        shard_numbers = np.searchsorted(offsets, positions, side="right") - 1
        vectors = np.empty((len(positions), shards[0].vectors.shape[1]), np.float32)
        for number in np.unique(shard_numbers):
            in_shard, shard = shard_numbers == number, shards[number]
            vectors[in_shard] = shard.vectors[shard.rows[positions[in_shard] - offsets[number]]]
        return vectors

    def read_words(self, positions: Ints) -> list[WordVectors]:
        """Returns the words of the texts (n,) at positions that `find` returned, in a feature space with vectors of
        words. Raises StoreError if a file has been cut off since it was opened."""
        return [word_shards.unpack(words.rows(text)) for words, text in self._places_of_words(positions)]

    def count_words(self, positions: Ints) -> int:
        """Returns the number of words in the texts (n,) at positions that `find` returned, 0 in a feature space without
        vectors of words."""
        return sum(words.count(text) for words, text in self._places_of_words(positions))

    def _places_of_words(self, positions: Ints) -> Iterator[tuple[ShardWords, int]]:
        """Yields the words of the shard, and the number of the text in it, for each text at positions (n,)."""
        shards = list(self._shards.values())
        offsets = np.cumsum([0, *map(len, shards)])
        numbers = np.searchsorted(offsets, positions, side="right") - 1
        for number, position in zip(numbers.tolist(), positions.tolist(), strict=True):
            shard = shards[number]
            if shard.words is not None:
                yield shard.words, int(shard.rows[position - offsets[number]])


class Vectors(VectorReader):
    """The vectors of one project in one encoder's feature space.

    changes       number of times that other processes' changes of the shards were read
    keys_handled  number of keys that were read, sorted or copied so far, as a measure of the cache's cost
    """

    def __init__(self, folder: Path, fanout: int = FANOUT) -> None:
        super().__init__({})
        self._folder = folder
        self._fanout = fanout
        self._modified_ns: int | None = None  # modification time of the folder at the last listing
        self.changes = self.keys_handled = 0
        self._remove_leftovers()
        self.refresh()

    def refresh(self) -> None:
        """Reads the shards that other processes have written. Removes a damaged shard, so that its texts are encoded
        again."""
        names = set(self._shards)
        for _ in range(MAX_LISTINGS):
            modified_ns = self._folder.stat().st_mtime_ns if self._folder.is_dir() else 0
            if modified_ns == self._modified_ns:
                break
            self._modified_ns = modified_ns if time.time() - modified_ns / 1e9 > CLOCK_TICK_SECONDS else None
            listed = shard_names(self._folder)
            new = {name: open_shard(self._folder, name) for name in sorted(listed - set(self._shards))}
            self.keys_handled += sum(len(shard) for shard in new.values() if shard is not None)
            kept = {name: shard for name, shard in self._shards.items() if name in listed}
            self._set_shards(kept | {name: shard for name, shard in new.items() if shard is not None})
            if all(shard is not None or self._file(name, KEYS).exists() for name, shard in new.items()):
                break
        self.changes += set(self._shards) != names

    def add(self, keys: Sequence[bytes], vectors: Floats, words: Sequence[WordVectors] | None = None) -> None:
        """Writes the vectors that are not in the cache as one shard, with the words of the texts in a feature space
        that has them. Raises StoreError, and then adds nothing."""
        self.refresh()
        unique_keys, rows = np.unique(np.array(keys, f"S{CONTENT_KEY_BYTES}"), return_index=True)
        self.keys_handled += len(keys)
        is_new = self.find(unique_keys.tolist()) < 0
        if not is_new.any():
            return
        new_vectors = vectors[rows[is_new]].astype(np.float16)
        word_rows = None if words is None else [word_shards.pack(words[row]) for row in rows[is_new]]
        written_words = None if word_rows is None else ([*map(len, word_rows)], word_rows)
        self._write(
            unique_keys[is_new], new_vectors.shape[1], lambda file: file.write(new_vectors.tobytes()), written_words
        )
        while self._full_tier():
            try:
                with folder_lock(self._folder):
                    self.refresh()  # another process may have merged meanwhile
                    self._merge(self._full_tier())
            except (BlockingIOError, StoreError):
                return  # another process merges, or the disk is full; the new shard stays

    def _full_tier(self) -> list[str]:
        """Returns the names of the shards of the lowest tier with at least `fanout` shards, [] if there is none. A
        shard of n vectors is in tier floor(log n), with the base `fanout`."""
        tiers: dict[int, list[str]] = {}
        for name, shard in self._shards.items():
            tiers.setdefault(int(math.log(len(shard), self._fanout) + 1e-9), []).append(name)
        return next((names for _, names in sorted(tiers.items()) if len(names) >= self._fanout), [])

    def _merge(self, names: Sequence[str]) -> None:
        """Merges several shards into one. A reader that has opened an old one can use it until its next refresh."""
        if not names:
            return
        offsets = dict(zip(self._shards, np.cumsum([0, *map(len, self._shards.values())]).tolist(), strict=False))
        keys, first = np.unique(np.concatenate([self._shards[name].keys for name in names]), return_index=True)
        positions = np.concatenate([offsets[name] + np.arange(len(self._shards[name])) for name in names])[first]
        self.keys_handled += len(first)

        def copy(file: IO[bytes]) -> None:
            for start in range(0, len(positions), ROWS_PER_COPY):
                file.write(self.read(positions[start : start + ROWS_PER_COPY]).astype(np.float16).tobytes())

        dimension = self._shards[names[0]].vectors.shape[1]
        words = None
        if self._shards[names[0]].words is not None:
            lengths = [words.count(text) for words, text in self._places_of_words(positions)]
            words = lengths, (words.rows(text) for words, text in self._places_of_words(positions))
        self._write(keys, dimension, copy, words)
        for name in names:
            remove_shard(self._folder, name)
        self._set_shards({name: shard for name, shard in self._shards.items() if name not in names})

    def _write(
        self,
        keys: Keys,
        dimension: int,
        write: Callable[[IO[bytes]], object],
        words: tuple[Sequence[int], Iterable[Halves]] | None = None,
    ) -> None:
        """Writes one shard.

        keys   (n,) in ascending order
        write  writes their vectors (n, d) float16 to a file
        words  the number of words of each text (n,), and its rows in the table of words; None without words
        """
        name = uuid.uuid4().hex[:12]
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(keys), dimension)}

        def with_header(file: IO[bytes]) -> None:
            np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
            write(file)

        raw = keys.view(np.uint8).reshape(len(keys), CONTENT_KEY_BYTES)
        write_atomically(self._file(name, VECTORS), with_header)
        if words is not None:
            word_shards.write(self._folder, name, *words)
        # once the keys are there, another process may merge and remove the shard
        mapped, opened = map_vectors(self._folder, name), word_shards.open_words(self._folder, name, len(keys))
        write_atomically(self._file(name, KEYS), lambda file: np.save(file, raw))
        self._set_shards({**self._shards, name: Shard(keys, np.arange(len(keys)), mapped, opened)})

    def _set_shards(self, shards: dict[str, Shard]) -> None:
        self._shards = dict(sorted(shards.items(), key=lambda item: -len(item[1])))

    def _file(self, name: str, kind: str) -> Path:
        return shard_file(self._folder, name, kind)

    def _remove_leftovers(self) -> None:
        """Removes old files that a killed process left behind."""
        without_keys = (
            path
            for kind in FILES
            for path in self._folder.glob(f"*.{kind}.npy")
            if not self._file(path.name.removesuffix(f".{kind}.npy"), KEYS).exists()
        )
        remove_old([*self._folder.glob(f"{TEMPORARY}*"), *without_keys])
