"""Files that are either whole or not there, by temporary name, fsync and rename; and folders that one process holds."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ml_backend.store.database import StoreError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder, until the process ends at the latest. Raises BlockingIOError if another one does."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], mode: int = 0o600) -> None:
    """Lets `write` fill a temporary file, then puts it in its place. Raises StoreError, leaves no debris."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or error
        raise StoreError(f"{path.name} cannot be written ({reason}): free space, or chown its folder") from error
