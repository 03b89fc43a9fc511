"""A shard of the vector cache: its files, and how they are opened, checked and removed.

The file `<name>.vectors.npy` is a table (n, d) float16, `<name>.keys.npy` (n, 16) uint8 has the content key of each
row. In a feature space with vectors of words there are two more files (see `word_shards`). The keys are written last
and removed first; a shard without keys is incomplete and is ignored.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from ml_backend.core.arrays import Ints
from ml_backend.core.types import CONTENT_KEY_BYTES
from ml_backend.storage import word_shards
from ml_backend.storage.word_shards import ShardWords

KEYS, VECTORS = "keys", "vectors"
FILES = (KEYS, VECTORS, word_shards.WORDS, word_shards.BOUNDS)
"""The files of a shard. The last two are there only in a feature space with vectors of words."""

Keys = npt.NDArray[np.bytes_]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Shard:
    """The `keys` (n,) in ascending order, the row (n,) of each key's vector, the memory-mapped `vectors` (n, d), and
    the words of the texts, None in a feature space without vectors of words."""

    keys: Keys
    rows: Ints
    vectors: npt.NDArray[np.float16]
    words: ShardWords | None = None

    def __len__(self) -> int:
        return len(self.keys)


def shard_file(folder: Path, name: str, kind: str) -> Path:
    """The file of a kind, one of FILES."""
    return folder / f"{name}.{kind}.npy"


def shard_names(folder: Path) -> set[str]:
    """The names of the complete shards of a folder."""
    return {path.name.removesuffix(f".{KEYS}.npy") for path in folder.glob(f"*.{KEYS}.npy")}


def open_shard(folder: Path, name: str) -> Shard | None:
    """Opens a shard; None if another process has removed it or if it cannot be read. Removes a damaged shard, so that
    its texts are encoded again."""
    try:
        try:
            return _read_shard(folder, name)
        except FileNotFoundError as error:
            if not shard_file(folder, name, KEYS).exists():
                return None
            raise ValueError(f"{Path(error.filename).name} is missing") from error
    except (ValueError, EOFError) as error:
        log.warning(
            "damaged vectors removed: their texts are encoded again",
            folder=str(folder), shard=name, error=str(error),
        )  # fmt: skip
        with suppress(OSError):  # another user's files, or a folder that cannot be written to
            remove_shard(folder, name)
    except OSError as error:
        log.warning("vectors not readable", folder=str(folder), shard=name, error=error.strerror)
    return None


def remove_shard(folder: Path, name: str) -> None:
    """Removes the files of a shard. A reader that has opened it can use it on."""
    for kind in FILES:
        shard_file(folder, name, kind).unlink(missing_ok=True)


def map_vectors(folder: Path, name: str) -> npt.NDArray[np.float16]:
    """The vectors (n, d) of a shard, mapped from their file. Raises OSError, EOFError or ValueError."""
    return np.asarray(np.load(shard_file(folder, name, VECTORS), mmap_mode="r", allow_pickle=False))


def _read_shard(folder: Path, name: str) -> Shard:
    vectors = map_vectors(folder, name)
    words = word_shards.open_words(folder, name, len(vectors))
    raw = np.load(shard_file(folder, name, KEYS), allow_pickle=False)  # last, as it is the first to be removed
    keys = raw.view(f"S{CONTENT_KEY_BYTES}").ravel()
    if len(keys) != len(vectors) or not len(keys):
        raise ValueError(f"{len(keys)} keys for {len(vectors)} vectors")
    rows = np.argsort(keys, kind="stable")  # takes linear time if the keys are in order
    return Shard(keys[rows], rows, vectors, words)
