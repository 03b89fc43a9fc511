"""The vectors of words in a shard of the vector cache.

The file `<name>.words.npy` is a table (w, e + 2) float16 with a row for each word, the words of one text after those of
another: the vector of the word, and in the bits of the last two numbers the first character of the word and the
character behind it. The file `<name>.bounds.npy` (n + 1,) int64 says which rows belong to a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints
from ml_backend.core.texts import Halves, WordVectors
from ml_backend.storage.files import write_atomically

WORDS, BOUNDS = "words", "bounds"
MAX_CHARACTERS = 2**16  # of a text whose words are stored; later words are left out
OFFSETS = 2  # numbers of a row of the table that are no part of the vector


@dataclass(frozen=True, slots=True)
class ShardWords:
    """The words of the n texts of a shard: text i has the rows bounds[i] to bounds[i + 1] of the memory-mapped
    table."""

    bounds: Ints
    table: Halves

    def rows(self, text: int) -> Halves:
        """The rows of the table that belong to a text."""
        return self.table[self.bounds[text] : self.bounds[text + 1]]


def unpack(rows: Halves) -> WordVectors:
    """The words of a text from its rows of the table, which are copied."""
    offsets = np.ascontiguousarray(rows[:, -OFFSETS:]).view(np.uint16).astype(np.int64)
    return WordVectors(offsets[:, 0], offsets[:, 1], np.array(rows[:, :-OFFSETS]))


def pack(words: WordVectors) -> Halves:
    """The rows of the table for the words of a text, without those behind `MAX_CHARACTERS`."""
    n_stored = int(np.searchsorted(words.ends, MAX_CHARACTERS))
    offsets = np.column_stack([words.starts[:n_stored], words.ends[:n_stored]]).astype(np.uint16)
    return np.hstack([words.vectors[:n_stored].astype(np.float16), offsets.view(np.float16)])


def write(folder: Path, name: str, texts: Sequence[Halves]) -> None:
    """Writes the rows of n texts. Raises StoreError."""
    bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    header = {"descr": "<f2", "fortran_order": False, "shape": (int(bounds[-1]), texts[0].shape[1])}

    def write_table(file: IO[bytes]) -> None:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        for rows in texts:  # one by one, because they may be mapped from files that are larger than the memory
            file.write(rows.tobytes())

    write_atomically(folder / f"{name}.{WORDS}.npy", write_table)
    write_atomically(folder / f"{name}.{BOUNDS}.npy", lambda file: np.save(file, bounds))


def open_words(folder: Path, name: str) -> ShardWords | None:
    """The words of a shard, None if it has none. Raises OSError or ValueError if a file is damaged."""
    if not (folder / f"{name}.{WORDS}.npy").exists():
        return None
    table: npt.NDArray[np.float16] = np.load(folder / f"{name}.{WORDS}.npy", mmap_mode="r", allow_pickle=False)
    words = ShardWords(np.load(folder / f"{name}.{BOUNDS}.npy", allow_pickle=False), np.asarray(table))
    if words.bounds[-1] != len(words.table):
        raise ValueError("the bounds of the texts are not those of the table")
    return words
