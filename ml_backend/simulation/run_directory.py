"""The folder of a simulation: it holds one simulation, which later calls with the same protocol continue."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, StoreError
from ml_backend.simulation.learning_curves import read_csv
from ml_backend.storage.files import folder_lock, write_atomically

OBSOLETE_ENTRIES = ("intervals_cover", "starts_from")
"""Descriptions that an earlier version added to the protocol; the other entries determine them."""
CURVES, PROTOCOL = "curves.csv", "protocol.json"
FILE_MODE = 0o644  # readable by other users, as curves.csv is
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)


BY_CONTROL = ("labels", "several labels", "control weights")
"""The entries of a protocol that may have a value for each control."""


def prepare_folder(folder: Path, protocol: dict[str, Any]) -> None:
    """Makes the folder, or checks that it has the same `protocol`, which is JSON. Raises ApprenticeError if it has
    another one."""
    with readable_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stored = _read_protocol(folder / PROTOCOL) if (folder / PROTOCOL).exists() else None
        if stored is None and not read_csv(folder / CURVES):
            stored = protocol
    stored = stored or {}
    if stored != protocol:
        changes = [
            change
            for name, value in protocol.items()
            if name in stored
            for change in _changes(name.replace("_", " "), stored[name], value)
        ]
        raise ApprenticeError(
            f"{folder} holds another simulation ({'; '.join(changes) or f'{PROTOCOL} does not say which'}): choose "
            "another folder with --out, or delete it"
        )
    with readable_errors(folder):
        write_json(folder / PROTOCOL, protocol)


def _changes(name: str, before: Any, now: Any) -> Iterator[str]:
    """Names the values that are others than before; of values by control, those of each control."""
    if before == now:
        return
    if name not in BY_CONTROL or not (isinstance(before, dict) or isinstance(now, dict)):
        yield f"{name}: {json.dumps(before)}, now {json.dumps(now)}"
    elif isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
        for control, value in now.items():
            if before[control] != value:
                yield f"{name} of {control!r}: {json.dumps(before[control])}, now {json.dumps(value)}"
    else:
        yield f"{name}: for other controls"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder against other processes. Raises ApprenticeError if another one has locked it."""
    with ExitStack() as stack:
        with readable_errors(folder):
            try:
                stack.enter_context(folder_lock(folder))
            except BlockingIOError:
                raise ApprenticeError(
                    f"A simulation runs in {folder} already: wait for it, or choose another folder with --out"
                ) from None
        yield


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Writes a JSON file as `write_text` does."""
    write_text(file, json.dumps(value, indent=2))


def write_text(file: Path, text: str) -> None:
    """Writes the whole file or nothing. Raises OSError or StoreError, which `readable_errors` converts."""
    content = text.encode(errors="replace")  # JSON may hold half a surrogate pair
    write_atomically(file, lambda stream: stream.write(content), FILE_MODE)


@contextmanager
def readable_errors(folder: Path) -> Iterator[None]:
    """Converts errors of the file system to an ApprenticeError that names the folder and says what to do."""
    try:
        yield
    except (OSError, StoreError) as error:
        os_error = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(os_error, OSError):
            raise
        remedy = "choose another with --out, or make this one writable"
        if os_error.errno in DISK_FULL_ERRNOS:
            remedy = "free some space and repeat the command, which goes on from what is finished"
        raise ApprenticeError(
            f"The folder {folder} cannot be used: {os_error.strerror or os_error}; {remedy}"
        ) from error


def _read_protocol(file: Path) -> dict[str, Any]:
    """The protocol in a file, an empty one if the file holds none."""
    try:
        value = json.loads(file.read_bytes())
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: entry for name, entry in value.items() if name not in OBSOLETE_ENTRIES}
