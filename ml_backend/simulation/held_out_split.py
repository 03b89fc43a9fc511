"""Splits the tasks into pool and test rows, where the user has no test set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.exceptions import ApprenticeError

TEST_SHARE = 0.3  # of the tasks


def count_test_rows(n: int) -> int:
    """How many of n tasks are the test rows of a repetition; `split_rows` may return fewer if texts have copies."""
    return max(1, round(TEST_SHARE * n))


def split_rows(texts: Sequence[str], seed: int) -> tuple[Ints, Ints]:
    """The rows of the pool and the test rows of a repetition, ascending.

    All copies of a text are on the same side, so that no test text is in the pool. Raises ApprenticeError if every text
    has more copies than there are test rows.
    """
    text_numbers: dict[str, int] = {}
    text_of_row = np.array([text_numbers.setdefault(text, len(text_numbers)) for text in texts])
    copies = np.bincount(text_of_row)
    remaining = count_test_rows(len(texts))
    if copies.min() > remaining:
        raise ApprenticeError(
            f"Only {len(text_numbers)} of the texts of {len(texts)} tasks are different: nothing can be held out that "
            "is not in the rest, too. Label others, or give a test set with --test"
        )
    is_test_text = np.zeros(len(text_numbers), np.bool_)
    for text in np.random.default_rng([seed, 1]).permutation(len(text_numbers)):  # another stream than the first labels
        if copies[text] <= remaining:
            is_test_text[text] = True
            remaining -= int(copies[text])
    return np.flatnonzero(~is_test_text[text_of_row]), np.flatnonzero(is_test_text[text_of_row])
