"""Vectors of texts that are gone, taken out of the shards they stand in."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import KEY_BYTES
from ml_backend.storage.files import alone, write_atomically


def drop_vectors(folder: Path, kept: npt.NDArray[np.bytes_]) -> int:
    """Writes the first shard of the folder anew that has vectors of other keys than the kept ones (n,); returns how
    many of them it had, 0 if there is no such shard.

    A reader that still maps the old shard keeps it until its next refresh. Raises StoreError, and then nothing has
    changed; BlockingIOError while another process merges shards.
    """
    with alone(folder):
        for path in sorted(folder.glob("*.keys.npy")):
            partner = path.with_name(path.name.replace(".keys.", ".vectors."))
            try:
                raw = np.load(path, allow_pickle=False)
                vectors = np.load(partner, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                continue  # damaged: nobody reads it either
            is_kept = np.isin(raw.view(f"S{KEY_BYTES}").ravel(), kept)
            if is_kept.all() or len(raw) != len(vectors):
                continue
            if is_kept.any():
                name = uuid.uuid4().hex[:12]
                _write(folder / f"{name}.vectors.npy", vectors[is_kept])
                _write(folder / f"{name}.keys.npy", raw[is_kept])  # last: only now the shard counts
            for file in (path, partner):
                file.unlink(missing_ok=True)
            return int((~is_kept).sum())
    return 0


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    write_atomically(path, lambda file: np.save(file, array))
