"""The vectors of words in a shard of the vector cache.

The file `<name>.words.npy` is a table (w, e + 2) float16 with a row for each word, the words of one text after those of
another: the vector of the word, and in the bits of the last two numbers the first character of the word and the
character behind it. The file `<name>.bounds.npy` (n + 1,) int64 says which rows belong to a text.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.exceptions import StoreError
from ml_backend.core.texts import Halves, WordVectors
from ml_backend.storage.files import write_atomically

WORDS, BOUNDS = "words", "bounds"
MAX_CHARACTERS = 2**16  # of a text whose words are stored; later words are left out
OFFSETS = 2  # numbers of a row of the table that are no part of the vector
HALF_BYTES = 2


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ShardWords:
    """The words of the n texts of a shard: text i has the rows bounds[i] to bounds[i + 1] of the table.

    Rows are read from the file. If the file were mapped, each page that was ever read would count as memory of the
    process, and the table of a large pool has gigabytes.

    bounds   (n + 1,)
    columns  numbers in a row of the table
    file     descriptor of the open file, which stays readable after another process has removed the file
    start    place of the first row in the file, in bytes
    """

    bounds: Ints
    columns: int
    file: int
    start: int

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self.file)

    def count(self, text: int) -> int:
        """The number of words of a text."""
        return int(self.bounds[text + 1] - self.bounds[text])

    def rows(self, text: int) -> Halves:
        """The rows of the table that belong to a text. Raises StoreError if the file has become shorter."""
        row_bytes = self.columns * HALF_BYTES
        n_bytes = self.count(text) * row_bytes
        data = os.pread(self.file, n_bytes, self.start + int(self.bounds[text]) * row_bytes)
        if len(data) < n_bytes:
            raise StoreError("A file with the vectors of words has been cut off: restart the backend to encode anew")
        return np.frombuffer(data, "<f2").reshape(-1, self.columns)


def unpack(rows: Halves) -> WordVectors:
    """The words of a text from its rows of the table, which are copied."""
    offsets = np.ascontiguousarray(rows[:, -OFFSETS:]).view(np.uint16).astype(np.int64)
    return WordVectors(offsets[:, 0], offsets[:, 1], np.array(rows[:, :-OFFSETS]))


def pack(words: WordVectors) -> Halves:
    """The rows of the table for the words of a text, without those behind `MAX_CHARACTERS`."""
    n_stored = int(np.searchsorted(words.ends, MAX_CHARACTERS))
    offsets = np.column_stack([words.starts[:n_stored], words.ends[:n_stored]]).astype(np.uint16)
    return np.hstack([words.vectors[:n_stored].astype(np.float16), offsets.view(np.float16)])


def write(folder: Path, name: str, lengths: Sequence[int], texts: Iterable[Halves]) -> None:
    """Writes the rows of n texts, at least one. `lengths`: of each text, in words. Raises StoreError."""
    bounds = np.cumsum([0, *lengths], dtype=np.int64)

    def write_table(file: IO[bytes]) -> None:
        for text, rows in enumerate(texts):  # one by one, because together they may be larger than the memory
            if text == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (int(bounds[-1]), rows.shape[1])}
                np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
            file.write(rows.tobytes())

    write_atomically(folder / f"{name}.{WORDS}.npy", write_table)
    write_atomically(folder / f"{name}.{BOUNDS}.npy", lambda file: np.save(file, bounds))


def open_words(folder: Path, name: str, n: int) -> ShardWords | None:
    """The words of a shard of n texts, None if it has none. Raises OSError, EOFError or ValueError if a file is
    damaged."""
    table_path, bounds_path = folder / f"{name}.{WORDS}.npy", folder / f"{name}.{BOUNDS}.npy"
    if not table_path.exists() and not bounds_path.exists():
        return None
    bounds: Ints = np.load(bounds_path, allow_pickle=False)
    table = np.load(table_path, mmap_mode="r", allow_pickle=False)  # compares the size of the file with its header
    if table.dtype != np.dtype("<f2") or table.ndim != 2 or table.shape[1] < OFFSETS:
        raise ValueError("the table of the words has another form")
    if bounds.shape != (n + 1,) or bounds[0] != 0 or bounds[-1] != len(table) or (np.diff(bounds) < 0).any():
        raise ValueError("the bounds of the texts are not those of the table")
    return ShardWords(bounds, table.shape[1], os.open(table_path, os.O_RDONLY), table.offset)
