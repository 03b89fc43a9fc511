"""The store: the database, and the files of vectors, artifacts and credentials. No other package uses SQL."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ml_backend.core.clock import SYSTEM_CLOCK, Clock
from ml_backend.core.exceptions import ArtifactError, LeaseLostError, StoreError
from ml_backend.core.settings import Settings
from ml_backend.storage import schema
from ml_backend.storage.annotations import Annotations
from ml_backend.storage.artifacts import Artifacts
from ml_backend.storage.connections import Connections
from ml_backend.storage.control_documents import ControlDocuments
from ml_backend.storage.database import Database, check_url, process_name
from ml_backend.storage.distillations import Distillations
from ml_backend.storage.erasure import content_keys, count_rows, erase_project
from ml_backend.storage.evolution_rounds import EvolutionRounds, EvolutionRow
from ml_backend.storage.field_overrides import FieldOverrides
from ml_backend.storage.files import TEMPORARY, remove_old, write_atomically
from ml_backend.storage.jobs import Jobs, JobState, Lease
from ml_backend.storage.ledger import Ledger, Spending
from ml_backend.storage.projects import ProjectRow, Projects
from ml_backend.storage.publications import Publications
from ml_backend.storage.published_drafts import PublishedDraft, PublishedDrafts
from ml_backend.storage.questions import Questions
from ml_backend.storage.quote_erasure import QuoteEraser
from ml_backend.storage.record_profiles import RecordProfiles
from ml_backend.storage.replies import Reply, ReplyTable
from ml_backend.storage.retention import Retention
from ml_backend.storage.reviews import Proposal, Reviews
from ml_backend.storage.serving_rules import ServingRules
from ml_backend.storage.signals import NamedPipes, Notifications, Signals
from ml_backend.storage.stats import Stats
from ml_backend.storage.synchronisation import Progress, Synchronisation
from ml_backend.storage.tasks import Tasks
from ml_backend.storage.teacher_states import TeacherStates
from ml_backend.storage.unusable_tasks import UnusableTasks
from ml_backend.storage.vector_cleanup import drop_vectors
from ml_backend.storage.vectors import Vectors
from ml_backend.storage.versions import RoundRow, Versions

__all__ = [
    "ArtifactError",
    "EvolutionRow",
    "JobState",
    "Lease",
    "LeaseLostError",
    "ProjectRow",
    "Proposal",
    "PublishedDraft",
    "Reply",
    "ReplyTable",
    "RoundRow",
    "Spending",
    "Store",
    "StoreError",
    "Vectors",
    "check_url",
    "process_name",
    "read_credentials",
    "save_credentials",
]


WRITE_TEST_BYTES = 64 * 1024
WIPE_TRIES, WIPE_RETRY_SECONDS = 100, 0.1  # a process that reads or writes at that moment prevents the wipe


class Store:
    """All data that outlives a process: one attribute for each table or group of tables."""

    def __init__(self, settings: Settings, *, must_exist: bool = False, clock: Clock = SYSTEM_CLOCK) -> None:
        """Opens the store, and creates it if it does not exist. Raises StoreError if `must_exist` is True and there is
        no store."""
        self.folder = settings.data_dir
        if must_exist and not settings.store_url and not settings.database_file.is_file():
            raise StoreError(
                f"There is no store in {settings.data_dir}: run this in the folder where `apprentice serve` was "
                "started, or give --data-dir"
            )
        self.clock = clock
        self.database = Database(settings.database_url, clock)
        self.database.upgrade()
        self.projects = Projects(self.database)
        self.connections = Connections(self.database)
        self.publications = Publications(self.database)
        self.synchronisation = Synchronisation(self.database)
        self.progress = Progress(self.database)
        self.monitor = ControlDocuments(self.database, schema.monitor)
        self.reviews = Reviews(self.database)
        self.teacher_states = TeacherStates(self.database)
        self.label_descriptions = ControlDocuments(self.database, schema.label_description)
        self.record_profiles = RecordProfiles(self.database)
        self.field_overrides = FieldOverrides(self.database)
        self.feature_scores = ControlDocuments(self.database, schema.feature_score)
        self.distillations = Distillations(self.database)
        self.tasks = Tasks(self.database)
        self.unusable_tasks = UnusableTasks(self.database)
        self.annotations = Annotations(self.database)
        self.versions = Versions(self.database)
        self.retention = Retention(self.database)
        self.questions = Questions(self.database)
        self.ledger = Ledger(self.database)
        self.evolution_rounds = EvolutionRounds(self.database)
        self.published_drafts = PublishedDrafts(self.database)
        self.stats = Stats(self.database)
        self.serving_rules = ServingRules(self.database)
        pipes = settings.data_dir / "signals"
        self.signals: Signals = (
            NamedPipes(self.database, pipes) if self.database.is_sqlite else Notifications(self.database)
        )
        self.jobs = Jobs(self.database, settings.lease_seconds, signals=self.signals)
        self._quotes = QuoteEraser(self.database)
        self.artifacts = Artifacts(self.folder / "artifacts")
        for folder in ("", "artifacts/*/", "vectors/*/*/"):
            remove_old(self.folder.glob(f"{folder}{TEMPORARY}*"))

    def vectors(self, project: int, space: str) -> Vectors:
        """Returns the cached vectors of a project in an encoder's feature space."""
        return Vectors(self.folder / "vectors" / space / str(project))

    def remove_vectors(self, project: int, prefix: str, kept: Collection[str]) -> None:
        """Removes a project's vectors in all feature spaces whose names begin with `prefix`, except those in `kept`."""
        for folder in (self.folder / "vectors").glob(f"{prefix}*"):
            if folder.name not in kept:
                shutil.rmtree(folder / str(project), ignore_errors=True)
                with suppress(OSError):  # not empty: other projects use the space, too
                    folder.rmdir()

    def erase_quotes(self, project: int) -> bool:
        """Removes texts of deleted tasks from the documents that quote them, for a fraction of a second. Returns False
        if nothing is left to do for now. Raises StoreError."""
        return self._quotes.step(project)

    def remove_unused_vectors(self, project: int) -> int:
        """Removes from one shard the vectors of texts that the project no longer has. Returns the number of removed
        vectors, 0 if no shard has any. Raises StoreError, and BlockingIOError while another process merges shards."""
        kept = content_keys(self.database, project)
        folders = (self.folder / "vectors").glob(f"*/{project}")
        return next((dropped for folder in folders if (dropped := drop_vectors(folder, kept))), 0)

    def count_rows(self, project: int) -> dict[str, int]:
        """Returns the number of a project's rows, by table."""
        return count_rows(self.database, project)

    def forget(self, project: int, *, ledger: bool = True) -> dict[str, int]:
        """Removes a project's rows from every table, its artifacts and its vectors, and returns the number of each. The
        call can be repeated if it was interrupted. A worker that runs a round of the project loses its lease.

        ledger  whether the ledger of the teacher's calls is removed as well
        """
        artifacts = self.artifacts.forget(project)
        folders = [folder for folder in (self.folder / "vectors").glob(f"*/{project}") if folder.is_dir()]
        vectors = sum(len(self.vectors(project, folder.parent.name)) for folder in folders)
        self.remove_vectors(project, "", ())
        rows = erase_project(self.database, project, ledger=ledger)
        for _ in range(WIPE_TRIES):
            if self.database.wipe():
                break
            self.clock.sleep(WIPE_RETRY_SECONDS)
        return {**rows, **{name: n for name, n in (("artifacts", artifacts), ("vectors", vectors)) if n}}

    def remove_orphans(self) -> None:
        """Removes the artifacts and vectors of projects that are not in the store, and empties the database's
        write-ahead log. A worker that ran a round while its project was removed may have written such files."""
        for pattern in ("artifacts/*", "vectors/*/*"):
            for folder in self.folder.glob(pattern):
                if folder.name.isdigit() and folder.is_dir() and self.projects.get(int(folder.name)) is None:
                    shutil.rmtree(folder, ignore_errors=True)
        self.database.wipe()

    def write_error(self) -> str:
        """Returns the error of the operating system if nothing can be written to the data folder, else ""."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"0" * WRITE_TEST_BYTES)
                file.flush()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def close(self) -> None:
        self.signals.close()
        self.database.close()


def save_credentials(data_dir: Path, url: str, api_key: str) -> None:
    """Saves the URL and the API key that `connect` was given, for the workers. Only this user may read the file."""
    text = json.dumps({"label_studio_url": url, "label_studio_api_key": api_key})
    write_atomically(data_dir / "credentials.json", lambda file: file.write(text.encode()))


def read_credentials(settings: Settings) -> tuple[str, str]:
    """Returns Label Studio's URL and API key from the settings. What the settings lack is taken from the file that
    `save_credentials` wrote. The key is "" if there is none; a saved key is returned with its saved URL only.
    """
    url, key = settings.label_studio_url.rstrip("/"), settings.label_studio_api_key.get_secret_value()
    try:
        saved = json.loads((settings.data_dir / "credentials.json").read_text())
        saved_url, saved_key = str(saved["label_studio_url"]), str(saved["label_studio_api_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return url, key
    if "label_studio_url" not in settings.model_fields_set:
        url = saved_url
    return url, key or (saved_key if url == saved_url else "")
