"""Removes vectors of deleted texts from the shards of the vector cache."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import CONTENT_KEY_BYTES
from ml_backend.storage import word_shards
from ml_backend.storage.files import folder_lock, write_atomically
from ml_backend.storage.vector_shards import KEYS, VECTORS, open_shard, remove_shard, shard_file, shard_names


def drop_vectors(folder: Path, kept: npt.NDArray[np.bytes_]) -> int:
    """Rewrites the first shard of the folder that has vectors whose keys are not in `kept` (n,). Returns the number of
    removed vectors, 0 if there is no such shard.

    Removes damaged shards, too. A reader that has opened the old shard can use it until its next refresh. Raises
    StoreError, and then nothing has changed; raises BlockingIOError while another process merges shards.
    """
    with folder_lock(folder):
        for old_name in sorted(shard_names(folder)):
            shard = open_shard(folder, old_name)
            if shard is None or (is_kept := np.isin(shard.keys, kept)).all():
                continue
            if is_kept.any():
                name, rows, keys = uuid.uuid4().hex[:12], shard.rows[is_kept].tolist(), shard.keys[is_kept]
                _write(shard_file(folder, name, VECTORS), shard.vectors[rows])
                if (words := shard.words) is not None:
                    lengths, word_rows = [words.count(row) for row in rows], (words.rows(row) for row in rows)
                    word_shards.write(folder, name, lengths, word_rows)
                raw = keys.view(np.uint8).reshape(len(keys), CONTENT_KEY_BYTES)
                _write(shard_file(folder, name, KEYS), raw)  # last, because a shard without keys is ignored
            remove_shard(folder, old_name)
            return int((~is_kept).sum())
    return 0


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    write_atomically(path, lambda file: np.save(file, array))
