"""Whether more labels are worth their while: two criteria that are shown and never enforced."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import Ints, Mask
from ml_backend.evaluation.metrics import ENOUGH

Doubles = npt.NDArray[np.float64]

SETTLED = 0.99
"""Mean kappa from which predictions count as stable, over the last three agreements: the paper's own numbers."""
AHEAD = (50, 100)
DRAWS = 1000
EXPONENTS = np.linspace(0.025, 1.5, 237)  # steps of 1/160
WORTH = 0.02
"""The gain that is worth another 100 labels, two points of accuracy. Where the interval reaches it, nobody is told to
stop; where it is expected, to go on."""


@dataclass(frozen=True, slots=True)
class Stability:
    """`agreements`: Cohen's kappa of each learner with the one before it, oldest first; `kappa`: their mean."""

    agreements: tuple[float, ...]
    kappa: float
    settled: bool


@dataclass(frozen=True, slots=True)
class Gain:
    """What `labels` more labels are expected to bring, as a share (0.01 is one point), with its 95 % interval."""

    labels: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Advice:
    verdict: Literal["stop", "go on", "disagree", "too early"]
    sentence: str


def stability(predictions: Ints | Mask) -> Stability:
    """Whether successive learners still change their minds, from what each of them says of the same stop set.

    predictions  (learners, m) labels, or for several labels (learners, m, c) bool, whose kappa is that of all the
                 yes-no decisions; at least two learners, the newest last

    Bloodgood, Vijay-Shanker: "A Method for Stopping Active Learning Based on Stabilizing Predictions and the Need for
    User-Adjustable Stopping" (CoNLL 2009). Their learners are one batch apart. Ours is refitted after every answer,
    and one answer hardly moves a learner at any time: at that distance everything looks stable. The learners handed in
    should be as far apart as a batch is elsewhere (`replay.STEP`, 25). Even so this is the more cautious of the two
    criteria: on development data, kappa was 0.93 where 100 more labels brought one point (TREC) or five (banking77).
    """
    flat = predictions.reshape(len(predictions), -1).astype(np.int64)
    agreements = tuple(kappa(one, other) for one, other in pairwise(flat))
    mean = float(np.mean(agreements))
    return Stability(agreements, mean, mean >= SETTLED)


def kappa(one: Ints, other: Ints) -> float:
    """Cohen's kappa of two raters (n,). 0 if both know only one and the same answer: that agreement is no evidence."""
    labels, both = np.unique(np.stack([one, other]), return_inverse=True)
    shares = [np.bincount(each, minlength=len(labels)) / len(one) for each in both.reshape(2, -1)]
    by_chance = float(shares[0] @ shares[1])
    return 0.0 if by_chance == 1.0 else (float((one == other).mean()) - by_chance) / (1.0 - by_chance)


def forecast(sizes: Ints, right: Mask) -> tuple[Gain, ...]:
    """What more labels are expected to bring, for each of `AHEAD` that does not exceed the labels there are.

    sizes  (s,) ascending: how many labels each learner of the curve had
    right  (s, rows) bool: which rows it gets right without having seen them

    An inverse power law, accuracy = a - b * size^-c with a <= 1 and c in (0, 1.5], by least squares where the j-th of s
    points weighs j / s: Figueroa, Zeng-Treitler, Kandula, Ngo, "Predicting Sample Size Required for Classification
    Performance" (BMC Medical Informatics and Decision Making, 2012). The interval is from a bootstrap of the rows, each
    with all its points, so that what the points share by being measured on the same rows stays in. It knows nothing of
    the luck of which answers came first. b may be negative: a curve that falls is forecast to fall. Empty with fewer
    than four points or `ENOUGH` rows. Deterministic.

    Which rows? All of them: acquisition chose them, so their accuracy is not the pool's, but their gain came closer on
    development data than that of the audit slice, which is small (TREC at 400 labels: 1.4 and 1.0 points forecast for
    100 more, 1.3 came; banking77 at 300: 3.1 and 2.0, 4.7 came). On banking77 it is the law that is too flat, even when
    it is fitted to the true curve, and of that the interval knows nothing.
    """
    ahead = [labels for labels in AHEAD if labels <= sizes[-1]]
    rows = right.shape[1]
    if len(sizes) < 4 or rows < ENOUGH or not ahead:
        return ()
    kinds, counts = np.unique(right, axis=1, return_counts=True)  # rows that go alike are drawn at once
    draws = np.random.default_rng(0).multinomial(rows, counts / rows, size=DRAWS) / rows
    curves = np.vstack([right.mean(axis=1), draws @ kinds.T])
    _, b, c = power_law(sizes, curves)
    n = float(sizes[-1])
    gains = []
    for labels in ahead:
        gain = b * (n**-c - (n + labels) ** -c)
        low, high = np.quantile(gain[1:], [0.025, 0.975])
        gains.append(Gain(labels, float(gain[0]), float(low), float(high)))
    return tuple(gains)


def power_law(sizes: Ints, accuracy: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """a, b and c (curves,) of accuracy = a - b * size^-c for each row of `accuracy` (curves, s).

    For a given c the best a and b have a closed form, so c is looked up on a grid, for all curves at once (variable
    projection: Golub, Pereyra, 1973).
    """
    weights = np.arange(1, len(sizes) + 1) / len(sizes)
    weights /= weights.sum()
    best: Doubles = np.full(len(accuracy), np.inf)
    a, b, c = best, best, best
    mean = accuracy @ weights
    for exponent in EXPONENTS:
        x = (sizes / sizes[-1]) ** -exponent
        apart = weights * (x - weights @ x)
        fall = -(accuracy @ apart) / (apart @ x)
        top = mean + fall * (weights @ x)
        capped = top > 1
        fall = np.where(capped, ((1 - accuracy) @ (weights * x)) / (weights @ x**2), fall)
        top = np.where(capped, 1.0, top)
        error = np.square(top[:, None] - fall[:, None] * x - accuracy) @ weights
        better = error < best
        best = np.where(better, error, best)
        a, b = np.where(better, top, a), np.where(better, fall * float(sizes[-1]) ** exponent, b)
        c = np.where(better, exponent, c)
    return a, b, c


def advice(stable: Stability | None, gains: tuple[Gain, ...]) -> Advice:
    """Both criteria in one sentence; None or empty where one cannot be had yet."""
    gain = gains[-1] if gains else None
    if stable is None or gain is None or gain.labels < AHEAD[-1]:
        return Advice("too early", f"too early to say: it takes at least {AHEAD[-1]} labels")
    verdict: Literal["stop", "go on", "disagree", "too early"]
    if gain.high < WORTH:
        verdict = "stop" if stable.settled else "disagree"
    elif gain.value >= WORTH:
        verdict = "disagree" if stable.settled else "go on"
    else:
        verdict = "too early" if stable.settled else "go on"
    meaning = {
        "stop": "stopping is reasonable",
        "go on": "go on",
        "disagree": "the two criteria disagree",
        "too early": "that is too uncertain to say whether to stop",
    }
    return Advice(
        verdict,
        f"predictions {'have settled' if stable.settled else 'still change'} (kappa {stable.kappa:.3f}) and "
        f"{gain.labels} more labels are expected to bring {100 * gain.value:.1f} points "
        f"(95 %: {100 * gain.low:.1f} to {100 * gain.high:.1f}): {meaning[verdict]}",
    )
