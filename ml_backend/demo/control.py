"""Measures the demo from outside: accuracy on questions that the project never held, beside a random-order control."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from ml_backend.core import registry
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.settings import Settings
from ml_backend.core.types import Floats, TaskSchema, Tensors, TrainingSet
from ml_backend.demo.texts import Question
from ml_backend.model import fitted_model
from ml_backend.pool import feature_space
from ml_backend.storage import Store
from ml_backend.teacher import distillation
from ml_backend.teacher.descriptions import feature_scores

ORDERS = 5  # random orders that the control is averaged over


class Examiner:
    """Examines the serving learner, and one of the same kind, with the same knowledge to start from, taught the
    same number of labels in random order and nothing else."""

    def __init__(
        self, settings: Settings, store: Store, project: int, schema: TaskSchema,
        pool: Sequence[Question], held_out: Sequence[Question],
    ) -> None:  # fmt: skip
        self._settings, self._store, self._project, self._schema = settings, store, project, schema
        record = store.projects.ensure(project)
        self._encoder = feature_space.encoder_of(settings, record)
        self._record = record
        self._pool, self._held_out = pool, held_out
        self._orders: list[tuple[Floats, Floats]] = []
        self._priors: dict[str, Tensors] = {}
        self._vectors: Floats = np.empty((0, 0), np.float32)

    def prepare(self, n: int) -> None:
        """Encodes what is needed for n labels."""
        self._vectors = self._encoder.encode([question.text for question in self._held_out])
        for seed in range(ORDERS):
            drawn = random.Random(seed).sample(list(self._pool), min(n, len(self._pool)))  # noqa: S311
            self._orders.append((self._encoder.encode([question.text for question in drawn]), self._targets(drawn)))
        cache = self._store.vectors(self._project, self._encoder.name)  # a random part of the pool, or all of it
        around = [cache.read(np.arange(len(cache)))] if len(cache) else []
        vectors = np.concatenate([*around, *(drawn for drawn, _ in self._orders)])
        names = distillation.named(self._schema, self._encoder)
        known = None
        if isinstance(self._encoder, RecordEncoder):
            known = feature_scores.attributions(self._record, self._encoder, self._schema)
        self._priors = distillation.of_names(names, self._learner(), vectors, False, self._project, known)

    def active(self) -> float | None:
        """Held-out accuracy of the serving learner, None before there is one."""
        version = self._store.versions.active(self._project)
        learner, _ = fitted_model.load_best(self._store, version, self._encoder.name)
        return None if learner is None else self._accuracy(learner.predict(self._schema, self._vectors))

    def random_order(self, n: int) -> float | None:
        """Mean held-out accuracy of the control after n labels, None where one class is all it has seen."""
        learner = registry.learner(self._learner())
        found = []
        for vectors, targets in self._orders:
            train = TrainingSet(vectors[:n], targets[:n], np.ones(n, np.float32), multiple=False, priors=self._priors)
            if len(np.unique(targets[:n].argmax(axis=1))) > 1:
                found.append(self._accuracy(learner.predict(learner.fit(train, seed=0).tensors, self._vectors)))
        return float(np.mean(found)) if found else None

    def _learner(self) -> str:
        options, _ = self._settings.for_project(self._store.projects.ensure(self._project).extra_params)
        return options.of_form(feature_space.form(self._encoder)).learner

    def _accuracy(self, probabilities: Floats) -> float:
        return float((probabilities.argmax(axis=1) == self._targets(self._held_out).argmax(axis=1)).mean())

    def _targets(self, some: Sequence[Question]) -> Floats:
        rows = [self._schema.labels.index(question.label) for question in some]
        return np.eye(len(self._schema.labels), dtype=np.float32)[rows]
