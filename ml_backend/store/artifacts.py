"""What learners have learnt, as safetensors files with a checksum. Nothing is ever unpickled."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from ml_backend.domain import ApprenticeError, Tensors
from ml_backend.store.files import write_atomically


class ArtifactError(ApprenticeError):
    """An artifact is missing or is not what was written."""


class Artifacts:
    """The artifacts of all projects, in one folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, project: int, what: str, tensors: Tensors) -> tuple[str, str]:
        """Stores tensors; returns the file's name and SHA-256. Raises StoreError, and then nothing is there."""
        from safetensors.numpy import save

        data = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
        name = f"{project}/{what}.safetensors"
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
            raise ArtifactError(f"artifact {name} is damaged (its SHA-256 does not match): an older version serves")
        return dict(load(data))

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
