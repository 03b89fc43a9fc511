"""Artifacts: the tensors of fitted learners, as safetensors files with a checksum. No file is ever unpickled."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import numpy as np

from ml_backend.core.arrays import Tensors
from ml_backend.core.exceptions import ArtifactError
from ml_backend.storage.files import write_atomically

MAX_CHECKS_REMEMBERED = 1000
"""Number of artifacts whose last successful check is remembered."""
ORPHAN_SECONDS = 3600.0
"""Age from which a file that no row names counts as left behind by a worker that was killed."""


class Artifacts:
    """The artifacts of all projects, in one folder for each project."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checked: dict[str, tuple[str, int, int]] = {}  # digest, modification time and size at the last check

    def write(self, project: int, prefix: str, tensors: Tensors) -> tuple[str, str]:
        """Stores tensors in a new file, and returns its name and SHA-256. The name begins with `prefix` and has a
        random part, so that two workers never write the same file. Raises StoreError, and then leaves no file."""
        from safetensors.numpy import save

        data = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
        name = f"{project}/{prefix}-{uuid.uuid4().hex[:12]}.safetensors"
        write_atomically(self._folder / name, lambda file: file.write(data))
        return name, sha256(data).hexdigest()

    def read(self, name: str, digest: str) -> Tensors:
        """Loads tensors. Raises ArtifactError if the file cannot be read or its SHA-256 is not `digest`."""
        from safetensors.numpy import load

        try:
            data = (self._folder / name).read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"artifact {name} cannot be read ({error.strerror}): an older version serves"
            ) from error
        if sha256(data).hexdigest() != digest:
            self._checked.pop(name, None)
            raise ArtifactError(f"artifact {name} is damaged (its SHA-256 does not match): an older version serves")
        return dict(load(data))

    def is_intact(self, name: str, digest: str) -> bool:
        """Returns whether `read` succeeds. Does not read again a file whose modification time and size are those of the
        last successful check."""
        try:
            stat = (self._folder / name).stat()
            state = (digest, stat.st_mtime_ns, stat.st_size)
            if self._checked.get(name) != state:
                self.read(name, digest)
        except (OSError, ArtifactError):
            return False
        self._checked[name] = state
        if len(self._checked) > MAX_CHECKS_REMEMBERED:  # files that other processes removed are dropped like this, too
            del self._checked[next(iter(self._checked))]
        return True

    def remove(self, name: str) -> None:
        self._checked.pop(name, None)
        (self._folder / name).unlink(missing_ok=True)

    def remove_orphans(self, project: int, needed: Collection[str]) -> int:
        """Removes a project's artifacts that are not in `needed` and older than `ORPHAN_SECONDS`. They are left behind
        when a worker is killed before it stores their names. Returns the number of removed files."""
        orphans = [
            f"{project}/{file.name}"
            for file in (self._folder / str(project)).glob("*.safetensors")
            if f"{project}/{file.name}" not in needed and time.time() - file.stat().st_mtime > ORPHAN_SECONDS
        ]
        for name in orphans:
            self.remove(name)
        return len(orphans)

    def forget(self, project: int) -> int:
        """Removes all artifacts of a project, and returns their number."""
        folder = self._folder / str(project)
        names = [f"{project}/{file.name}" for file in folder.glob("*.safetensors")]
        for name in names:
            self.remove(name)
        shutil.rmtree(folder, ignore_errors=True)  # temporary files of a killed process may be left in it
        return len(names)
