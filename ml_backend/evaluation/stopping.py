"""Whether more labels are worth their cost: two stopping criteria that are shown and never enforced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints, Rows
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY

Doubles = npt.NDArray[np.float64]
Verdict = Literal["stop", "go on", "disagree", "too early"]
"""Stop; go on; the two criteria disagree; or there are too few labels, or too uncertain a gain, to say."""

MIN_STABLE_AGREEMENT = 0.99
"""Mean agreement from which predictions count as stable, over the last three agreements: the paper's numbers."""
FORECAST_LABELS = (50, 100)
BOOTSTRAP_DRAWS = 1000
EXPONENTS = np.linspace(0.025, 1.5, 237)  # steps of 1/160
MIN_USEFUL_GAIN = 0.02
"""The gain that is worth another 100 labels, two points of accuracy. The advice is not to stop if the interval reaches
it, and to go on if it is expected."""


@dataclass(frozen=True, slots=True)
class Stability:
    """`agreements`: the agreement of each learner with the one before it, oldest first; `mean`: their mean."""

    agreements: tuple[float, ...]
    mean: float
    is_stable: bool


@dataclass(frozen=True, slots=True)
class Gain:
    """The accuracy that `labels` more labels are expected to add (0.01 is one point), with its 95 % interval."""

    labels: int
    value: float
    low: float
    high: float


def measure_stability(predictions: Sequence[Rows], agreement: Callable[[Rows, Rows], float]) -> Stability | None:
    """Whether the predictions of successive learners on the same stop set still change.

    predictions  (m, ...) of each learner, the newest last; () if there are no learners yet, and the result is None
    agreement    of the predictions of two learners, at most 1, such as Cohen's kappa

    Bloodgood, Vijay-Shanker: "A Method for Stopping Active Learning Based on Stabilizing Predictions and the Need for
    User-Adjustable Stopping" (CoNLL 2009). Their learners are one batch apart. Ours is refitted after every answer,
    and one answer hardly ever changes a learner: successive learners always look stable. The given learners should be
    as far apart as a usual batch (`retrospective.ANSWERS_BETWEEN_MODELS`, 25). Even so this is the more cautious of the
    two criteria: on development data, kappa was 0.93 where 100 more labels added one point (TREC) or five (banking77).
    """
    if not predictions:
        return None
    agreements = tuple(agreement(earlier, later) for earlier, later in pairwise(predictions))
    mean = float(np.mean(agreements))
    return Stability(agreements, mean, mean >= MIN_STABLE_AGREEMENT)


def kappa(first: Ints, second: Ints) -> float:
    """Cohen's kappa of two raters (n,). 0 if both always give one and the same label: no evidence of agreement."""
    labels, codes = np.unique(np.stack([first, second]), return_inverse=True)
    shares = [np.bincount(rater, minlength=len(labels)) / len(first) for rater in codes.reshape(2, -1)]
    by_chance = float(shares[0] @ shares[1])
    return 0.0 if by_chance == 1.0 else (float((first == second).mean()) - by_chance) / (1.0 - by_chance)


def forecast_gains(sizes: Ints, scores: Doubles) -> tuple[Gain, ...]:
    """The gain that more labels are expected to bring, for each of `FORECAST_LABELS` up to the number of labels so far.

    sizes  (s,) ascending: how many labels each learner of the curve had
    scores (s, rows) in [0, 1]: the scores of its drafts for rows that it has not seen

    An inverse power law, accuracy = a - b * size^-c with a <= 1 and c in (0, 1.5], by least squares where the j-th of s
    points weighs j / s: Figueroa, Zeng-Treitler, Kandula, Ngo, "Predicting Sample Size Required for Classification
    Performance" (BMC Medical Informatics and Decision Making, 2012). The interval is from a bootstrap of the rows, each
    with all its points, so that it contains the correlation of points that are measured on the same rows. It does not
    contain the variation from which answers came first. b may be negative: a curve that falls is forecast to fall.
    Empty with fewer than four points or `MIN_ANSWERS_FOR_ACCURACY` rows. Deterministic.

    The curve should be of all rows, not of the audit sample. Acquisition chose them, so their accuracy is not the
    pool's, but on development data their gain was closer to the true one than that of the audit sample, which is small
    (TREC at 400 labels: 1.4 and 1.0 points forecast for 100 more, 1.3 came; banking77 at 300: 3.1 and 2.0, 4.7 came).
    On banking77 the power law is too flat, even when it is fitted to the true curve; the interval does not contain that
    error.
    """
    horizons = [labels for labels in FORECAST_LABELS if labels <= sizes[-1]]
    rows = scores.shape[1]
    if len(sizes) < 4 or rows < MIN_ANSWERS_FOR_ACCURACY or not horizons:
        return ()
    patterns, counts = np.unique(scores, axis=1, return_counts=True)  # rows with equal points are drawn together
    draws = np.random.default_rng(0).multinomial(rows, counts / rows, size=BOOTSTRAP_DRAWS) / rows
    curves = np.vstack([scores.mean(axis=1), draws @ patterns.T])
    _, b, c = power_law(sizes, curves)
    n = float(sizes[-1])
    gains = []
    for labels in horizons:
        gain = b * (n**-c - (n + labels) ** -c)
        low, high = np.quantile(gain[1:], [0.025, 0.975])
        gains.append(Gain(labels, float(gain[0]), float(low), float(high)))
    return tuple(gains)


def power_law(sizes: Ints, accuracy: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """a, b and c (curves,) of accuracy = a - b * size^-c for each row of `accuracy` (curves, s).

    For a given c the best a and b have a closed form, so only c is searched, on a grid, for all curves at once
    (variable projection: Golub, Pereyra, 1973).
    """
    weights = np.arange(1, len(sizes) + 1) / len(sizes)
    weights /= weights.sum()
    best_error: Doubles = np.full(len(accuracy), np.inf)
    a, b, c = best_error, best_error, best_error
    mean = accuracy @ weights
    for exponent in EXPONENTS:
        x = (sizes / sizes[-1]) ** -exponent
        centred = weights * (x - weights @ x)
        slope = -(accuracy @ centred) / (centred @ x)
        asymptote = mean + slope * (weights @ x)
        is_capped = asymptote > 1
        slope = np.where(is_capped, ((1 - accuracy) @ (weights * x)) / (weights @ x**2), slope)
        asymptote = np.where(is_capped, 1.0, asymptote)
        error = np.square(asymptote[:, None] - slope[:, None] * x - accuracy) @ weights
        is_better = error < best_error
        best_error = np.where(is_better, error, best_error)
        a, b = np.where(is_better, asymptote, a), np.where(is_better, slope * float(sizes[-1]) ** exponent, b)
        c = np.where(is_better, exponent, c)
    return a, b, c


def advise_on_stopping(prediction_stability: Stability | None, gains: tuple[Gain, ...]) -> Verdict:
    """Combines both criteria. `prediction_stability` is None and `gains` empty while there are too few labels."""
    gain = gains[-1] if gains else None
    if prediction_stability is None or gain is None or gain.labels < FORECAST_LABELS[-1]:
        return "too early"
    if gain.high < MIN_USEFUL_GAIN:
        return "stop" if prediction_stability.is_stable else "disagree"
    if gain.value >= MIN_USEFUL_GAIN:
        return "disagree" if prediction_stability.is_stable else "go on"
    return "too early" if prediction_stability.is_stable else "go on"
