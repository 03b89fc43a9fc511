"""The learners of choices: the contract of every learner, and training sets of every awkward shape."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from learner_contract import LearnerContract
from schemas import ONE_CHOICE, plain_choices

from ml_backend.core.arrays import Attributions, DistillationData, Fit, Floats, PseudoLabels, Rows, TrainingSet
from ml_backend.core.ports import Learner
from ml_backend.pool.row_view import RowView
from plugins.learners.laat import Laat
from plugins.learners.laat_paper import LaatPaper
from plugins.learners.logistic import Logistic
from plugins.learners.mlp import Mlp
from plugins.learners.pool_sample import MAX_POOL_ROWS
from plugins.learners.tabular import Tabular
from plugins.learners.trees import Trees

DIM = 16


@pytest.fixture(params=[Logistic, Laat, LaatPaper, Mlp, Tabular, Trees])
def learner(request: pytest.FixtureRequest) -> Learner:
    instance: Learner = request.param()
    return instance


def blobs(n: int, c: int, multiple: bool = False, seed: int = 0, dim: int = DIM) -> TrainingSet:
    """Unit vectors around one direction per label; with several labels, around the sum of the row's directions."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(c, dim))
    targets = np.eye(c)[np.arange(n) % c]
    if multiple:
        targets = np.maximum(targets, generator.random((n, c)) < 0.2)
    vectors = targets @ centres + generator.normal(scale=0.4, size=(n, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TrainingSet(
        vectors.astype(np.float32),
        targets.astype(np.float32),
        np.ones(n, dtype=np.float32),
        plain_choices(multiple),
        None,
    )


class TestChoices(LearnerContract):
    def training_set(self, n: int) -> TrainingSet:
        return blobs(n, 3)

    def wrong(self, targets: Rows) -> Rows:
        return targets[:, [1, 2, 0]]


def change(train: TrainingSet, **fields: object) -> TrainingSet:
    from dataclasses import replace

    return replace(train, **fields)  # type: ignore[arg-type]


def assert_is_sound(probabilities: Floats | None, shape: tuple[int, ...], multiple: bool) -> None:
    assert probabilities is not None and probabilities.shape == shape and probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all() and (probabilities >= 0).all() and (probabilities <= 1).all()
    if not multiple:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize(("n", "c"), [(1, 3), (2, 3), (3, 2), (4, 4), (5, 2), (7, 9), (60, 3), (40, 1)], ids=str)
def test_any_number_of_rows_and_labels_gives_sound_probabilities(
    learner: Learner, n: int, c: int, multiple: bool
) -> None:
    train = blobs(n, c, multiple)
    earlier = train.targets.copy()
    earlier[n // 2 :] = np.nan
    fit = learner.fit(change(train, earlier=earlier), 0)
    assert_is_sound(fit.held_out, (n, c), multiple)
    assert_is_sound(fit.held_out_earlier, (n, c), multiple)
    assert_is_sound(learner.predict(fit.tensors, train.vectors), (n, c), multiple)


@pytest.mark.parametrize("multiple", [False, True])
def test_a_learner_learns_and_its_held_out_probabilities_are_right(learner: Learner, multiple: bool) -> None:
    train, test = blobs(150, 3, multiple), blobs(300, 3, multiple, seed=0)
    fit = learner.fit(train, 0)
    for probabilities, truth in (
        (fit.held_out, train.targets),
        (learner.predict(fit.tensors, test.vectors), test.targets),
    ):
        assert ((probabilities > 0.5) == (truth > 0.5)).mean() > 0.9


@pytest.mark.parametrize("multiple", [False, True])
def test_rows_without_weight_alone_give_uniform_probabilities(learner: Learner, multiple: bool) -> None:
    train = change(blobs(12, 3, multiple), weights=np.zeros(12, dtype=np.float32))
    fit = learner.fit(train, 0)
    for probabilities in (fit.held_out, learner.predict(fit.tensors, train.vectors)):
        np.testing.assert_allclose(probabilities, 0.5 if multiple else 1 / 3, atol=1e-3)


def test_a_single_row_cannot_be_held_out_and_gets_uniform_probabilities(learner: Learner) -> None:
    fit = learner.fit(blobs(1, 4), 0)
    np.testing.assert_allclose(fit.held_out, 0.25, atol=1e-3)


def test_a_label_without_rows_stays_possible_but_unlikely(learner: Learner) -> None:
    train = blobs(90, 3)
    wider = change(train, targets=np.pad(train.targets, ((0, 0), (0, 1))))
    probabilities = learner.predict(learner.fit(wider, 0).tensors, train.vectors)
    assert (probabilities[:, 3] > 0).all() and probabilities[:, 3].max() < 0.1


def test_one_label_for_all_rows_is_learnt_without_certainty(learner: Learner) -> None:
    train = blobs(10, 1)
    only = change(train, targets=np.pad(train.targets, ((0, 0), (0, 2))))
    probabilities = learner.predict(learner.fit(only, 0).tensors, train.vectors)
    assert (probabilities.argmax(axis=1) == 0).all() and probabilities.max() < 1.0


def test_rows_with_no_label_at_all_teach_what_is_absent(learner: Learner) -> None:
    train = blobs(60, 2, multiple=True)
    none = change(train, targets=np.zeros_like(train.targets))
    assert learner.predict(learner.fit(none, 0).tensors, train.vectors).max() < 0.3


def test_half_precision_and_memory_mapped_vectors_give_the_same_probabilities(
    learner: Learner, tmp_path: object
) -> None:
    train = blobs(60, 3)
    half = train.vectors.astype(np.float16)
    np.save(f"{tmp_path}/v.npy", half)
    mapped = np.load(f"{tmp_path}/v.npy", mmap_mode="r")
    fit: Fit = learner.fit(change(train, vectors=mapped), 0)
    exact = learner.fit(change(train, vectors=half.astype(np.float32)), 0)
    np.testing.assert_allclose(fit.held_out, exact.held_out, atol=1e-6)
    np.testing.assert_allclose(
        learner.predict(fit.tensors, mapped), learner.predict(exact.tensors, half.astype(np.float32)), atol=1e-6
    )


class PoolOfManyRows(RowView):
    """A pool that counts in `read` the rows that are read."""

    read = 0

    def __getitem__(self, places: Any) -> Floats:
        rows = super().__getitem__(places)
        self.read += len(rows)
        return rows

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> Floats:
        self.read += len(self)
        return super().__array__(dtype, copy)


def test_only_the_drawn_rows_of_a_large_pool_are_read(learner: Learner) -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(6 * MAX_POOL_ROWS, 4)).astype(np.float32)
    pool = PoolOfManyRows(matrix, np.arange(0, 6 * MAX_POOL_ROWS, 2))
    targets = np.eye(2, dtype=np.float32)[np.arange(30) % 2]
    labels = PseudoLabels(matrix[:30], targets, np.ones(30, np.float32))
    scores = Attributions(random.normal(size=(2, 1, 4)).astype(np.float32), np.ones(4, np.float32))
    learner.distil(DistillationData(labels, labels, cast("Floats", pool), ONE_CHOICE, scores), 0)
    assert pool.read <= 2 * MAX_POOL_ROWS < len(pool), "once, or once for each of two kinds of prior"
