"""Measures the demo's learners on held-out tasks, beside learners of tasks in random order."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from ml_backend.core.arrays import Floats, Rows, Tensors, TrainingSet, are_equal
from ml_backend.core.ports import RecordEncoder, predict_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import Settings
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.types import Label, LabelValue
from ml_backend.core.words import word_offsets
from ml_backend.demo.texts import DemoTask
from ml_backend.kinds.lookup import fitted_schema, kind_of, learner_name
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.project_model import load_best, models_of
from ml_backend.model.training_sample import pool_texts
from ml_backend.pool import feature_space
from ml_backend.pool.encoded_texts import EncodedTexts, encode_texts
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.teacher import distillation
from ml_backend.teacher.descriptions import feature_scores

N_RANDOM_ORDERS = 5  # the scores in random order are means over these
Scores = dict[str, float]
"""Metrics of a control on the held-out tasks, by their names, without those that are not defined."""
HeldOutScores = dict[str, Scores]
"""The scores of each control, by its name."""


@dataclass(frozen=True, slots=True)
class EncodedTasks:
    """Tasks with the vectors of their texts."""

    tasks: Sequence[DemoTask]
    encoded: EncodedTexts

    def first(self, n: int) -> tuple[Floats, Texts]:
        """The vectors (n, d) and the texts of the first n tasks."""
        words = None if self.encoded.words is None else self.encoded.words[:n]
        return self.encoded.vectors[:n], texts_at([task.text for task in self.tasks[:n]], words)


class HeldOutEvaluator:
    """Evaluates the serving learners on held-out tasks, and learners of the same plugin and with the same priors that
    are fitted on the same number of labels in random order.

    metrics  the names of the `Kind.metrics` that are measured, of the drafts that annotators would be shown; () for the
             `Kind.main_metric` of each control, of all predictions, which is not defined before there is a learner
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        project: int,
        pool: Sequence[DemoTask],
        held_out: Sequence[DemoTask],
        metrics: Collection[str] = (),
    ) -> None:
        self._metrics = metrics
        self._settings, self._store, self._project = settings, store, project
        project_row = store.projects.ensure(project)
        self.schema = read_schema(project_row.label_config, project_row.choices)
        self._task_of = {task.text: task for task in pool}
        self._encoder = feature_space.project_encoder(settings, project_row)
        self._project_row = project_row
        self._pool, self._project_pool = pool, ProjectPool(store, project, self._encoder)
        self._orders: list[EncodedTasks] = []
        self._priors: dict[str, dict[str, Tensors]] = {}  # by control
        self._held_out = EncodedTasks(held_out, encode_texts(self._encoder, []))

    def true_values(self, text: str) -> list[tuple[ControlSchema, LabelValue]]:
        """Each control with the right value of a text of the pool."""
        return [(control, self._task_of[text].values[control.name]) for control in self.schema.controls]

    def prepare(self, n: int) -> None:
        """Encodes the held-out tasks and those of the random orders, and fits the priors, for up to n labels."""
        self._held_out = self._encode(self._held_out.tasks)
        for seed in range(N_RANDOM_ORDERS):
            sample = random.Random(seed).sample(list(self._pool), min(n, len(self._pool)))  # noqa: S311
            self._orders.append(self._encode(sample))
        # the tasks that are encoded so far: a random sample of the pool, or all of it
        cache = self._store.vectors(self._project, self._encoder.name)
        pool_vectors = [cache.read(np.arange(len(cache)))] if len(cache) else []
        vectors = np.concatenate([*pool_vectors, *(order.encoded.vectors for order in self._orders)])
        self._priors = {control.name: self._fit_priors(control, vectors) for control in self.schema.controls}

    def active_scores(self) -> HeldOutScores:
        """The scores of the serving learners."""
        version = self._store.versions.active(self._project)
        project_model, _ = load_best(self._store, version, self._encoder.name)
        models, (vectors, texts) = models_of(project_model), self._held_out.first(len(self._held_out.tasks))
        return {
            control.name: self._scores(control, models[control.name].predict(control, vectors, texts))
            if control.name in models
            else self._scores_without_learner(control)
            for control in self.schema.controls
        }

    def random_order_scores(self, n: int) -> HeldOutScores:
        """The mean scores after n labels, over the random orders. There is no learner if n labels are all the same."""
        return {control.name: self._random_order_scores(control, n) for control in self.schema.controls}

    def words_read(self) -> int:
        """The number of words in the annotated texts."""
        annotations = self._store.annotations.of(self._project)
        tasks = {annotation.task for annotation in annotations if not annotation.cancelled}
        return _n_words(self._store.tasks.texts(self._project, sorted(tasks)))

    def random_order_words(self, n: int) -> float:
        """The mean number of words in the first n texts, over the random orders."""
        return mean(_n_words(task.text for task in order.tasks[:n]) for order in self._orders)

    def _encode(self, tasks: Sequence[DemoTask]) -> EncodedTasks:
        return EncodedTasks(tasks, encode_texts(self._encoder, [task.text for task in tasks]))

    def _random_order_scores(self, control: ControlSchema, n: int) -> Scores:
        learner, priors = kind_of(control).learner(control, self._learner_name(control)), self._priors[control.name]
        held_out_vectors, held_out_texts = self._held_out.first(len(self._held_out.tasks))
        sample, by_order = self._pool_sample(), []
        for order in self._orders:
            targets, (vectors, texts) = _targets(control, order.tasks[:n]), order.first(n)
            if are_equal(targets):
                by_order.append(self._scores_without_learner(control))
                continue
            weights = np.ones(len(targets), np.float32)
            train = TrainingSet(
                vectors, targets, weights, fitted_schema(control), priors=priors, texts=texts, pool_texts=sample
            )
            tensors = learner.fit(train, seed=0).tensors
            by_order.append(self._scores(control, predict_rows(learner, tensors, held_out_vectors, held_out_texts)))
        names = dict.fromkeys(name for scores in by_order for name in scores)
        return {name: mean(scores[name] for scores in by_order if name in scores) for name in names}

    def _pool_sample(self) -> Texts:
        """The sample of the pool that the serving learners are fitted with, too."""
        self._project_pool.refresh(self._store.projects.require(self._project).tasks_revision)
        return pool_texts(self._project_pool)

    def _fit_priors(self, control: ControlSchema, vectors: Floats) -> dict[str, Tensors]:
        label_names = distillation.pseudo_labels_of_names(control, self._encoder)
        attributions = None
        if isinstance(self._encoder, RecordEncoder):
            attributions = feature_scores.attributions(self._project_row, self._encoder, control)
        return distillation.distil_names(label_names, self._setting(), vectors, control, self._project, attributions)

    def _learner_name(self, control: ControlSchema) -> str:
        return learner_name(control, self._setting())

    def _setting(self) -> str:
        """The setting `learner`."""
        options, _ = self._settings.for_project(self._store.projects.ensure(self._project).extra_params)
        return options.with_form_defaults(feature_space.task_form(self._encoder)).learner

    def _scores(self, control: ControlSchema, predicted: Rows) -> Scores:
        of_kind, targets = kind_of(control), _targets(control, self._held_out.tasks)
        if self._metrics:
            values = of_kind.metrics(control, shown_drafts(control, predicted), targets)
            return {name: values[name] for name in self._metrics if name in values}
        name = of_kind.main_metric(control)
        if name == of_kind.score_name(control):
            return {name: float(of_kind.scores(control, predicted, targets).mean())}
        values = of_kind.metrics(control, predicted, targets)
        return {name: values[name]} if name in values else {}

    def _scores_without_learner(self, control: ControlSchema) -> Scores:
        return self._scores(control, _no_drafts(control, len(self._held_out.tasks))) if self._metrics else {}


def shown_drafts(control: ControlSchema, predicted: Rows) -> Rows:
    """(n, ...) predictions, in which those that are not drafted are replaced by what is expected without a learner."""
    is_hidden = np.array([draft is None for draft in kind_of(control).drafts(control, predicted)], np.bool_)
    shown = predicted.copy()
    shown[is_hidden] = _no_drafts(control, len(predicted))[is_hidden]
    return shown


def _no_drafts(control: ControlSchema, n: int) -> Rows:
    of_kind = kind_of(control)
    return of_kind.without_learner(control, of_kind.as_targets(control, []), n)


def _targets(control: ControlSchema, tasks: Sequence[DemoTask]) -> Rows:
    of_kind = kind_of(control)
    return of_kind.as_targets(
        control, [of_kind.aggregate(control, [Label(task.values[control.name])]) for task in tasks]
    )


def _n_words(texts: Iterable[str]) -> int:
    return sum(len(word_offsets(text)[0]) for text in texts)
