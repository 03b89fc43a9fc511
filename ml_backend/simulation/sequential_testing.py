"""How sure a simulation has to be, when its user may add repetitions and look again, and how many would be enough.

Whoever repeats until something is significant finds it: with 5 % at each of 10, 20, 40 and 80 repetitions, the chance
that chance alone looks like a difference is 16 %. So ALPHA is spent over looks at 10, 20, 40 ... repetitions, as
`comparison` spends it over those at the audited answers. In simulations up to 320 repetitions, the chance of ever being
told a difference that is not there was 3 % for those who look at each doubling. For those who look after every single
repetition it was 7 %, half of it a gain.
"""

from __future__ import annotations

from itertools import count
from math import sqrt
from statistics import NormalDist

ALPHA = 0.05
FIRST_LOOK = 10
"""Repetitions at the first look; every further one is at twice as many."""
USEFUL = 0.01
"""The least gain in mean macro-F1 over the budgets, one point, that is worth another strategy than random order."""
POWER = 0.8
MOST = 160
"""Repetitions; where more would be needed, they are not what is missing."""


def level(seeds: int) -> float:
    """What p has to be below with so many repetitions: ALPHA / (j (j + 1)) up to the j-th look, in all below ALPHA."""
    look = 1 + ((seeds - 1) // FIRST_LOOK).bit_length()
    return ALPHA / (look * (look + 1))


def fewest(strategies: int) -> int:
    """With fewer repetitions not even a clean sweep would tell: the least p of n of them is 2 ** (1 - n), and Holm
    multiplies it by the number of strategies."""
    return next(n for n in count(1) if strategies * 2.0 ** (1 - n) < level(n))


def enough(gain: float, spread: float, strategies: int, seeds: int) -> int | None:
    """How many repetitions, at a look after `seeds`, would tell four times out of five that a strategy gains
    something, or that it gains less than USEFUL, whichever is sooner told; None if more than MOST. The `gain` and the
    `spread` (standard deviation) of a repetition are taken to be what was observed."""
    room = max(gain, USEFUL - gain)
    normal = NormalDist()
    looks = (FIRST_LOOK * 2**doubling for doubling in range((MOST // FIRST_LOOK).bit_length()))
    return next(
        (
            n
            for n in looks
            if n > seeds
            and room * sqrt(n) >= spread * (normal.inv_cdf(1 - level(n) / strategies / 2) + normal.inv_cdf(POWER))
        ),
        None,
    )
