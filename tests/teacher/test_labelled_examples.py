"""Few-shot examples from the training data of several controls, compared with choosing from all tasks in a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from round_fixtures import active
from schemas import CONTROL

from ml_backend.core.settings import Settings
from ml_backend.core.types import LabelValue
from ml_backend.model import project_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import models_of
from ml_backend.storage import Store
from ml_backend.teacher import candidates
from ml_backend.teacher.candidates import LabelledExample, labelled_examples
from ml_backend.teacher.few_shot_selection import choose_examples
from ml_backend.teacher.project_context import ProjectContext, load_project_context

Load = Callable[[], tuple[ProjectContext, dict[str, FittedModel]]]


@pytest.fixture
def load(taught: dict[int, str], settings: Settings, store: Store) -> Load:
    def load() -> tuple[ProjectContext, dict[str, FittedModel]]:
        """A project with two controls. The annotators of every third task are evenly split on the first one, and the
        second one has labels of 20 of the 30 tasks."""
        context = load_project_context(settings, store, 5)
        models, _ = project_model.load_best(store, active(store), context.pool.space)
        first = models_of(models)[CONTROL]
        targets = first.snapshot.targets.copy()
        targets[::3] = [0.5, 0.5, *[0.0] * (targets.shape[1] - 2)]
        second = replace(first.snapshot, tasks=first.snapshot.tasks[10:], targets=first.snapshot.targets[10:])
        schema = replace(
            context.schema, controls=(*context.schema.controls, replace(context.schema.controls[0], name="second"))
        )
        return replace(context, schema=schema), {
            CONTROL: replace(first, snapshot=replace(first.snapshot, targets=targets)),
            "second": replace(first, snapshot=second, held_out=first.held_out[10:]),
        }

    return load


def certain_labels(model: FittedModel) -> dict[int, LabelValue]:
    """The labels of each task on which the annotators are not evenly split."""
    return {
        task: (model.snapshot.labels[row.index(1.0)],)
        for task, row in zip(model.snapshot.tasks.tolist(), model.snapshot.targets.tolist(), strict=True)
        if max(row) == 1.0
    }


def examples_by_hand(
    store: Store, context: ProjectContext, models: Mapping[str, FittedModel], rows: list[int]
) -> list[list[LabelledExample]]:
    labels = {name: certain_labels(model) for name, model in models.items()}
    tasks = np.array(sorted(set().union(*labels.values())), np.int64)
    vectors = np.asarray(context.pool.vectors_at(context.pool.rows_of(tasks)))
    controls = [control for control in context.schema.controls if control.name in models]
    errors = np.fmax.reduce([models[control.name].errors(tasks, control) for control in controls])
    examples: list[list[LabelledExample]] = []
    for vector in np.asarray(context.pool.vectors_at(np.array(rows))):
        chosen = tasks[choose_examples(vector, vectors, errors)].tolist()
        texts = store.tasks.texts(5, chosen)
        examples.append(
            [
                (text, {name: of_task[task] for name, of_task in labels.items() if task in of_task})
                for task, text in zip(chosen, texts, strict=True)
            ]
        )
    return examples


@pytest.mark.parametrize("names", [(CONTROL,), (CONTROL, "second")])
def test_examples_have_the_certain_labels_of_every_control(load: Load, store: Store, names: tuple[str, ...]) -> None:
    context, models = load()
    models = {name: models[name] for name in names}
    rows = [40, 50, 60, 70, 80]
    examples = labelled_examples(store, context, models, np.asarray(context.pool.vectors_at(np.array(rows))))
    assert examples == examples_by_hand(store, context, models, rows)
    assert {frozenset(labels) for of_text in examples for _, labels in of_text} <= {
        frozenset(names[:1]), frozenset(names[1:]), frozenset(names),
    }  # fmt: skip
    assert all(examples)


def test_labels_are_listed_only_for_the_chosen_tasks(load: Load, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    context, models = load()
    listed: list[int] = []
    certain = candidates._certain_values

    def counted(*arguments: object) -> dict[int, LabelValue]:
        labels = certain(*arguments)  # type: ignore[arg-type]
        listed.append(len(labels))
        return labels

    monkeypatch.setattr(candidates, "_certain_values", counted)
    [examples] = labelled_examples(store, context, models, np.asarray(context.pool.vectors_at(np.array([40]))))
    assert listed and max(listed) <= len(examples)


def test_the_training_data_is_not_read_if_there_is_nothing_to_ask(
    load: Load, store: Store, statements: list[str]
) -> None:
    context, models = load()
    statements.clear()
    no_texts = np.asarray(context.pool.vectors_at(np.empty(0, np.int64)))
    assert labelled_examples(store, context, models, no_texts) == []
    assert not statements
