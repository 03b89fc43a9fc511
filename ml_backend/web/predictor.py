"""What the web process predicts with: the active version of each project, loaded once and followed as it changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft, Floats, Mask, ModelVersion, Prediction, TaskSchema, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.queue_builder import RANKED
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.pre_annotation import because, draft
from ml_backend.pool import feature_space
from ml_backend.pool.checked_encoder import encode_usable
from ml_backend.storage import ProjectRecord, Store, Vectors
from ml_backend.teacher.teacher_labels import of_texts

NO_VERSION = "apprentice-0"  # before the first round
MOST_KEPT = 32  # learners with their vectors, by project and space: those that were used last


class _Served:
    """What is kept of one project in one space, for one thread at a time: no project waits for another one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.version: ModelVersion | None = None  # that `learner` was loaded for
        self.learner: FittedModel | None = None
        self.vectors: Vectors | None = None


class Predictor:
    """Drafts on request, from cached vectors where the text has been seen. Safe to use from several threads."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._lock = threading.Lock()
        self._served: dict[tuple[int, str], _Served] = {}  # by project and space, what was used last comes last

    def version(self, project: int) -> str:
        """The model version that predictions of this project carry now."""
        record = self._store.projects.get(project)
        return (record.published if record else None) or NO_VERSION

    def predict(self, project: int, label_config: str, tasks: Sequence[int], texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order. Raises UnsupportedConfigError. Scores lie behind the published queue.

        Within them, the draft that is trusted least comes first. Tasks of the audit slice get no draft, here neither.
        """
        record = self._store.projects.ensure(project)
        schema = read_schema(label_config or record.label_config, record.choices)
        drafts: Sequence[Draft | None] = [None] * len(texts)
        if feature_space.is_ready(record, schema):
            encoder, learner = self._serving(record)
            expected, (vectors, usable) = self._by_teacher(record, schema, texts), self._encode(project, encoder, texts)
            records = encoder if isinstance(encoder, RecordEncoder) else None
            drafts = draft(self._settings, schema, learner, texts, vectors, expected, records=records)
            drafts = [each if there else None for each, there in zip(drafts, usable.tolist(), strict=True)]
        name, audited = record.published or NO_VERSION, self._store.versions.audited_among(project, tasks)
        return [
            Prediction(
                task=task,
                score=RANKED + (1 - RANKED) * (each.confidence if each else 0.0),
                draft=None if task in audited else each,
                reason=f"{each.author}{because(each)}, confidence {each.confidence:.2f} ({name})" if each else "",
            )
            for task, each in zip(tasks, drafts, strict=True)
        ]

    def _serving(self, record: ProjectRecord) -> tuple[Encoder, FittedModel | None]:
        """The learner that serves, in its space: of records, that may be the one before, until a round has come to its
        end in the one of today."""
        encoder = feature_space.encoder_of(self._settings, record)
        learner = self._learner(record.id, encoder.name)
        before = None if learner else feature_space.records_of(self._settings, record, feature_space.BEFORE)
        if before and (found := self._learner(record.id, before.name)):
            return before, found
        return encoder, learner

    def _learner(self, project: int, space_name: str) -> FittedModel | None:
        active = self._store.versions.active(project)
        if active is None:
            return None
        served = self._use(project, space_name)
        with served.lock:
            if served.version is None or not _serves(served.learner, served.version, active):
                found, _ = fitted_model.load_best(self._store, active, space_name)
                served.learner = found.for_drafts() if found else None
            served.version = active
            return served.learner

    def _by_teacher(self, record: ProjectRecord, schema: TaskSchema, texts: Sequence[str]) -> Floats | None:
        """What the teacher has said of these texts before; it is not asked now. None if it is one that cannot be."""
        teacher = (record.teacher or {}).get("name")
        if not teacher:
            return None
        return of_texts(self._store, teacher, schema, record.id, texts)

    def _encode(self, project: int, encoder: Encoder, texts: Sequence[str]) -> tuple[Floats, Mask]:
        """(n, d) vectors, and which of the texts (n,) have one."""
        keys = [content_key(text) for text in texts]
        served = self._use(project, encoder.name)
        with served.lock:
            if served.vectors is None:
                served.vectors = self._store.vectors(project, encoder.name)
            cache = served.vectors
            cache.refresh()
            places = cache.find(keys)
            out = np.zeros((len(texts), encoder.dim), np.float32)
            found = places >= 0
            if found.any():
                out[found] = cache.read(places[found])
        missing = np.flatnonzero(~found)
        if len(missing):
            out[missing], found[missing] = encode_usable(encoder.encode, [texts[row] for row in missing])
        return out, found

    def _use(self, project: int, space_name: str) -> _Served:
        """What is kept of a project in a space; what was used least lately is let go of."""
        key = (project, space_name)
        with self._lock:
            served = self._served.pop(key) if key in self._served else _Served()
            self._served[key] = served
            while len(self._served) > MOST_KEPT:
                del self._served[next(iter(self._served))]
        return served


def _serves(learner: FittedModel | None, loaded: ModelVersion, active: ModelVersion) -> bool:
    """Whether what was loaded for a version is what the active one serves: it is the same, or a later one of the same
    learner. Under a number that begins anew, there is another project."""
    same_learner = learner is not None and learner.number == active.learner and active.number > loaded.number
    return active.name == loaded.name or same_learner
