"""Significance levels for a user who adds repetitions and looks again, and how many repetitions would be enough.

A user who adds repetitions until a difference is significant finds one: with 5 % at each of 10, 20, 40 and 80
repetitions, the probability of a false difference is 16 %. So ALPHA is spent over looks at 10, 20, 40 ... repetitions,
as `random_baseline` spends it over looks at the audited answers. In simulations up to 320 repetitions, the
probability of ever reporting a false difference was 3 % with a look at each doubling. With a look after every single
repetition it was 7 %, half of it a gain.
"""

from __future__ import annotations

from itertools import count
from math import sqrt
from statistics import NormalDist

ALPHA = 0.05
FIRST_LOOK = 10
"""Repetitions at the first look; each later look is at twice as many."""
MIN_USEFUL_GAIN = 0.01
"""The least gain in the mean of the compared metric over the budgets, one point, that makes a strategy worth using over
random order."""
POWER = 0.8
MAX_REPETITIONS = 160
"""Repetitions that are advised at most; if more would be needed, more data would help more."""


def significance_level(seeds: int) -> float:
    """The level for p-values with so many repetitions: ALPHA / (j (j + 1)) up to the j-th look, in all below ALPHA."""
    look = 1 + ((seeds - 1) // FIRST_LOOK).bit_length()
    return ALPHA / (look * (look + 1))


def min_repetitions(strategies: int) -> int:
    """The least number of repetitions with which a difference can be significant. If a strategy is ahead in all of n
    repetitions, p is 2 ** (1 - n), and Holm's correction multiplies it by the number of strategies."""
    return next(n for n in count(1) if strategies * 2.0 ** (1 - n) < significance_level(n))


def sufficient_repetitions(gain: float, standard_deviation: float, strategies: int, seeds: int) -> int | None:
    """The number of repetitions, at a look after `seeds`, that would show with probability POWER that a strategy gains
    something, or that it gains less than MIN_USEFUL_GAIN, whichever takes fewer; None if more than MAX_REPETITIONS.

    The true mean `gain` and `standard_deviation` of a repetition are assumed to be the observed ones.
    """
    distance = max(gain, MIN_USEFUL_GAIN - gain)
    normal = NormalDist()
    looks = (FIRST_LOOK * 2**doubling for doubling in range((MAX_REPETITIONS // FIRST_LOOK).bit_length()))
    return next(
        (
            n
            for n in looks
            if n > seeds
            and distance * sqrt(n)
            >= standard_deviation * (normal.inv_cdf(1 - significance_level(n) / strategies / 2) + normal.inv_cdf(POWER))
        ),
        None,
    )
