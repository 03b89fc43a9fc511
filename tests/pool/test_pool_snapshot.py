"""A snapshot of a pool stays as it was, and cannot be written to."""

from __future__ import annotations

import numpy as np
import pytest
from project_pools import put

from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store


def test_a_snapshot_has_the_contents_of_the_pool_when_it_was_taken(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, *range(1, 9)))
    vectors = pool.encoded_vectors(np.arange(4)).copy()
    snapshot = pool.snapshot()
    assert (snapshot.space, snapshot.revision) == (pool.space, pool.revision)
    pool.encode_some(2)
    store.tasks.remove(5, [1, 2])
    pool.refresh(put(store, 3, 20))
    pool.encode_some(9)
    assert snapshot.tasks.tolist() == list(range(1, 9)) and pool.tasks.tolist() == [*range(3, 9), 20]
    assert snapshot.encoded.tolist() == [True] * 4 + [False] * 4
    view = snapshot.encoded_view()
    assert view.rows.tolist() == [0, 1, 2, 3] and np.array_equal(np.asarray(view.vectors), vectors)
    assert snapshot.rows_of(np.array([1, 20, 8])).tolist() == [0, 7]


def test_the_masks_of_a_snapshot_cannot_be_written_to(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, 1, 2))
    snapshot = pool.snapshot()
    for mask in (snapshot.encoded, snapshot.unusable):
        with pytest.raises(ValueError, match="read-only"):
            mask[0] = True
    pool.encode_some(2)
    assert pool.encoded.all() and not snapshot.encoded.any()
