"""Tasks whose vector is not finite are unusable, and the others are encoded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from project_pools import example, full_view, put

from ml_backend.core.arrays import Floats
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.storage.unusable_tasks import NOT_FINITE


class DamagedEncoder(FakeEncoder):
    """The vectors and sketches of texts with "20" have a `bad` value."""

    def __init__(self, bad: float) -> None:
        super().__init__()
        self._bad = bad

    def encode(self, texts: Sequence[str]) -> Floats:
        vectors = super().encode(texts)
        vectors[["20" in text for text in texts], 3] = self._bad
        return vectors

    sketch = encode


def test_a_sketch_that_is_not_finite_becomes_zeros_and_its_task_stays_usable(store: Store) -> None:
    pool = ProjectPool(store, 5, DamagedEncoder(np.nan))
    pool.refresh(put(store, *range(1, 251)))
    view = full_view(pool, with_learner=False)
    assert view.space == "sketch" and len(view.rows) == 250 and not pool.unusable.any()
    sketches = np.asarray(view.vectors)
    damaged = pool.tasks == 20
    assert not sketches[damaged].any() and sketches[pool.tasks == 19].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_task_whose_vector_is_not_finite_is_unusable_and_the_others_are_encoded(store: Store, bad: float) -> None:
    """No other code checks the vectors again."""

    encoder = DamagedEncoder(bad)
    pool = ProjectPool(store, 5, encoder)
    pool.refresh(put(store, 10, 20, 30))
    pool.encode_some(3)
    assert (pool.encoded.tolist(), pool.unusable.tolist()) == ([True, False, True], [False, True, False])
    assert pool.tasks[full_view(pool, with_learner=True).rows].tolist() == [10, 30]
    assert store.unusable_tasks.codes(5) == {20: NOT_FINITE}
    assert len(store.vectors(5, "fake")) == 2

    encoder.encoded.clear()
    other = ProjectPool(store, 5, encoder)
    other.refresh(store.projects.ensure(5).tasks_revision)
    assert not other.missing.any() and not encoder.encoded, "another process reads it from the store"
    assert np.isfinite(other.encoded_vectors(np.arange(3))).all()

    store.tasks.put(5, [example(20, "another text")])
    other.refresh(store.projects.ensure(5).tasks_revision)
    assert other.missing.tolist() == [False, True, False]
    assert store.unusable_tasks.codes(5) == {}
    other.encode_some(3)
    assert other.encoded.all()


def test_an_unusable_row_is_forgotten_with_its_task_and_with_its_encoder(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    fake_encoder.useless = {"text number 10", "text number 20"}
    pool.refresh(put(store, 10, 20, 30))
    pool.encoded_vectors(np.arange(3))
    store.tasks.remove(5, [10])
    assert store.unusable_tasks.codes(5) == {20: NOT_FINITE}
    pool.use_encoder(FakeEncoder("another"))
    pool.refresh(store.projects.ensure(5).tasks_revision)
    pool.encoded_vectors(np.arange(2))
    assert pool.encoded.all() and store.unusable_tasks.codes(5) == {}
