"""The store: the only place that knows SQL, and where vectors, artifacts and credentials lie."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from ml_backend.settings import Settings
from ml_backend.store.artifacts import ArtifactError, Artifacts
from ml_backend.store.database import Database, StoreError, now, process_name
from ml_backend.store.files import TEMPORARY, remove_old, write_atomically
from ml_backend.store.jobs import Jobs, JobState, Lease
from ml_backend.store.labels import Labels
from ml_backend.store.ledger import Ledger, Spent
from ml_backend.store.projects import ProjectRecord, Projects
from ml_backend.store.questions import Questions, Reply
from ml_backend.store.set_aside import SetAside
from ml_backend.store.shown import Showings, Shown
from ml_backend.store.tasks import Tasks
from ml_backend.store.vectors import Vectors
from ml_backend.store.versions import RoundRecord, Versions

__all__ = [
    "ArtifactError",
    "JobState",
    "Lease",
    "ProjectRecord",
    "Reply",
    "RoundRecord",
    "Shown",
    "Spent",
    "Store",
    "StoreError",
    "Vectors",
    "credentials",
    "now",
    "process_name",
    "remember_credentials",
]


PROBE_BYTES = 64 * 1024


class Store:
    """Everything that outlives a process, one attribute a topic."""

    def __init__(self, settings: Settings, *, must_exist: bool = False) -> None:
        """Makes the store where there is none yet; with `must_exist`, raises StoreError instead."""
        self._folder = settings.data_dir
        if must_exist and not settings.store_url and not settings.database_file.is_file():
            raise StoreError(
                f"There is no store in {settings.data_dir}: run this in the folder where `apprentice serve` was "
                "started, or give --data-dir"
            )
        self.database = Database(settings.database_url)
        self.database.upgrade()
        self.projects = Projects(self.database)
        self.tasks = Tasks(self.database)
        self.set_aside = SetAside(self.database)
        self.labels = Labels(self.database)
        self.versions = Versions(self.database)
        self.questions = Questions(self.database)
        self.ledger = Ledger(self.database)
        self.shown = Showings(self.database)
        self.jobs = Jobs(self.database, settings.lease_seconds)
        self.artifacts = Artifacts(self._folder / "artifacts")
        for there in ("", "artifacts/*/", "vectors/*/*/"):
            remove_old(self._folder.glob(f"{there}{TEMPORARY}*"))

    def vectors(self, project: int, space: str) -> Vectors:
        """The cached vectors of a project in an encoder's space."""
        return Vectors(self._folder / "vectors" / space / str(project))

    def forget_spaces(self, project: int, prefix: str, kept: Collection[str]) -> None:
        """Removes a project's vectors in the spaces whose names begin so, but for some."""
        for folder in (self._folder / "vectors").glob(f"{prefix}*"):
            if folder.name not in kept:
                shutil.rmtree(folder / str(project), ignore_errors=True)

    def full(self) -> str:
        """Why nothing can be written to the data folder, "" if it can."""
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(b"0" * PROBE_BYTES)
                file.flush()
        except OSError as error:
            return f"{self._folder} cannot be written ({error.strerror}): free space or chown it"
        return ""

    def close(self) -> None:
        self.database.close()


def remember_credentials(data_dir: Path, url: str, api_key: str) -> None:
    """Keeps what `connect` was told, readable by this user alone, for the workers."""
    text = json.dumps({"label_studio_url": url, "label_studio_api_key": api_key})
    write_atomically(data_dir / "credentials.json", lambda file: file.write(text.encode()))


def credentials(settings: Settings) -> tuple[str, str]:
    """Label Studio's URL and API key: of the settings, and what they do not have as `connect` was told it.

    The key is "" if there is none. One that `connect` was told is never sent to another server.
    """
    url, key = settings.label_studio_url.rstrip("/"), settings.label_studio_api_key.get_secret_value()
    try:
        found = json.loads((settings.data_dir / "credentials.json").read_text())
        kept_url, kept_key = str(found["label_studio_url"]), str(found["label_studio_api_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return url, key
    if "label_studio_url" not in settings.model_fields_set:
        url = kept_url
    return url, key or (kept_key if url == kept_url else "")
