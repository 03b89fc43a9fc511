"""Stores tasks for pools of project 5, and views of them."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import TaskContent, content_key
from ml_backend.pool.pool_snapshot import PoolView
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store


def example(task: int, text: str) -> TaskContent:
    return TaskContent(task, text, content_key(text))


def put(store: Store, *numbers: int) -> int:
    store.projects.ensure(5)
    store.tasks.put(5, [example(number, f"text number {number}") for number in numbers])
    return store.projects.ensure(5).tasks_revision


def full_view(pool: ProjectPool, *, with_learner: bool) -> PoolView:
    """The view when every task may be served."""
    return pool.view(np.ones(len(pool.tasks), np.bool_), with_learner)
