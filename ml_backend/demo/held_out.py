"""Measures the accuracy of the demo's learners on held-out tasks, beside that of learners of tasks in random order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Tensors, TrainingSet
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import Settings
from ml_backend.demo.texts import DemoTask
from ml_backend.kinds.base import fitted_schema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.project_model import load_best, models_of
from ml_backend.pool import feature_space
from ml_backend.storage import Store
from ml_backend.teacher import distillation
from ml_backend.teacher.descriptions import feature_scores

N_RANDOM_ORDERS = 5  # the accuracy in random order is the mean over these
Accuracies = dict[str, float | None]
"""The held-out accuracy for each control, by its name; None before there is a learner."""


class HeldOutEvaluator:
    """Evaluates the serving learners on held-out tasks, and learners of the same plugin and with the same priors that
    are fitted on the same number of labels in random order."""

    def __init__(
        self, settings: Settings, store: Store, project: int, pool: Sequence[DemoTask], held_out: Sequence[DemoTask]
    ) -> None:
        self._settings, self._store, self._project = settings, store, project
        project_row = store.projects.ensure(project)
        self.schema = read_schema(project_row.label_config, project_row.choices)
        self._task_of = {task.text: task for task in pool}
        self._encoder = feature_space.project_encoder(settings, project_row)
        self._project_row = project_row
        self._pool, self._held_out = pool, held_out
        self._orders: list[tuple[Floats, list[DemoTask]]] = []
        self._priors: dict[str, dict[str, Tensors]] = {}  # by control
        self._vectors: Floats = np.empty((0, 0), np.float32)

    def true_labels(self, text: str) -> list[tuple[ControlSchema, list[str]]]:
        """Each control with the right label of a text of the pool."""
        return [(control, [self._task_of[text].labels[control.name]]) for control in self.schema.controls]

    def prepare(self, n: int) -> None:
        """Encodes the held-out tasks and those of the random orders, and fits the priors, for up to n labels."""
        self._vectors = self._encoder.encode([task.text for task in self._held_out])
        for seed in range(N_RANDOM_ORDERS):
            sample = random.Random(seed).sample(list(self._pool), min(n, len(self._pool)))  # noqa: S311
            self._orders.append((self._encoder.encode([task.text for task in sample]), sample))
        # the tasks that are encoded so far: a random sample of the pool, or all of it
        cache = self._store.vectors(self._project, self._encoder.name)
        pool_vectors = [cache.read(np.arange(len(cache)))] if len(cache) else []
        vectors = np.concatenate([*pool_vectors, *(sample_vectors for sample_vectors, _ in self._orders)])
        self._priors = {control.name: self._fit_priors(control, vectors) for control in self.schema.controls}

    def active_accuracies(self) -> Accuracies:
        """The accuracies of the serving learners."""
        version = self._store.versions.active(self._project)
        project_model, _ = load_best(self._store, version, self._encoder.name)
        models = models_of(project_model)
        return {
            control.name: self._accuracy(control, models[control.name].predict(control, self._vectors))
            if control.name in models
            else None
            for control in self.schema.controls
        }

    def random_order_accuracies(self, n: int) -> Accuracies:
        """The mean accuracies after n labels, over the random orders whose first n labels are not all the same."""
        return {control.name: self._random_order_accuracy(control, n) for control in self.schema.controls}

    def _random_order_accuracy(self, control: ControlSchema, n: int) -> float | None:
        learner, priors = registry.learner(self._learner_name()), self._priors[control.name]
        accuracies = []
        for vectors, tasks in self._orders:
            targets = _targets(control, tasks[:n])
            train = TrainingSet(vectors[:n], targets, np.ones(n, np.float32), fitted_schema(control), priors=priors)
            if len(np.unique(targets.argmax(axis=1))) > 1:
                fit = learner.fit(train, seed=0)
                accuracies.append(self._accuracy(control, learner.predict(fit.tensors, self._vectors)))
        return float(np.mean(accuracies)) if accuracies else None

    def _fit_priors(self, control: ControlSchema, vectors: Floats) -> dict[str, Tensors]:
        label_names = distillation.pseudo_labels_of_names(control, self._encoder)
        attributions = None
        if isinstance(self._encoder, RecordEncoder):
            attributions = feature_scores.attributions(self._project_row, self._encoder, control)
        return distillation.distil_names(
            label_names, self._learner_name(), vectors, control, self._project, attributions
        )

    def _learner_name(self) -> str:
        options, _ = self._settings.for_project(self._store.projects.ensure(self._project).extra_params)
        return options.with_form_defaults(feature_space.task_form(self._encoder)).learner

    def _accuracy(self, control: ControlSchema, probabilities: Floats) -> float:
        is_right = probabilities.argmax(axis=1) == _targets(control, self._held_out).argmax(axis=1)
        return float(is_right.mean())


def _targets(control: ControlSchema, tasks: Sequence[DemoTask]) -> Floats:
    columns = [control.labels.index(task.labels[control.name]) for task in tasks]
    return np.eye(len(control.labels), dtype=np.float32)[columns]
