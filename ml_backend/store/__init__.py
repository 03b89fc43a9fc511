"""The store: the only place that knows SQL, and where vectors, artifacts and credentials lie."""

from __future__ import annotations

import json
from pathlib import Path

from ml_backend.settings import Settings
from ml_backend.store.artifacts import ArtifactError, Artifacts
from ml_backend.store.database import Database, StoreError, now, process_name
from ml_backend.store.files import write_atomically
from ml_backend.store.jobs import Jobs, JobState, Lease
from ml_backend.store.labels import Labels
from ml_backend.store.projects import ProjectRecord, Projects
from ml_backend.store.tasks import Tasks
from ml_backend.store.vectors import Vectors
from ml_backend.store.versions import RoundRecord, Versions

__all__ = [
    "ArtifactError",
    "JobState",
    "Lease",
    "ProjectRecord",
    "RoundRecord",
    "Store",
    "StoreError",
    "Vectors",
    "credentials",
    "now",
    "process_name",
    "remember_credentials",
]


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
        self.labels = Labels(self.database)
        self.versions = Versions(self.database)
        self.jobs = Jobs(self.database, settings.lease_seconds)
        self.artifacts = Artifacts(self._folder / "artifacts")

    def vectors(self, project: int, space: str) -> Vectors:
        """The cached vectors of a project in an encoder's space."""
        return Vectors(self._folder / "vectors" / space / str(project))

    def close(self) -> None:
        self.database.close()


def remember_credentials(data_dir: Path, url: str, api_key: str) -> None:
    """Keeps what `connect` was told, readable by this user alone, for the workers."""
    text = json.dumps({"label_studio_url": url, "label_studio_api_key": api_key})
    write_atomically(data_dir / "credentials.json", lambda file: file.write(text.encode()))


def credentials(settings: Settings) -> tuple[str, str]:
    """Label Studio's URL and API key: of the settings, or, if they have no key, as `connect` was told them.

    The key is "" if there is none. A key is never sent to another server than the one that it was given for.
    """
    url, key = settings.label_studio_url.rstrip("/"), settings.label_studio_api_key.get_secret_value()
    if key:
        return url, key
    try:
        found = json.loads((settings.data_dir / "credentials.json").read_text())
        kept = str(found["label_studio_url"]), str(found["label_studio_api_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return url, ""
    chosen = "label_studio_url" in settings.model_fields_set
    return (url, "") if chosen and url != kept[0] else kept
