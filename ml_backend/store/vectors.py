"""Cached vectors of one space: fp16 shards on disk, found by content key.

A shard is two files, `<name>.vectors.npy` (n, d) float16 and `<name>.keys.npy` (n, 16) uint8. The keys are written
last, so a shard without them was cut off and is ignored. Shards are never changed: any process may add one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.domain import KEY_BYTES, Floats, Ints
from ml_backend.store.files import write_atomically

MAX_SHARDS = 64
SMALL = 8192  # rows: a larger shard is not copied again


class Vectors:
    """The vectors of one project in one encoder's space."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, npt.NDArray[np.float16]] = {}
        self._keys = np.empty(0, f"S{KEY_BYTES}")
        self._rows: Ints = np.empty((0, 2), np.int64)  # (shard, row within it), in the order of the sorted keys
        self._stamp = -1.0
        self.refresh()

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> bool:
        """Sees what another process has written since; returns whether there was anything.

        A damaged shard is left out: its texts are encoded again.
        """
        stamp = self._folder.stat().st_mtime_ns if self._folder.is_dir() else -1.0
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        shards: dict[str, npt.NDArray[np.float16]] = {}
        keys: list[npt.NDArray[np.bytes_]] = []
        rows: list[npt.NDArray[np.int64]] = []
        for path in sorted(self._folder.glob("*.keys.npy")):
            name = path.name.removesuffix(".keys.npy")
            try:
                vectors = np.load(path.with_name(f"{name}.vectors.npy"), mmap_mode="r", allow_pickle=False)
                found = np.load(path, allow_pickle=False).view(f"S{KEY_BYTES}").ravel()
            except (OSError, ValueError, EOFError):
                continue
            if len(found) != len(vectors):
                continue
            rows.append(np.stack([np.full(len(found), len(shards)), np.arange(len(found))], axis=1))
            shards[name] = vectors
            keys.append(found)
        self._shards = shards
        everything = np.concatenate(keys) if keys else self._keys[:0]
        self._keys, first = np.unique(everything, return_index=True)
        self._rows = np.concatenate(rows)[first] if rows else self._rows[:0]
        return True

    def find(self, keys: Sequence[bytes]) -> Ints:
        """(n,) int64: where each key's vector is, -1 where there is none."""
        wanted = np.array(keys, f"S{KEY_BYTES}")
        if not len(self._keys):
            return np.full(len(wanted), -1, np.int64)
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[at] == wanted, at, -1)

    def read(self, places: Ints) -> Floats:
        """(n, d) float32: the vectors at places that `find` gave; n must not be 0."""
        shards = list(self._shards.values())
        rows = self._rows[places]
        out = np.empty((len(places), shards[0].shape[1]), np.float32)
        for number in np.unique(rows[:, 0]):
            mine = rows[:, 0] == number
            out[mine] = shards[number][rows[mine, 1]]
        return out

    def add(self, keys: Sequence[bytes], vectors: Floats) -> None:
        """Writes one shard. Raises StoreError, and then nothing was added."""
        name = f"{uuid.uuid4().hex[:12]}"
        self._write(name, np.array(keys, f"S{KEY_BYTES}"), vectors.astype(np.float16))
        self.refresh()
        if len(self._shards) > MAX_SHARDS:
            self._compact()

    def _write(self, name: str, keys: npt.NDArray[np.bytes_], vectors: npt.NDArray[np.float16]) -> None:
        raw = keys.view(np.uint8).reshape(len(keys), KEY_BYTES)
        write_atomically(self._folder / f"{name}.vectors.npy", lambda file: np.save(file, vectors))
        write_atomically(self._folder / f"{name}.keys.npy", lambda file: np.save(file, raw))

    def _compact(self) -> None:
        """Merges the small shards into one; a reader that still maps an old one keeps it until its next refresh.

        Needs no lock: whoever else merges or adds at the same time writes files of other names, and a vector that
        stands in two shards is read from one of them.
        """
        small = [number for number, shard in enumerate(self._shards.values()) if len(shard) < SMALL]
        names = list(self._shards)
        places = np.flatnonzero(np.isin(self._rows[:, 0], small))
        self._write(uuid.uuid4().hex[:12], self._keys[places], self.read(places).astype(np.float16))
        for number in small:
            for kind in ("keys", "vectors"):
                (self._folder / f"{names[number]}.{kind}.npy").unlink(missing_ok=True)
        self.refresh()
