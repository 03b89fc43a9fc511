"""Cached vectors of one space: fp16 shards on disk, found by content key.

A shard is two files, `<name>.vectors.npy` (n, d) float16 and `<name>.keys.npy` (n, 16) uint8. The keys are written
last, so a shard without them was cut off and is ignored. Shards are never changed: any process may add one.

As in a log-structured merge tree (O'Neil et al., 1996), `FANOUT` shards of one size tier are merged into one of a
higher tier: a vector is copied once a tier, and there are at most `FANOUT` shards of each of log(n) tiers. One process
merges at a time; a vector that stands in two shards is read from one of them.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ml_backend.core.exceptions import StoreError
from ml_backend.core.types import KEY_BYTES, Floats, Ints
from ml_backend.storage.files import TEMPORARY, alone, remove_old, write_atomically

FANOUT = 8
COPIED_AT_ONCE = 8192  # rows in memory while shards are merged
SETTLED_SECONDS = 1.0  # two changes of a folder within a tick of the file system's clock leave the same time
LISTINGS = 5  # of the folder, while another process removes what it has merged

Keys = npt.NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Shard:
    """The `keys` (n,) in ascending order, the row (n,) of each one's vector, and the mapped `vectors` (n, d)."""

    keys: Keys
    rows: Ints
    vectors: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.keys)


class Vectors:
    """The vectors of one project in one encoder's space.

    `keys_handled`: how many keys have been read, sorted or copied so far, the measure of what the cache costs.
    """

    def __init__(self, folder: Path, fanout: int = FANOUT) -> None:
        self._folder = folder
        self._fanout = fanout
        self._shards: dict[str, Shard] = {}  # the largest first
        self._stamp: int | None = None
        self.keys_handled = 0
        self._tidy()
        self.refresh()

    def __len__(self) -> int:
        """A vector that two processes have made at once counts twice until its shards are merged."""
        return sum(map(len, self._shards.values()))

    def refresh(self) -> bool:
        """Sees what another process has written since; returns whether there was anything.

        Only new shards are read. A damaged one is left out: its texts are encoded again.
        """
        names = set(self._shards)
        for _ in range(LISTINGS):
            stamp = self._folder.stat().st_mtime_ns if self._folder.is_dir() else 0
            if stamp == self._stamp:
                break
            self._stamp = stamp if time.time() - stamp / 1e9 > SETTLED_SECONDS else None
            listed = {path.name.removesuffix(".keys.npy") for path in self._folder.glob("*.keys.npy")}
            new = {name: self._opened(name) for name in sorted(listed - set(self._shards))}
            kept = {name: shard for name, shard in self._shards.items() if name in listed}
            self._keep(kept | {name: shard for name, shard in new.items() if shard is not None})
            if all(shard is not None or self._file(name, "keys").exists() for name, shard in new.items()):
                break
        return set(self._shards) != names

    def find(self, keys: Sequence[bytes]) -> Ints:
        """(n,) int64: where each key's vector is until the next `refresh` or `add`, -1 where there is none."""
        wanted = np.array(keys, f"S{KEY_BYTES}")
        order = np.argsort(wanted)  # neighbours are looked up where the processor's cache is warm
        ordered = wanted[order]
        places = np.full(len(wanted), -1, np.int64)
        begin = 0
        for shard in self._shards.values():
            missing = np.flatnonzero(places < 0)
            at = np.minimum(np.searchsorted(shard.keys, ordered[missing]), len(shard) - 1)
            places[missing] = np.where(shard.keys[at] == ordered[missing], begin + at, -1)
            begin += len(shard)
        found = np.empty_like(places)
        found[order] = places
        return found

    def read(self, places: Ints) -> Floats:
        """(n, d) float32: the vectors at places that `find` gave; n must not be 0."""
        shards = list(self._shards.values())
        begins = np.cumsum([0, *map(len, shards)])
        of = np.searchsorted(begins, places, side="right") - 1
        out = np.empty((len(places), shards[0].vectors.shape[1]), np.float32)
        for number in np.unique(of):
            here = of == number
            out[here] = shards[number].vectors[shards[number].rows[places[here] - begins[number]]]
        return out

    def add(self, keys: Sequence[bytes], vectors: Floats) -> None:
        """Writes those that are not there yet as one shard. Raises StoreError, and then nothing was added."""
        self.refresh()
        wanted, rows = np.unique(np.array(keys, f"S{KEY_BYTES}"), return_index=True)
        self.keys_handled += len(keys)
        new = self.find(wanted.tolist()) < 0
        if not new.any():
            return
        some = vectors[rows[new]].astype(np.float16)
        self._write(wanted[new], some.shape[1], lambda file: file.write(some.tobytes()))
        while self._full_tier():
            try:
                with alone(self._folder):
                    self.refresh()  # another process may have merged meanwhile
                    self._merge(self._full_tier())
            except (BlockingIOError, StoreError):
                return  # another one is at it, or the disk is full: what was added stands

    def _full_tier(self) -> list[str]:
        """The shards of a tier that has `FANOUT` of them, [] if none has. A shard of n is in tier floor(log n)."""
        tiers: dict[int, list[str]] = {}
        for name, shard in self._shards.items():
            tiers.setdefault(int(math.log(len(shard), self._fanout) + 1e-9), []).append(name)
        return next((names for _, names in sorted(tiers.items()) if len(names) >= self._fanout), [])

    def _merge(self, names: Sequence[str]) -> None:
        """Makes one shard of several. A reader that still maps an old one keeps it until its next refresh."""
        if not names:
            return
        begins = dict(zip(self._shards, np.cumsum([0, *map(len, self._shards.values())]).tolist(), strict=False))
        keys, first = np.unique(np.concatenate([self._shards[name].keys for name in names]), return_index=True)
        places = np.concatenate([begins[name] + np.arange(len(self._shards[name])) for name in names])[first]
        self.keys_handled += len(first)

        def copy(file: IO[bytes]) -> None:
            for start in range(0, len(places), COPIED_AT_ONCE):
                file.write(self.read(places[start : start + COPIED_AT_ONCE]).astype(np.float16).tobytes())

        dimension = self._shards[names[0]].vectors.shape[1]
        self._write(keys, dimension, copy)
        for name in names:
            for kind in ("keys", "vectors"):
                self._file(name, kind).unlink(missing_ok=True)
        self._keep({name: shard for name, shard in self._shards.items() if name not in names})

    def _write(self, keys: Keys, dimension: int, write: Callable[[IO[bytes]], object]) -> None:
        """One shard of `keys` (n,) in ascending order, whose (n, d) float16 vectors `write` puts into a file."""
        name = uuid.uuid4().hex[:12]
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(keys), dimension)}

        def with_header(file: IO[bytes]) -> None:
            np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
            write(file)

        raw = keys.view(np.uint8).reshape(len(keys), KEY_BYTES)
        write_atomically(self._file(name, "vectors"), with_header)
        write_atomically(self._file(name, "keys"), lambda file: np.save(file, raw))
        self._keep({**self._shards, name: Shard(keys, np.arange(len(keys)), self._mapped(name))})

    def _opened(self, name: str) -> Shard | None:
        """A shard that another process has written; None if it is damaged, or gone."""
        try:
            vectors = self._mapped(name)
            raw = np.load(self._file(name, "keys"), allow_pickle=False).view(f"S{KEY_BYTES}").ravel()
        except (OSError, ValueError, EOFError):
            return None
        self.keys_handled += len(raw)
        if len(raw) != len(vectors) or not len(raw):
            return None
        rows = np.argsort(raw, kind="stable")  # linear where they are in order already
        return Shard(raw[rows], rows, vectors)

    def _keep(self, shards: dict[str, Shard]) -> None:
        self._shards = dict(sorted(shards.items(), key=lambda item: -len(item[1])))

    def _mapped(self, name: str) -> npt.NDArray[np.float16]:
        return np.asarray(np.load(self._file(name, "vectors"), mmap_mode="r", allow_pickle=False))

    def _file(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}.npy"

    def _tidy(self) -> None:
        """Removes what a process that was killed has left behind."""
        without_keys = (
            path
            for path in self._folder.glob("*.vectors.npy")
            if not self._file(path.name.removesuffix(".vectors.npy"), "keys").exists()
        )
        remove_old([*self._folder.glob(f"{TEMPORARY}*"), *without_keys])
