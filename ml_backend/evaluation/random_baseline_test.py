"""Whether active learning wins here: the answers that acquisition chose against random ones, while the loop runs.

The question, asked of each audited task when its turn comes: would the learner of that moment be better if some of the
chosen answers had been random ones? Two learners have the same number of answers. One has the chosen ones. The other
has those of the audit slice so far, and the chosen ones but for as many, left out at random (some times over). Both
judge the next audited tasks, which neither has seen. That is the exchange: small, but of the learner as it is, and
without a model of how all would have gone otherwise.

Why not cross-validate over all answers of today, which takes fewer fits? Acquisition knew the audited answers so far
when it chose: it goes where they are, or where they are not. A learner of chosen answers is then better or worse on
them than on the pool. With a strategy that asks for what it is sure of, the cross-validated accuracy on the audit slice
was eleven points above the true one on TREC questions, thirty on banking77, and the exchange seemed to do harm where it
did good. An audited task is a random one only for learners of the answers before it (prequential: Dawid, "Statistical
Theory: The Prequential Approach", JRSS A, 1984). Judged by those, the differences are uncorrelated whatever acquisition
does, and their plain standard error is honest.

Why not the learner of a audited answers alone against one of a chosen ones? The difference is larger, and so is its
error; and any a of the chosen answers make a poorer learner than a random ones where all of them make a better one.

How much it can see: little. With 80 audited answers of 400, the interval reaches eleven points to either side. In
simulations, two bad strategies that were 35 to 45 points behind random on banking77 had been found not to win by then
in ten runs of 32, since exchanging a quarter of their answers gained about ten; on TREC, 10 to 18 points behind, in
three of 58. With 40 audited answers it was four of 90 runs in all, with 20 two of 87; in 326 runs of random order and
of good strategies, which beat it by one to eight points, never. Those were found to win in three. `not enough evidence`
is what to expect; it does not mean that all is well.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml_backend.core.ports import Learner
from ml_backend.core.types import Ints, Mask, TrainingSet
from ml_backend.evaluation.prequential import FEWEST, blocks, right

Doubles = npt.NDArray[np.float64]

ALPHA = 0.05
FIRST_LOOK = 20
"""Audited answers at the first look; every further one is at twice as many."""
REPEATS = 2


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """What the latest look found.

    gain       accuracy of the learner with chosen answers alone minus that of the one with exchanged ones (0.01 is one
               point), with its interval `low` to `high` at the level of this look; None before the first one
    judged_by  how many audited answers it is measured on
    """

    verdict: Literal["winning", "not winning", "not enough evidence"]
    gain: float | None
    low: float | None
    high: float | None
    judged_by: int
    sentence: str


def looks(audited: int) -> int:
    """How many looks there have been at so many audited answers; `compare` finds the same until this number grows."""
    return (audited // FIRST_LOOK).bit_length()


def compare(learner: Learner, train: TrainingSet, audited: Mask, seed: int) -> BaselineComparison:
    """From the rows of `train` in answering order, and which of them (n,) are of the audit slice.

    The loop looks again and again, and each look is one more chance to be wrong. So there are few, at 20, 40, 80...
    audited answers, and the j-th may err with probability ALPHA / (j (j + 1)): over all looks, the chance ever to call
    a strategy "not winning" that is no worse than random stays below ALPHA, and so does that of the opposite mistake.
    For that, `seed` has to stay the same all along: another one is another look.

    Costs (1 + REPEATS) fits of fewer than n rows for each block of audited answers: 12 fits in all at the first look,
    27 and 39 at the next ones, 48 at 160.
    """
    taken = looks(int(audited.sum()))
    if not taken:
        missing = f"{int(audited.sum())} of the {FIRST_LOOK} audited answers that the first look takes"
        return BaselineComparison(
            "not enough evidence", None, None, None, 0, f"not compared with random order yet: {missing}"
        )
    places = np.flatnonzero(audited)[: FIRST_LOOK * 2 ** (taken - 1)]
    gains = exchanges(learner, train, audited, places, seed)
    level = ALPHA / (taken * (taken + 1))
    gain, half = interval(gains, level)
    low, high = gain - half, gain + half
    verdict: Literal["winning", "not winning", "not enough evidence"]
    verdict = "winning" if low > 0 else "not winning" if high < 0 else "not enough evidence"
    share = min(1.0, len(places) / max(1, int(places[-1]) + 1 - len(places)))
    return BaselineComparison(
        verdict,
        gain,
        low,
        high,
        len(gains),
        f"{verdict}: with {share:.0%} of the chosen answers exchanged for random ones, the learner would be "
        f"{100 * abs(gain):.1f} points {'worse' if gain >= 0 else 'better'} (chosen minus exchanged, "
        f"{1 - 2 * level:.1%}: {100 * low:.1f} to {100 * high:.1f}; on {len(gains)} audited answers)",
    )


def exchanges(learner: Learner, train: TrainingSet, audited: Mask, places: Ints, seed: int) -> Doubles:
    """For each of the rows `places` (a,) but the first few: whether the learner with chosen answers alone is right,
    minus the share of those with exchanged ones that are, in [-1, 1]. None knows answers from after its block began."""
    random = np.random.default_rng(seed)

    def is_right(known: Ints, judged: Ints) -> Mask:
        return right(learner, train, known, judged, seed)

    first = max(FEWEST, int(np.searchsorted(places - np.arange(len(places)), FEWEST)))
    gains: list[Doubles] = [np.zeros(0)]
    for judged in blocks(places, first):
        known = np.arange(judged[0])
        chosen = known[~audited[known]]
        drawn = random.permutation(known[audited[known]])[: len(chosen)]
        kept = len(chosen) - len(drawn)
        exchanged = [
            is_right(np.concatenate([drawn, random.permutation(chosen)[:kept]]), judged) for _ in range(REPEATS)
        ]
        gains.append(is_right(chosen, judged) - np.mean(exchanged, axis=0))
    return np.concatenate(gains)


def interval(gains: Doubles, level: float) -> tuple[float, float]:
    """Mean of paired differences in [-1, 1], and half their interval, which is too high or too low with chance `level`.

    Half a row more is counted for either side, and one that is even: without them, a few rows that happen to agree
    would be proof (Agresti, Min: "Simple Improved Confidence Intervals for Comparing Matched Proportions", Statistics
    in Medicine, 2005). Simulated over four looks, a strategy like random was said not to win in at most 5 % of the runs
    however skewed the differences were; by Student's t in up to 27 %.
    """
    n = len(gains) + 2
    mean = float(gains.sum()) / n
    spread = (float(np.square(gains).sum()) + 1) / n - mean**2
    return mean, NormalDist().inv_cdf(1 - level) * sqrt(spread / n)
