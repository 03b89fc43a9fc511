"""The area under the ROC curve (AUC) of a score that should be higher for the first text of a pair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from ml_backend.core.types import Estimate

CONFIDENCE = 0.95
Doubles = npt.NDArray[np.float64]


def paired_auc(positives: npt.NDArray[np.floating], negatives: npt.NDArray[np.floating]) -> Estimate:
    """The AUC of scores of n pairs, n >= 2: the probability that a positive scores higher than a negative of any pair;
    equal scores count half. The interval is that of DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two
    or More Correlated Receiver Operating Characteristic Curves" (Biometrics 1988), with the components of a pair added
    because they depend on each other, as in Obuchowski, "Nonparametric Analysis of Clustered ROC Curve Data"
    (Biometrics 1997); it is computed for the logit of the AUC, so that it stays in [0, 1].

    positives, negatives  (n,) the scores of the two texts of each pair
    """
    n = len(positives)
    components = _shares_below(negatives, positives) + 1 - _shares_below(positives, negatives)
    auc = float(components.mean() / 2)
    # half an error of n squared comparisons: without it, a perfect AUC would have no interval
    bounded = min(max(auc, 0.5 / n), 1 - 0.5 / n)
    variance = max(float(np.square(components - 2 * auc).sum() / (n * (n - 1))), bounded * (1 - bounded) / n**2)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * variance**0.5 / (bounded * (1 - bounded))
    logit = np.log(bounded / (1 - bounded))
    low, high = (float(1 / (1 + np.exp(-value))) for value in (logit - reach, logit + reach))
    return Estimate(auc, min(low, auc), max(high, auc), n, "pairs")


def _shares_below(scores: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> Doubles:
    """(m,) the share of `scores` (n,) that are below each of `others` (m,); equal ones count half."""
    ordered = np.sort(scores)
    below, up_to = (np.searchsorted(ordered, others, side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(ordered))
