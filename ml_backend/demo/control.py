"""Measures the accuracy of the demo's learner on held-out tasks, beside that of a random-order control."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Tensors, TrainingSet
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.settings import Settings
from ml_backend.demo.texts import DemoTask
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.project_model import load_best, models_of
from ml_backend.pool import feature_space
from ml_backend.storage import Store
from ml_backend.teacher import distillation
from ml_backend.teacher.descriptions import feature_scores

N_RANDOM_ORDERS = 5  # the control's accuracy is the mean over these


class HeldOutEvaluator:
    """Evaluates the serving learner and a control on held-out tasks.

    The control is a learner of the same plugin and with the same priors, fitted on the same number of labels in random
    order.
    """

    def __init__(
        self, settings: Settings, store: Store, project: int, pool: Sequence[DemoTask], held_out: Sequence[DemoTask]
    ) -> None:
        self._settings, self._store, self._project = settings, store, project
        project_row = store.projects.ensure(project)
        self.schema = read_schema(project_row.label_config, project_row.choices)
        self.control = self.schema.controls[0]
        self._label_of = {task.text: task.label for task in pool}
        self._encoder = feature_space.project_encoder(settings, project_row)
        self._project_row = project_row
        self._pool, self._held_out = pool, held_out
        self._orders: list[tuple[Floats, Floats]] = []
        self._priors: dict[str, Tensors] = {}
        self._vectors: Floats = np.empty((0, 0), np.float32)

    def true_label(self, text: str) -> str:
        """The right label of a text of the pool."""
        return self._label_of[text]

    def prepare(self, n: int) -> None:
        """Encodes the held-out tasks and the control's tasks, and fits the priors, for up to n labels."""
        self._vectors = self._encoder.encode([task.text for task in self._held_out])
        for seed in range(N_RANDOM_ORDERS):
            sample = random.Random(seed).sample(list(self._pool), min(n, len(self._pool)))  # noqa: S311
            self._orders.append((self._encoder.encode([task.text for task in sample]), self._targets(sample)))
        # the tasks that are encoded so far: a random sample of the pool, or all of it
        cache = self._store.vectors(self._project, self._encoder.name)
        pool_vectors = [cache.read(np.arange(len(cache)))] if len(cache) else []
        vectors = np.concatenate([*pool_vectors, *(sample_vectors for sample_vectors, _ in self._orders)])
        label_names = distillation.pseudo_labels_of_names(self.control, self._encoder)
        attributions = None
        if isinstance(self._encoder, RecordEncoder):
            attributions = feature_scores.attributions(self._project_row, self._encoder, self.control)
        self._priors = distillation.distil_names(
            label_names, self._learner_name(), vectors, False, self._project, attributions
        )

    def active_accuracy(self) -> float | None:
        """Held-out accuracy of the serving learner, None before there is one."""
        version = self._store.versions.active(self._project)
        model, _ = load_best(self._store, version, self._encoder.name)
        learner = models_of(model).get(self.control.name)
        return None if learner is None else self._accuracy(learner.predict(self.control, self._vectors))

    def control_accuracy(self, n: int) -> float | None:
        """Mean held-out accuracy of the control after n labels, over the random orders whose first n labels are not all
        the same; None if there is no such order."""
        learner = registry.learner(self._learner_name())
        accuracies = []
        for vectors, targets in self._orders:
            train = TrainingSet(vectors[:n], targets[:n], np.ones(n, np.float32), multiple=False, priors=self._priors)
            if len(np.unique(targets[:n].argmax(axis=1))) > 1:
                accuracies.append(self._accuracy(learner.predict(learner.fit(train, seed=0).tensors, self._vectors)))
        return float(np.mean(accuracies)) if accuracies else None

    def _learner_name(self) -> str:
        options, _ = self._settings.for_project(self._store.projects.ensure(self._project).extra_params)
        return options.with_form_defaults(feature_space.task_form(self._encoder)).learner

    def _accuracy(self, probabilities: Floats) -> float:
        return float((probabilities.argmax(axis=1) == self._targets(self._held_out).argmax(axis=1)).mean())

    def _targets(self, tasks: Sequence[DemoTask]) -> Floats:
        columns = [self.control.labels.index(task.label) for task in tasks]
        return np.eye(len(self.control.labels), dtype=np.float32)[columns]
