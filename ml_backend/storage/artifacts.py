"""What learners have learnt, as safetensors files with a checksum. Nothing is ever unpickled."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import numpy as np

from ml_backend.core.exceptions import ArtifactError
from ml_backend.core.types import Tensors
from ml_backend.storage.files import write_atomically

MOST_SOUND = 1000
"""Artifacts whose latest check is remembered."""
STRAY_SECONDS = 3600.0


class Artifacts:
    """The artifacts of all projects, in one folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound: dict[str, tuple[str, int, int]] = {}  # of the latest check: digest, time and size

    def write(self, project: int, what: str, tensors: Tensors) -> tuple[str, str]:
        """Stores tensors in a file of their own, whose name carries a random part: two workers never write the same
        one. Returns the file's name and SHA-256. Raises StoreError, and then nothing is there."""
        from safetensors.numpy import save

        data = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
        name = f"{project}/{what}-{uuid.uuid4().hex[:12]}.safetensors"
        write_atomically(self._folder / name, lambda file: file.write(data))
        return name, sha256(data).hexdigest()

    def read(self, name: str, digest: str) -> Tensors:
        """Loads tensors. Raises ArtifactError if a single bit differs from what was written."""
        from safetensors.numpy import load

        try:
            data = (self._folder / name).read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"artifact {name} cannot be read ({error.strerror}): an older version serves"
            ) from error
        if sha256(data).hexdigest() != digest:
            self._sound.pop(name, None)
            raise ArtifactError(f"artifact {name} is damaged (its SHA-256 does not match): an older version serves")
        return dict(load(data))

    def sound(self, name: str, digest: str) -> bool:
        """Whether `read` has succeeded, and the file is the same since by its time and size."""
        try:
            stat = (self._folder / name).stat()
            seen = (digest, stat.st_mtime_ns, stat.st_size)
            if self._sound.get(name) != seen:
                self.read(name, digest)
        except (OSError, ArtifactError):
            return False
        self._sound[name] = seen
        if len(self._sound) > MOST_SOUND:  # another process may have removed the file of the oldest
            del self._sound[next(iter(self._sound))]
        return True

    def remove(self, name: str) -> None:
        self._sound.pop(name, None)
        (self._folder / name).unlink(missing_ok=True)

    def remove_strays(self, project: int, needed: Collection[str]) -> int:
        """Removes a project's artifacts that nobody has written for an hour and nobody needs, by their names: a worker
        was killed before it could say what they are. Returns how many."""
        strays = [
            f"{project}/{file.name}"
            for file in (self._folder / str(project)).glob("*.safetensors")
            if f"{project}/{file.name}" not in needed and time.time() - file.stat().st_mtime > STRAY_SECONDS
        ]
        for name in strays:
            self.remove(name)
        return len(strays)

    def forget(self, project: int) -> int:
        """Removes all of a project's; returns how many there were."""
        folder = self._folder / str(project)
        names = [f"{project}/{file.name}" for file in folder.glob("*.safetensors")]
        for name in names:
            self.remove(name)
        shutil.rmtree(folder, ignore_errors=True)  # with what a process that was killed left half written
        return len(names)
