"""Predictions on request, from the active model version of each project.

The web process loads a version once and reloads it when another learner becomes active.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from ml_backend.core.arrays import Rows
from ml_backend.core.ports import Encoder
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.texts import WordVectors
from ml_backend.core.types import Draft, ModelVersion, Prediction, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.queue_builder import MAX_QUEUE_SCORE
from ml_backend.model import project_model
from ml_backend.model.pre_annotation import DraftedTasks, draft_origin, lowest_confidence, make_drafts
from ml_backend.model.project_model import ProjectModel, is_of_kind, models_of
from ml_backend.pool import feature_space
from ml_backend.pool.encoded_texts import EncodedTexts, encode_texts
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import ProjectRow, Store, Vectors
from ml_backend.teacher.teacher_labels import expected_labels_of_texts

INITIAL_VERSION = "apprentice-0"  # the model version before the first round
MAX_SPACES_IN_MEMORY = 32  # learners with their vectors, by project and feature space; the least recently used go first


class _LoadedSpace:
    """The learners and the vectors of one project in one feature space. Each instance has its own lock, so that no
    project waits for another one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.version: ModelVersion | None = None  # the version that `model` was loaded for
        self.model: ProjectModel | None = None
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
        drafts: Sequence[Mapping[str, Draft]] = [{} for _ in texts]
        if feature_space.has_feature_space(project_row, schema.input):
            encoder, model = self._serving(project_row)
            teacher_labels = self._teacher_labels(project_row, schema, texts)
            encoded = self._encode(project, encoder, texts)
            record_encoder = feature_space.as_record_encoder(encoder)
            drafted = DraftedTasks(texts, encoded.vectors, teacher_labels, words=encoded.words)
            models = {
                control.name: of_control
                for control in schema.controls
                if (of_control := models_of(model).get(control.name)) and is_of_kind(of_control, control)
            }
            made = make_drafts(self._settings, schema, models, drafted, record_encoder)
            drafts = [
                task_drafts if has_vector else {}
                for task_drafts, has_vector in zip(made, encoded.usable.tolist(), strict=True)
            ]
        name, audited = project_row.published or INITIAL_VERSION, self._store.versions.audited_among(project, tasks)
        return [
            Prediction(
                task=task,
                score=MAX_QUEUE_SCORE + (1 - MAX_QUEUE_SCORE) * lowest_confidence(task_drafts),
                drafts={} if task in audited else task_drafts,
                reason=_reason(task_drafts, name),
            )
            for task, task_drafts in zip(tasks, drafts, strict=True)
        ]

    def _serving(self, project_row: ProjectRow) -> tuple[Encoder, ProjectModel | None]:
        """Returns the learners that serve, with the encoder of their feature space. If the profile of records or the
        layers of words have changed, the previous space serves until a round in the new one is complete."""
        encoder = feature_space.project_encoder(self._settings, project_row)
        model = self._model(project_row.id, encoder.name)
        previous_encoder = None if model else feature_space.previous_encoder(self._settings, project_row)
        if previous_encoder and (previous_model := self._model(project_row.id, previous_encoder.name)):
            return previous_encoder, previous_model
        return encoder, model

    def _model(self, project: int, space_name: str) -> ProjectModel | None:
        active = self._store.versions.active(project)
        if active is None:
            return None
        loaded = self._loaded_space(project, space_name)
        with loaded.lock:
            if loaded.version is None or not _is_current(loaded.model, loaded.version, active):
                model, _ = project_model.load_best(self._store, active, space_name)
                loaded.model = model.without_training_data() if model else None
            loaded.version = active
            return loaded.model

    def _teacher_labels(self, project_row: ProjectRow, schema: ProjectSchema, texts: Sequence[str]) -> dict[str, Rows]:
        """Returns the stored teacher labels of these texts (n, ...) for each control, without asking the teacher. None
        are returned if the project has no teacher that can be asked, or for a control that annotators leave empty."""
        teacher = (project_row.teacher or {}).get("name")
        if not teacher:
            return {}
        active = self._store.versions.active(project_row.id)
        versions = active.controls if active else {}
        return {
            control.name: expected_labels_of_texts(self._store, teacher, control, project_row.id, texts)
            for control in schema.controls
            if control.name not in versions or not versions[control.name].is_rarely_labelled
        }

    def _encode(self, project: int, encoder: Encoder, texts: Sequence[str]) -> EncodedTexts:
        """Returns the vectors of the texts, cached ones if possible."""
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
            has_words, cached = isinstance(encoder, WordSpaceEncoder), np.flatnonzero(has_vector)
            words: dict[int, WordVectors] = {}
            if len(cached):
                vectors[cached] = cache.read(positions[cached])
                if has_words:
                    words |= zip(cached.tolist(), cache.read_words(positions[cached]), strict=True)
        missing = np.flatnonzero(~has_vector)
        if len(missing):
            encoded = encode_texts(encoder, [texts[row] for row in missing])
            vectors[missing], has_vector[missing] = encoded.vectors, encoded.usable
            words |= zip(missing.tolist(), encoded.words or (), strict=False)
        return EncodedTexts(vectors, has_vector, [words[row] for row in range(len(texts))] if has_words else None)

    def _loaded_space(self, project: int, space_name: str) -> _LoadedSpace:
        """Returns the entry of a project and a space, and drops the least recently used entries above the limit."""
        key = (project, space_name)
        with self._lock:
            loaded = self._loaded.pop(key) if key in self._loaded else _LoadedSpace()
            self._loaded[key] = loaded
            while len(self._loaded) > MAX_SPACES_IN_MEMORY:
                del self._loaded[next(iter(self._loaded))]
        return loaded


def _is_current(model: ProjectModel | None, loaded: ModelVersion, active: ModelVersion) -> bool:
    """Whether the learners that were loaded for the version `loaded` also serve the version `active`. They do if the
    versions are the same, or if `active` is a later version with the same learners. An active version with a lower
    number belongs to another project, which has got the same number."""
    if active.name == loaded.name:
        return True
    same_artifact = model is not None and model.number == active.learner and active.number > loaded.number
    return same_artifact and loaded.controls_without_learner == active.controls_without_learner


def _reason(drafts: Mapping[str, Draft], version: str) -> str:
    """Returns the author, the explanation and the confidence of the drafts, and the version that made them; "" without
    drafts."""
    return f"{draft_origin(drafts, '')}, confidence {lowest_confidence(drafts):.2f} ({version})" if drafts else ""
