"""The pool that a query strategy gets, and the training set of a learner."""

from __future__ import annotations

import numpy as np
from pools import choices_of, make_pool
from schemas import ONE_CHOICE

from ml_backend.core.arrays import Ints, TrainingSet
from ml_backend.core.texts import Texts, texts_at


def test_the_uncertainty_of_some_rows_is_that_of_the_predictions_and_nan_before_there_is_a_learner() -> None:
    rows = np.array([3, 1])
    assert np.isnan(make_pool(5, cold=True).uncertainty("margin", rows)).all()
    pool = make_pool(5)
    for measure in ("margin", "least confidence", "entropy"):
        expected = choices_of(pool).uncertainty(measure, rows)
        np.testing.assert_array_equal(pool.uncertainty(measure, rows), expected)


def test_rows_of_a_training_set_keep_their_texts_which_are_read_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def texts(rows: Ints) -> list[str]:
        asked.extend(rows.tolist())
        return [f"text {row}" for row in rows]

    vectors = np.eye(5, dtype=np.float32)
    train = TrainingSet(vectors, vectors, np.ones(5, np.float32), ONE_CHOICE, texts=Texts(5, texts))
    part = train.take(np.array([4, 2, 0])).take(np.array([2, 1]))
    assert not asked and part.texts is not None
    assert (part.texts(np.array([1])), asked) == (["text 2"], [2])
    assert texts_at(["a", "b"])(np.array([1, 0, 1])) == ["b", "a", "b"]
    assert TrainingSet(vectors, vectors, np.ones(5, np.float32), ONE_CHOICE).take(np.array([1])).texts is None
