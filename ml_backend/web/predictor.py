"""Predictions on request, from the active model version of each project.

The web process loads a version once and reloads it when another learner becomes active.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.ports import Encoder
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft, ModelVersion, Prediction, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.queue_builder import MAX_QUEUE_SCORE
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.pre_annotation import DraftedTasks, explanation_text, make_drafts
from ml_backend.pool import feature_space
from ml_backend.pool.checked_encoder import encode_usable
from ml_backend.storage import ProjectRow, Store, Vectors
from ml_backend.teacher.teacher_labels import expected_labels_of_texts

INITIAL_VERSION = "apprentice-0"  # the model version before the first round
MAX_SPACES_IN_MEMORY = 32  # learners with their vectors, by project and feature space; the least recently used go first


class _LoadedSpace:
    """The learner and the vectors of one project in one feature space. Each instance has its own lock, so that no
    project waits for another one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.version: ModelVersion | None = None  # the version that `learner` was loaded for
        self.learner: FittedModel | None = None
        self.vectors: Vectors | None = None


class Predictor:
    """Predicts on request. Takes vectors from the cache for texts that were encoded before. Thread-safe."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._lock = threading.Lock()
        self._loaded: dict[tuple[int, str], _LoadedSpace] = {}  # by project and space, the most recently used is last

    def version(self, project: int) -> str:
        """Returns the model version that predictions of this project carry now."""
        project_row = self._store.projects.get(project)
        return (project_row.published if project_row else None) or INITIAL_VERSION

    def predict(self, project: int, label_config: str, tasks: Sequence[int], texts: Sequence[str]) -> list[Prediction]:
        """Returns one prediction per text, in order. Tasks of the audit sample get no draft.

        The scores place all these tasks behind the published queue, ordered by the confidence of their drafts, the
        lowest first. Raises UnsupportedConfigError if the labelling configuration is not supported.
        """
        project_row = self._store.projects.ensure(project)
        schema = read_schema(label_config or project_row.label_config, project_row.choices)
        drafts: Sequence[Draft | None] = [None] * len(texts)
        if feature_space.has_feature_space(project_row, schema.input):
            encoder, learner = self._serving(project_row)
            teacher_labels = self._teacher_labels(project_row, schema.control, texts)
            vectors, is_encoded = self._encode(project, encoder, texts)
            record_encoder = feature_space.as_record_encoder(encoder)
            drafted = DraftedTasks(texts, vectors, teacher_labels)
            made = make_drafts(self._settings, schema, learner, drafted, record_encoder)
            drafts = [
                row_draft if has_vector else None
                for row_draft, has_vector in zip(made, is_encoded.tolist(), strict=True)
            ]
        name, audited = project_row.published or INITIAL_VERSION, self._store.versions.audited_among(project, tasks)
        return [
            Prediction(
                task=task,
                score=MAX_QUEUE_SCORE + (1 - MAX_QUEUE_SCORE) * (task_draft.confidence if task_draft else 0.0),
                draft=None if task in audited else task_draft,
                reason=_reason(task_draft, name),
            )
            for task, task_draft in zip(tasks, drafts, strict=True)
        ]

    def _serving(self, project_row: ProjectRow) -> tuple[Encoder, FittedModel | None]:
        """Returns the learner that serves, with the encoder of its feature space. If the feature space of
        records has changed, the previous one serves until a round in the new one is complete."""
        encoder = feature_space.project_encoder(self._settings, project_row)
        learner = self._learner(project_row.id, encoder.name)
        previous_encoder = (
            None
            if learner
            else feature_space.project_record_encoder(self._settings, project_row, feature_space.PREVIOUS_PROFILE)
        )
        if previous_encoder and (previous_learner := self._learner(project_row.id, previous_encoder.name)):
            return previous_encoder, previous_learner
        return encoder, learner

    def _learner(self, project: int, space_name: str) -> FittedModel | None:
        active = self._store.versions.active(project)
        if active is None:
            return None
        loaded = self._loaded_space(project, space_name)
        with loaded.lock:
            if loaded.version is None or not _is_current(loaded.learner, loaded.version, active):
                learner, _ = fitted_model.load_best(self._store, active, space_name)
                loaded.learner = learner.without_training_data() if learner else None
            loaded.version = active
            return loaded.learner

    def _teacher_labels(self, project_row: ProjectRow, control: ControlSchema, texts: Sequence[str]) -> Floats | None:
        """Returns the stored teacher labels of these texts (n, c), without asking the teacher. None if the project has
        no teacher that can be asked."""
        teacher = (project_row.teacher or {}).get("name")
        if not teacher:
            return None
        return expected_labels_of_texts(self._store, teacher, control, project_row.id, texts)

    def _encode(self, project: int, encoder: Encoder, texts: Sequence[str]) -> tuple[Floats, Mask]:
        """Returns the vectors (n, d) of the texts, cached ones if possible, and a mask (n,) of the texts that have a
        vector."""
        keys = [content_key(text) for text in texts]
        loaded = self._loaded_space(project, encoder.name)
        with loaded.lock:
            if loaded.vectors is None:
                loaded.vectors = self._store.vectors(project, encoder.name)
            cache = loaded.vectors
            cache.refresh()
            positions = cache.find(keys)
            vectors = np.zeros((len(texts), encoder.dim), np.float32)
            has_vector = positions >= 0
            if has_vector.any():
                vectors[has_vector] = cache.read(positions[has_vector])
        missing = np.flatnonzero(~has_vector)
        if len(missing):
            vectors[missing], has_vector[missing] = encode_usable(encoder.encode, [texts[row] for row in missing])
        return vectors, has_vector

    def _loaded_space(self, project: int, space_name: str) -> _LoadedSpace:
        """Returns the entry of a project and a space, and drops the least recently used entries above the limit."""
        key = (project, space_name)
        with self._lock:
            loaded = self._loaded.pop(key) if key in self._loaded else _LoadedSpace()
            self._loaded[key] = loaded
            while len(self._loaded) > MAX_SPACES_IN_MEMORY:
                del self._loaded[next(iter(self._loaded))]
        return loaded


def _is_current(learner: FittedModel | None, loaded: ModelVersion, active: ModelVersion) -> bool:
    """Whether the learner that was loaded for the version `loaded` also serves the version `active`. It does if the
    versions are the same, or if `active` is a later version with the same learner. An active version with a lower
    number belongs to another project, which has got the same number."""
    same_learner = learner is not None and learner.number == active.learner and active.number > loaded.number
    return active.name == loaded.name or same_learner


def _reason(draft: Draft | None, version: str) -> str:
    """Returns the author, the explanation and the confidence of a draft, and the version that made it; "" without a
    draft."""
    return f"{draft.author}{explanation_text(draft)}, confidence {draft.confidence:.2f} ({version})" if draft else ""
