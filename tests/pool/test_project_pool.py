"""The pool of a project: its rows and vectors between rounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_encoder import FakeEncoder, bag_of_words
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from project_pools import example, full_view, put

from ml_backend.core.arrays import Ints, Mask
from ml_backend.core.settings import Settings
from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.pool import project_pool as module
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.storage.tasks import Tasks


def test_the_pool_has_the_tasks_of_the_store_in_order(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, 30, 10, 20))
    assert pool.tasks.tolist() == [10, 20, 30]
    assert not pool.encoded.any()


def test_vectors_belong_to_their_tasks_and_are_made_once(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    pool.refresh(put(store, 10, 20, 30))
    vectors = pool.encoded_vectors(np.array([2, 0]))
    assert np.allclose(vectors, bag_of_words(["text number 30", "text number 10"], 32))
    pool.encoded_vectors(np.array([0, 1, 2]))
    assert sorted(fake_encoder.encoded) == ["text number 10", "text number 20", "text number 30"]


def test_vectors_survive_a_refresh_and_a_new_pool(pool: ProjectPool, store: Store, fake_encoder: FakeEncoder) -> None:
    pool.refresh(put(store, 10, 20, 30))
    pool.encoded_vectors(np.arange(3))
    store.tasks.remove(5, [20])
    pool.refresh(put(store, 5))
    assert pool.tasks.tolist() == [5, 10, 30]
    assert pool.encoded.tolist() == [False, True, True]
    expected = bag_of_words(["text number 10", "text number 30"], 32)
    assert np.allclose(pool.encoded_vectors(np.array([1, 2])), expected, atol=2e-3)  # kept as fp16
    other = ProjectPool(store, 5, fake_encoder)
    other.refresh(store.projects.ensure(5).tasks_revision)
    assert other.encoded.tolist() == [False, True, True]
    assert len(fake_encoder.encoded) == 3


def test_a_pool_without_a_vector_finds_those_of_another_process(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    revision = put(store, 10, 20, 30)
    pool.refresh(revision)
    other = ProjectPool(store, 5, fake_encoder)
    other.refresh(revision)
    other.encoded_vectors(np.array([1]))
    other.flush()
    pool.refresh(revision)
    assert pool.encoded.tolist() == [False, True, False]


def test_a_changed_text_is_encoded_again(pool: ProjectPool, store: Store, fake_encoder: FakeEncoder) -> None:
    pool.refresh(put(store, 10, 20))
    pool.encoded_vectors(np.arange(2))
    store.tasks.put(5, [example(10, "something else")])
    pool.refresh(store.projects.ensure(5).tasks_revision)
    assert pool.encoded.tolist() == [False, True]
    assert np.allclose(pool.encoded_vectors(np.array([0])), bag_of_words(["something else"], 32))


def test_a_text_that_changes_before_it_is_encoded_gets_its_own_vector(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    """The webhook may change or remove a task between the reading of its key and the reading of its text."""
    pool.refresh(put(store, 10, 20))
    store.tasks.put(5, [example(10, "something else")])
    store.tasks.remove(5, [20])
    pool.encoded_vectors(np.arange(2))
    pool.flush()
    put(store, 30)
    store.tasks.put(5, [example(40, "text number 10"), example(50, "text number 20")])
    pool.refresh(store.projects.ensure(5).tasks_revision)
    rows = pool.rows_of(np.array([10, 40, 50]))
    expected = bag_of_words(["something else", "text number 10", "text number 20"], 32)
    assert np.allclose(pool.encoded_vectors(rows), expected, atol=2e-3)


def test_a_full_disk_loses_no_vector(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from ml_backend.core.exceptions import StoreError

    pool.refresh(put(store, 10, 20))
    pool.encoded_vectors(np.arange(2))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError):
            pool.flush()
    pool.flush()
    assert len(store.vectors(5, "fake")) == 2


class ContentsWithTasks(PoolContents):
    """The contents of a pool that has these tasks, ascending."""

    def __init__(self, store: Store, encoder: FakeEncoder, tasks: list[int]) -> None:
        super().__init__(store, 5, encoder)
        self._tasks = np.array(tasks, np.int64)


@given(tasks=st.sets(st.integers(1, 30)), requested=st.sets(st.integers(1, 35)))
def test_rows_of_tasks_equal_those_of_a_linear_search(
    tasks: set[int], requested: set[int], store: Store, fake_encoder: FakeEncoder
) -> None:
    all_tasks = sorted(tasks)
    pool = ContentsWithTasks(store, fake_encoder, all_tasks)
    assert pool.rows_of(np.array(sorted(requested), np.int64)).tolist() == [
        all_tasks.index(task) for task in sorted(requested) if task in tasks
    ]


def test_a_small_pool_is_encoded_at_once(pool: ProjectPool, store: Store, fake_encoder: FakeEncoder) -> None:
    pool.refresh(put(store, *range(1, 51)))
    view = full_view(pool, with_learner=False)
    assert (view.space, view.rows.tolist()) == ("encoded", list(range(50)))
    assert fake_encoder.sketched == []


def test_a_large_pool_starts_with_sketches_and_goes_on_with_vectors(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    pool.refresh(put(store, *range(1, 1001)))
    view = full_view(pool, with_learner=False)
    assert (view.space, len(view.rows), view.vectors.shape) == ("sketch", 1000, (1000, 16))
    assert fake_encoder.encoded == []
    assert np.allclose(view.vectors[3], bag_of_words(["text number 4"], 16))
    full_view(pool, with_learner=False)
    assert len(fake_encoder.sketched) == 1000, "sketched once"
    while pool.encoded.sum() < module.MIN_ENCODED_FOR_QUEUE:
        pool.encode_some(100)
    view = full_view(pool, with_learner=False)
    assert (view.space, len(view.rows)) == ("encoded", module.MIN_ENCODED_FOR_QUEUE)
    assert np.allclose(view.vectors, bag_of_words([f"text number {row + 1}" for row in view.rows], 32))


def test_tasks_that_are_sketched_ahead_are_sketched_once(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    pool.sketch_ahead([example(number, f"text number {number}") for number in range(1, 601)])
    pool.sketch_ahead([example(number, f"text number {number}") for number in range(601, 611)])
    assert len(fake_encoder.sketched) == 600, "a few tasks are sketched later"
    pool.refresh(put(store, *range(1, 1001)))
    view = full_view(pool, with_learner=False)
    assert len(fake_encoder.sketched) == 1000
    assert np.allclose(view.vectors, bag_of_words([f"text number {task}" for task in pool.tasks], 16))


def test_no_sketch_is_made_ahead_where_vectors_are_cached(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    pool.refresh(put(store, *range(1, 601)))
    pool.encoded_vectors(np.arange(600))
    pool.flush()
    ProjectPool(store, 5, fake_encoder).sketch_ahead([example(number, f"other {number}") for number in range(1, 601)])
    assert fake_encoder.sketched == []


@pytest.mark.parametrize("with_learner", [True, False])
def test_annotated_tasks_do_not_count_as_tasks_that_may_be_served(
    pool: ProjectPool, store: Store, *, with_learner: bool
) -> None:
    pool.refresh(put(store, *range(1, 2001)))
    free = np.arange(2000) >= 900
    pool.encoded_vectors(np.arange(900))
    view = pool.view(free, with_learner)
    assert free[view.rows].sum() >= module.MAX_ENCODED_PER_ROUND


def test_with_a_learner_a_view_has_encoded_tasks_alone(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, *range(1, 1001)))
    pool.encoded_vectors(np.array([5]))
    view = full_view(pool, with_learner=True)
    assert view.space == "encoded"
    assert module.MAX_ENCODED_PER_ROUND <= len(view.rows) < 1000
    assert 5 in view.rows


def test_encoding_in_batches_reaches_all_tasks(pool: ProjectPool, store: Store, fake_encoder: FakeEncoder) -> None:
    pool.refresh(put(store, *range(1, 101)))
    for missing in (70, 40, 10, 0, 0):
        pool.encode_some(30)
        assert pool.missing.sum() == missing
    assert len(fake_encoder.encoded) == len(set(fake_encoder.encoded)) == 100
    assert len(store.vectors(5, "fake")) == 100


def test_a_batch_encoded_while_the_pool_changes_gives_vectors_to_unchanged_tasks(
    pool: ProjectPool, store: Store
) -> None:
    pool.refresh(put(store, 10, 20, 30, 40))
    batch = pool.draw(4)
    pool.encoded_vectors(pool.rows_of(np.array([40])))
    before = pool.vectors_at(pool.rows_of(np.array([40])))[:].copy()
    store.tasks.put(5, [example(20, "another text")])
    store.tasks.remove(5, [30])
    pool.refresh(put(store, 5))
    encoded_batch = batch.encode()
    pool.store_vectors(batch, replace(encoded_batch, vectors=encoded_batch.vectors + 1))
    assert (pool.tasks.tolist(), pool.missing.tolist()) == ([5, 10, 20, 40], [True, False, True, False])
    [encoded, kept] = np.asarray(pool.vectors_at(pool.rows_of(np.array([10, 40]))))
    assert np.allclose(encoded, bag_of_words(["text number 10"], 32)[0] + 1)
    assert np.array_equal(kept, before[0]), "a slot that was filled stays as it is"


def test_a_batch_whose_tasks_are_all_removed_is_no_error(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, 10, 20))
    batch = pool.draw(2)
    store.tasks.remove(5, [10, 20])
    pool.refresh(put(store, 30))
    pool.store_vectors(batch, batch.encode())
    assert pool.missing.tolist() == [True]


def test_a_batch_of_another_encoder_is_ignored(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, 10, 20))
    batch = pool.draw(2)
    pool.use_encoder(FakeEncoder("other"))
    pool.refresh(put(store, 10, 20))
    pool.store_vectors(batch, batch.encode())
    assert pool.missing.all()


def test_an_empty_batch_is_no_error(pool: ProjectPool, store: Store) -> None:
    store.projects.ensure(5)
    pool.refresh(0)
    batch = pool.draw(3)
    pool.store_vectors(batch, batch.encode())
    assert not len(pool.tasks)


class CountingTasks(Tasks):
    """Counts the rows that are read."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database)
        self.rows = 0

    def changed_since(self, project_id: int, since: int) -> tuple[Ints, list[bytes], Mask]:
        tasks, keys, synthetic = super().changed_since(project_id, since)
        self.rows += len(tasks)
        return tasks, keys, synthetic

    def ids(self, project_id: int) -> Ints:
        ids = super().ids(project_id)
        self.rows += len(ids)
        return ids


def test_a_new_or_changed_task_gets_a_slot_and_moves_no_other_vector(pool: ProjectPool, store: Store) -> None:
    store.tasks = counting = CountingTasks(store)
    pool.refresh(put(store, *range(1, 301)))
    pool.encoded_vectors(np.arange(300))
    pool.flush()
    view, counting.rows = pool.encoded_view(), 0
    copy = np.array(view.vectors)
    put(store, 400)
    store.tasks.put(5, [example(7, "something else")])
    pool.refresh(store.projects.ensure(5).tasks_revision)
    assert counting.rows == 2
    later = pool.encoded_view()
    assert len(later.rows) == 299
    assert np.shares_memory(later.vectors[:6], view.vectors)
    assert np.shares_memory(later.vectors[6:299], view.vectors)
    pool.encoded_vectors(np.arange(301))
    assert np.array_equal(view.vectors, copy), "an older view still has the same vectors"


def test_a_view_copies_nothing_while_some_task_is_not_encoded(pool: ProjectPool, store: Store) -> None:
    pool.refresh(put(store, *range(1, 301)))
    pool.encoded_vectors(np.flatnonzero(np.arange(300) != 150))
    view = pool.encoded_view()
    assert view.vectors.shape == (299, 32)
    assert np.shares_memory(view.vectors[:150], pool.encoded_view().vectors[100:120])
    assert np.array_equal(np.asarray(view.vectors), pool.encoded_vectors(view.rows))


steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "encode", "refresh"]), st.sets(st.integers(1, 12)), st.integers(0, 2)),
    max_size=12,
)


@given(steps=steps)
@hypothesis_settings(max_examples=60)
def test_a_pool_that_reads_changes_equals_a_new_pool(
    steps: list[tuple[str, set[int], int]], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(settings.model_copy(update={"data_dir": tmp_path_factory.mktemp("pool")}))
    store.projects.ensure(5)
    pool = ProjectPool(store, 5, FakeEncoder())
    pool.refresh(0)
    for action, numbers, version in steps:
        if action == "put":
            fields = {SYNTHETIC_FIELD: "hard"} if version == 2 else {}
            store.tasks.put(5, [replace(example(n, f"text number {n} {version}"), fields=fields) for n in numbers])
        elif action == "remove":
            store.tasks.remove(5, numbers)
        elif action == "encode":
            pool.encoded_vectors(pool.rows_of(np.array(sorted(numbers), np.int64)))
        else:
            pool.refresh(store.projects.ensure(5).tasks_revision)
    pool.refresh(store.projects.ensure(5).tasks_revision)
    pool.flush()
    new_pool = ProjectPool(store, 5, FakeEncoder())
    new_pool.refresh(store.projects.ensure(5).tasks_revision)
    assert pool.tasks.tolist() == new_pool.tasks.tolist()
    assert pool.synthetic.tolist() == new_pool.synthetic.tolist()
    everything = np.arange(len(new_pool.tasks))
    assert pool.keys_of(everything) == new_pool.keys_of(everything)
    assert (pool.encoded <= new_pool.encoded).all(), "the disk also has vectors of earlier texts"
    assert np.allclose(pool.encoded_vectors(everything), new_pool.encoded_vectors(everything), atol=2e-3)
    store.close()


def test_a_text_that_changes_and_changes_back_keeps_no_vector_of_the_other_text(settings: Settings) -> None:
    store, encoder = Store(settings), FakeEncoder()
    store.projects.ensure(5)
    pool = ProjectPool(store, 5, encoder)
    for text, what in (("the first text", "refresh"), ("another text", "encode"), ("the first text", "refresh")):
        store.tasks.put(5, [example(1, text)])
        if what == "refresh":
            pool.refresh(store.projects.ensure(5).tasks_revision)
        else:
            pool.encode_missing(np.arange(1), 1)
    assert np.array_equal(pool.encoded_vectors(np.arange(1)), encoder.encode(["the first text"]))
    store.close()


def test_an_empty_pool_is_no_error(pool: ProjectPool, store: Store) -> None:
    store.projects.ensure(5)
    pool.refresh(0)
    pool.encode_some(5)
    assert not pool.missing.any()
    assert len(full_view(pool, with_learner=False).rows) == len(full_view(pool, with_learner=True).rows) == 0
    assert pool.rows_of(np.array([3])).tolist() == []


def test_a_project_that_is_forgotten_and_connected_again_has_other_tasks(
    pool: ProjectPool, store: Store, fake_encoder: FakeEncoder
) -> None:
    pool.refresh(put(store, 10, 20))
    pool.encoded_vectors(np.arange(2))
    store.forget(5)
    store.projects.ensure(5)
    store.tasks.put(5, [example(10, "of another project"), example(30, "too")])
    pool.refresh(store.projects.ensure(5).tasks_revision)
    assert pool.tasks.tolist() == [10, 30]
    assert pool.encoded.tolist() == [False, False]
