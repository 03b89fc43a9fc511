"""What the web process predicts with: the active version of each project, loaded once and followed as it changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ml_backend import knowledge, registry
from ml_backend.domain import Floats, Prediction, TaskSchema, content_key
from ml_backend.drafts import draft
from ml_backend.encoding import encode
from ml_backend.knowledge import Knowledge
from ml_backend.label_studio.config import read_schema
from ml_backend.ranking import RANKED
from ml_backend.settings import Settings
from ml_backend.store import ProjectRecord, Store, Vectors
from ml_backend.teaching.recall import of_texts

NO_VERSION = "apprentice-0"  # before the first round


class Predictor:
    """Drafts on request, from cached vectors where the text has been seen. Safe to use from several threads."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._encoder = registry.encoder(settings.encoder)
        self._lock = threading.Lock()
        self._loaded: dict[int, tuple[int, Knowledge | None]] = {}  # project -> number of the version, its learner
        self._vectors: dict[int, Vectors] = {}

    def version(self, project: int) -> str:
        """The model version that predictions of this project carry now."""
        record = self._store.projects.get(project)
        return (record.published if record else None) or NO_VERSION

    def predict(self, project: int, label_config: str, tasks: Sequence[int], texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order. Raises UnsupportedConfig. Scores lie behind the published queue.

        Within them, the draft that is trusted least comes first. Tasks of the audit slice get no draft, here neither.
        """
        record = self._store.projects.ensure(project)
        schema = read_schema(label_config or record.label_config)
        learner, expected = self._learner(project), self._by_teacher(record, schema, texts)
        drafts = draft(self._settings, schema, learner, texts, self._encode(project, tasks, texts), expected)
        name, audited = self.version(project), set(self._store.versions.audited(project))
        return [
            Prediction(
                task=task,
                score=RANKED + (1 - RANKED) * each.confidence,
                draft=None if task in audited else each,
                reason=f"{each.author}, confidence {each.confidence:.2f} ({name})",
            )
            for task, each in zip(tasks, drafts, strict=True)
        ]

    def _learner(self, project: int) -> Knowledge | None:
        active = self._store.versions.active(project)
        if active is None:
            return None
        with self._lock:
            number, learner = self._loaded.get(project, (0, None))
            if number != active.number:
                learner, _ = knowledge.load_best(self._store, active, self._encoder.name)
                self._loaded[project] = (active.number, learner)
        return learner

    def _by_teacher(self, record: ProjectRecord, schema: TaskSchema, texts: Sequence[str]) -> Floats | None:
        """What the teacher has said of these texts before; it is not asked now. None if it is one that cannot be."""
        teacher = (record.teacher or {}).get("name")
        if not teacher:
            return None
        return of_texts(self._store, teacher, schema, record.id, self._store.labels.of(record.id), texts)

    def _encode(self, project: int, tasks: Sequence[int], texts: Sequence[str]) -> Floats:
        keys = [content_key(text) for text in texts]
        with self._lock:
            cache = self._vectors.get(project)
            if cache is None:
                cache = self._vectors[project] = self._store.vectors(project, self._encoder.name)
            cache.refresh()
            places = cache.find(keys)
            out = np.zeros((len(texts), self._encoder.dim), np.float32)
            found = places >= 0
            if found.any():
                out[found] = cache.read(places[found])
        missing = np.flatnonzero(~found)
        if len(missing):
            some = [texts[row] for row in missing]
            out[missing] = encode(self._encoder.encode, some, [tasks[row] for row in missing], self._encoder.name)
        return out
