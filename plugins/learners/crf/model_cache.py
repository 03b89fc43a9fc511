"""Keeps the models that predicted last: the web process would unpack the serving model for each request otherwise."""

from __future__ import annotations

from ml_backend.core.arrays import Tensors
from ml_backend.core.lru_cache import LruCache
from plugins.learners.crf.model import Model, unpack

MAX_MODELS = 8
"""Of all projects and controls of a process; a model with its counts of words takes a few megabytes."""

_cache: LruCache[tuple[tuple[str, int], ...], tuple[Model, Tensors]] = LruCache(MAX_MODELS)


def unpack_once(tensors: Tensors) -> Model:
    """The model of tensors, which must not change. Tensors are the same if they are the same objects."""
    key = tuple((name, id(tensor)) for name, tensor in sorted(tensors.items()))
    # the tensors are kept with the model, so that no other tensor gets the id of one of them
    model, _ = _cache.get(key, lambda: (unpack(tensors), dict(tensors)), 1)
    return model
