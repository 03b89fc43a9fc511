"""Decides the labels of a draft from probabilities, and scores drafts against the annotators.

Labels with an order (a rating): the draft is the median of the distribution, which has the least expected distance, and
a draft scores less the farther it is from the annotators' label. The distance is measured on the whole scale:
|i - j| / (c - 1) for labels i and j of c. All other labels are right or wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.core.schema import ChoicesSchema
from ml_backend.evaluation.metrics import RowScorer, decide_labels, is_correct
from ml_backend.evaluation.structured_metrics import hierarchical_f1, mean_absolute_distance, quadratic_weighted_kappa
from ml_backend.kinds.choices.hierarchy import consistent_decisions

Doubles = npt.NDArray[np.float64]
EXACTLY_RIGHT, KAPPA, DISTANCE = "exactly right", "quadratic weighted kappa", "mean distance"
HIERARCHICAL_F1 = "hierarchical F1"
"""Names of the metrics of labels with an order or a hierarchy."""
HALF = 0.5 - 1e-6  # a rounded cumulative probability of one half counts as one half


def decide(probabilities: Floats, control: ChoicesSchema) -> Mask:
    """(n, c) bool: the labels of a draft, from probabilities (n, c)."""
    if control.ordered:
        chosen = np.zeros(probabilities.shape, np.bool_)
        chosen[np.arange(len(probabilities)), _median(probabilities)] = True
        return chosen
    return consistent_decisions(decide_labels(probabilities, control.multiple), probabilities, control)


def confidence(probabilities: Floats, chosen: Mask, multiple: bool) -> Floats:
    """(n,) the probability of the chosen label; with several choices, the mean probability that a label is decided
    rightly.

    probabilities (n, c); chosen (n, c) bool: the labels of the drafts, from `decide`
    """
    if multiple:
        return np.asarray(np.where(chosen, probabilities, 1 - probabilities).mean(axis=1))
    return np.asarray((probabilities * chosen).sum(axis=1))


def row_scorer(control: ChoicesSchema) -> RowScorer:
    """The function that scores the drafts of n rows, from probabilities (n, c) and targets (n, c): (n,) float64 in
    [0, 1], 1 if the draft is right."""
    if not control.ordered:

        def correctness(probabilities: Floats, targets: Floats) -> Doubles:
            drafted = decide(probabilities, control).astype(np.float32)
            return is_correct(drafted, targets, control.multiple).astype(np.float64)

        return correctness

    def closeness(probabilities: Floats, targets: Floats) -> Doubles:
        is_top = targets >= targets.max(axis=1, keepdims=True)  # several if the annotators are evenly split
        distances = np.abs(np.arange(targets.shape[1]) - _median(probabilities)[:, None])
        nearest = np.where(is_top, distances, targets.shape[1]).min(axis=1)
        return np.asarray(1.0 - nearest / _scale(targets), np.float64)

    return closeness


def expected_errors(probabilities: Floats, targets: Floats, control: ChoicesSchema) -> Floats:
    """(n,) in [0, 1]: the probability of a wrong label; with several labels, the mean over the labels; with ordered
    labels, the expected distance."""
    if control.multiple:
        errors = np.abs(targets - probabilities).mean(axis=1)
    elif control.ordered:
        places = np.arange(targets.shape[1])
        distances = np.abs(places[:, None] - places) / _scale(targets)
        errors = ((targets @ distances) * probabilities).sum(axis=1)
    else:
        errors = 1 - (targets * probabilities).sum(axis=1)
    return np.asarray(errors.clip(0, 1), np.float32)


def label_agreement(probabilities: Floats, targets: Floats, control: ChoicesSchema) -> dict[str, tuple[int, int]]:
    """For each label, in how many rows draft and target agree on it, and how many rows have it.

    With a single choice, these are the rows whose target has it. With several, they are the rows in which either has
    it, so that a superfluous label counts, too; rows with evenly split annotators are left out.
    """
    drafted = decide(probabilities, control)
    annotated = targets > 0.5 if control.multiple else targets >= targets.max(axis=1, keepdims=True)
    has_label = (annotated | drafted) & (targets != 0.5) if control.multiple else annotated
    agreed = has_label & annotated & drafted
    return dict(zip(control.labels, zip(agreed.sum(0).tolist(), has_label.sum(0).tolist(), strict=True), strict=True))


def structure_metrics(probabilities: Floats, targets: Floats, control: ChoicesSchema) -> dict[str, float]:
    """The metrics of labels with an order or a hierarchy by name, without those that are not defined for these rows."""
    metrics: dict[str, float] = {}
    drafted, annotated = decide(probabilities, control), annotated_labels(targets, control)
    if control.ordered:
        drafts, expected = drafted.argmax(axis=1), annotated.argmax(axis=1)
        metrics[EXACTLY_RIGHT] = float((row_scorer(control)(probabilities, targets) == 1).mean())
        metrics[KAPPA] = quadratic_weighted_kappa(drafts, expected, len(control.labels))
        metrics[DISTANCE] = mean_absolute_distance(drafts, expected)
    if control.parents:
        metrics[HIERARCHICAL_F1] = hierarchical_f1(drafted, annotated, control.parents)
    return {name: value for name, value in metrics.items() if not np.isnan(value)}


def annotated_labels(targets: Floats, control: ChoicesSchema) -> Mask:
    """(n, c) the annotators' labels: those with more than half of the votes or, with a single choice, the first one
    with most votes."""
    return np.asarray(targets > 0.5) if control.multiple else decide_labels(targets, multiple=False)


def _median(probabilities: Floats) -> Ints:
    """(n,) the first label up to which the probabilities of a row sum to one half."""
    cumulative = np.cumsum(probabilities, axis=1, dtype=np.float64)
    return np.asarray((cumulative >= HALF * cumulative[:, -1:]).argmax(axis=1))


def _scale(targets: Floats) -> int:
    return max(targets.shape[1] - 1, 1)
