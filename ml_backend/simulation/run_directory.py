"""The folder of a simulation: it holds one, and the call that goes on with it has to be about the same."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, StoreError
from ml_backend.simulation.learning_curves import read_csv
from ml_backend.storage.files import alone, write_atomically

CURVES, PROTOCOL = "curves.csv", "protocol.json"
READABLE = 0o644  # by others, as the curves are
FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare(folder: Path, protocol: dict[str, Any]) -> None:
    """Makes the folder, or finds it with the same `protocol`, which is JSON. Raises ApprenticeError otherwise."""
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = _read_json(folder / PROTOCOL) if (folder / PROTOCOL).exists() else None
        if before is None and not read_csv(folder / CURVES):
            before = protocol
    before = before or {}
    if before != protocol:
        changed = [
            f"{name.replace('_', ' ')}: {json.dumps(before[name])}, now {json.dumps(value)}"
            for name, value in protocol.items()
            if name in before and before[name] != value
        ]
        raise ApprenticeError(
            f"{folder} holds another simulation ({'; '.join(changed) or f'{PROTOCOL} does not say which'}): choose "
            "another folder with --out, or delete it"
        )
    with told(folder):
        write_json(folder / PROTOCOL, protocol)


@contextmanager
def in_hand(folder: Path) -> Iterator[None]:
    """Nobody else runs the folder's simulation meanwhile. Raises ApprenticeError if somebody does."""
    with ExitStack() as stack:
        with told(folder):
            try:
                stack.enter_context(alone(folder))
            except BlockingIOError:
                raise ApprenticeError(
                    f"A simulation runs in {folder} already: wait for it, or choose another folder with --out"
                ) from None
        yield


def write_json(file: Path, value: dict[str, Any]) -> None:
    """The whole file or nothing, as `write_text`."""
    write_text(file, json.dumps(value, indent=2))


def write_text(file: Path, text: str) -> None:
    """The whole file or nothing. Raises OSError or StoreError, which `told` tells."""
    whole = text.encode(errors="replace")  # JSON may hold half a surrogate pair
    write_atomically(file, lambda stream: stream.write(whole), READABLE)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """What the disk refuses, as an ApprenticeError that names the folder and says what to do."""
    try:
        yield
    except (OSError, StoreError) as error:
        refusal = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refusal, OSError):
            raise
        remedy = "choose another with --out, or make this one writable"
        if refusal.errno in FULL:
            remedy = "free some space and repeat the command, which goes on from what is finished"
        raise ApprenticeError(f"The folder {folder} cannot be used: {refusal.strerror or refusal}; {remedy}") from error


def _read_json(file: Path) -> dict[str, Any]:
    """An empty object, if the file holds none."""
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
