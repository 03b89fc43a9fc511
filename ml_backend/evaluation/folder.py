"""The folder of a simulation: it holds one, and the call that goes on with it has to be about the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_backend.domain import ApprenticeError
from ml_backend.evaluation.curves import read_csv
from ml_backend.store.files import write_atomically

CURVES, PROTOCOL = "curves.csv", "protocol.json"
READABLE = 0o644  # by others, as the curves and the report are


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
    write_json(folder / PROTOCOL, protocol)


def write_json(file: Path, value: dict[str, Any]) -> None:
    """The whole file or nothing. Raises ApprenticeError."""
    dumped = json.dumps(value, indent=2).encode()
    write_atomically(file, lambda stream: stream.write(dumped), READABLE)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """What the disk refuses, as an ApprenticeError."""
    try:
        yield
    except OSError as error:
        raise ApprenticeError(f"The folder {folder} cannot be used: {error.strerror or error}") from error


def _read_json(file: Path) -> dict[str, Any]:
    """An empty object, if the file holds none."""
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
