"""Removes vectors of deleted texts from the shards of the vector cache."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import CONTENT_KEY_BYTES
from ml_backend.storage import word_shards
from ml_backend.storage.files import folder_lock, write_atomically
from ml_backend.storage.vectors import FILES


def drop_vectors(folder: Path, kept: npt.NDArray[np.bytes_]) -> int:
    """Rewrites the first shard of the folder that has vectors whose keys are not in `kept` (n,). Returns the number of
    removed vectors, 0 if there is no such shard.

    A reader that maps the old shard can use it until its next refresh. Raises StoreError, and then nothing has changed;
    raises BlockingIOError while another process merges shards.
    """
    with folder_lock(folder):
        for path in sorted(folder.glob("*.keys.npy")):
            vectors_path = path.with_name(path.name.replace(".keys.", ".vectors."))
            try:
                raw = np.load(path, allow_pickle=False)
                vectors = np.load(vectors_path, mmap_mode="r", allow_pickle=False)
                words = word_shards.open_words(folder, path.name.removesuffix(".keys.npy"))
            except (OSError, ValueError, EOFError):
                continue  # damaged: `Vectors` ignores it, too
            is_kept = np.isin(raw.view(f"S{CONTENT_KEY_BYTES}").ravel(), kept)
            if is_kept.all() or len(raw) != len(vectors):
                continue
            if is_kept.any():
                name = uuid.uuid4().hex[:12]
                _write(folder / f"{name}.vectors.npy", vectors[is_kept])
                if words is not None:
                    word_shards.write(folder, name, [words.rows(row) for row in np.flatnonzero(is_kept).tolist()])
                _write(folder / f"{name}.keys.npy", raw[is_kept])  # last, because a shard without keys is ignored
            for kind in FILES:
                path.with_name(path.name.replace(".keys.", f".{kind}.")).unlink(missing_ok=True)
            return int((~is_kept).sum())
    return 0


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    write_atomically(path, lambda file: np.save(file, array))
