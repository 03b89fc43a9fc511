"""Atomic writes of files, by temporary name, fsync and rename; and locks on folders."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ml_backend.core.exceptions import StoreError

TEMPORARY = ".new-"
"""Prefix of the name of a file until it is complete."""
OLD_SECONDS = 3600.0
"""Age from which a temporary file counts as left behind by a process that was killed."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the lock on a folder, until the process ends at the latest. Raises BlockingIOError if another process holds
    it."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], mode: int = 0o600) -> None:
    """Calls `write` with a temporary file, and renames this to `path`. Raises StoreError, and then leaves no temporary
    file."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=TEMPORARY, delete=False) as file:
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


def remove_old(files: Iterable[Path]) -> None:
    """Removes the files that were not written to for `OLD_SECONDS`."""
    for file in files:
        with suppress(OSError):  # another process may have removed it
            if time.time() - file.stat().st_mtime > OLD_SECONDS:
                file.unlink()
