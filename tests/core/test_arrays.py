"""The pool that a query strategy gets."""

from __future__ import annotations

import numpy as np
from pools import choices_of, make_pool


def test_the_uncertainty_of_some_rows_is_that_of_the_predictions_and_nan_before_there_is_a_learner() -> None:
    rows = np.array([3, 1])
    assert np.isnan(make_pool(5, cold=True).uncertainty("margin", rows)).all()
    pool = make_pool(5)
    for measure in ("margin", "least confidence", "entropy"):
        expected = choices_of(pool).uncertainty(measure, rows)
        np.testing.assert_array_equal(pool.uncertainty(measure, rows), expected)
