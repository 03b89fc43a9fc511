"""Which tasks are held out to test on, where the user has no test set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Ints

TEST_SHARE = 0.3  # of the tasks, drawn anew for each seed


def held_out(n: int) -> int:
    """How many of n tasks are the test rows of a repetition; fewer, if copies of a text do not fit."""
    return max(1, round(TEST_SHARE * n))


def hold_out(texts: Sequence[str], seed: int) -> tuple[Ints, Ints]:
    """The rows of the pool and the test rows of a repetition, ascending. All copies of a text are on one side: what is
    tested was not learnt by heart. Raises ApprenticeError if every text has too many copies for that."""
    places: dict[str, int] = {}
    which = np.array([places.setdefault(text, len(places)) for text in texts])
    copies = np.bincount(which)
    room = held_out(len(texts))
    if copies.min() > room:
        raise ApprenticeError(
            f"Only {len(places)} of the texts of {len(texts)} tasks are different: nothing can be held out that is not "
            "in the rest, too. Label others, or give a test set with --test"
        )
    tested = np.zeros(len(places), np.bool_)
    for text in np.random.default_rng([seed, 1]).permutation(len(places)):  # not as the first labels are drawn
        if copies[text] <= room:
            tested[text] = True
            room -= int(copies[text])
    return np.flatnonzero(~tested[which]), np.flatnonzero(tested[which])
