"""Keeps the models that predicted last: the web process would unpack the serving model for each request otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ml_backend.core.arrays import Tensors
from ml_backend.core.lru_cache import LruCache

MAX_MODELS = 8
"""Of all projects and controls of a process; a model with its counts of words takes a few megabytes."""
Model = TypeVar("Model")


class ModelCache(Generic[Model]):
    """Makes models of tensors, which must not change. Tensors are the same if they are the same objects."""

    def __init__(self, unpack: Callable[[Tensors], Model]) -> None:
        self._unpack = unpack
        self._models: LruCache[tuple[tuple[str, int], ...], tuple[Model, Tensors]] = LruCache(MAX_MODELS)

    def __call__(self, tensors: Tensors) -> Model:
        """The model of tensors."""
        key = tuple((name, id(tensor)) for name, tensor in sorted(tensors.items()))
        # the tensors are kept with the model, so that no other tensor gets the id of one of them
        model, _ = self._models.get(key, lambda: (self._unpack(tensors), dict(tensors)), 1)
        return model
