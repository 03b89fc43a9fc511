"""LAAT (Large Language Models as Attribution Regularizers) as a Bayesian average of linear heads over the columns of
records. The learner needs few labels if the teacher's scores of the fields are right; labels outweigh wrong scores.

Vukadin, Silic, Delac, "Large Language Models as Attribution Regularizers for Efficient Model Training" (arXiv
2502.20268), pull the attributions of a model towards a teacher's scores with one strength for all numbers of labels.
With that strength, the model hardly learns from labels, and never overcomes a wrong teacher. Here the attributions of a
linear head are its weights, and the scores give a direction u for them. Two dozen Gaussian priors of the weights
("beliefs") are averaged, each weighted by its evidence (see `bayesian_averaging`):

- with the mean u / 2, u or 2 u and different spreads, where u takes the scores nearly as they are, or emphasises the
  highest scores;
- with the mean 0, where the spread of a column's weight grows with the size of its score;
- with the mean 0 and spreads that do not depend on the scores.

Four more beliefs, with the mean -u, only measure the evidence against the scores: their posterior mass goes to the
beliefs with the mean 0. The average of linear heads is a linear head.

The beliefs express that a score is wrong by a factor rather than by an amount: the weight of a field with a high score
may lie far from its mean, the weight of a field without a score lies near zero. So a hundred labels suffice to correct
the few fields with high scores. They would not suffice to determine a hundred weights that are all equally uncertain.

Constants were chosen on pool rows of the benchmark's tables, on ten others and on generated tables with many columns;
measured in benchmarks/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.core.schema import takes_several_labels
from plugins.learners.bayesian_averaging import Doubles, Members, fit, linearised_evidence
from plugins.learners.calibration import fit_calibration, linear_probabilities, probabilities
from plugins.learners.pool_sample import pool_sample

POWERS = ((1.5, 0.8), (4.0, 0.2))
"""Powers to which the absolute values of scores are raised, and the prior mass of each power. Powers above 1 emphasise
high scores: teachers underrate the most important field, and some are right about a few fields only but score all."""
DECORRELATION = 0.25
"""Strength, from 0 to 1, with which correlated fields share one score: a teacher scores each field as if it were the
only one. With a higher value, mostly the contradictions between the scores of correlated fields would remain."""
UNSCORED_SCALE = 0.3
"""Share of the highest score that is added to each score in the standard deviation of a weight, so that the weight of a
field without a score may differ from 0."""
ALPHAS = ((0.5, 0.3), (1.0, 0.3), (2.0, 0.2), (-1.0, 0.1))
"""Values of alpha, where alpha u is the mean of the weights, and the prior mass of each value. Labels drawn from the
weights u would give u an AUC of about 0.74. Without a smaller alpha, the scores of a less accurate teacher would be
dismissed after few labels."""
DIRECTED_SPREADS = (0.2, 1.0)
"""Spreads around alpha u, as standard deviations of the pool's logits; the same values do for 8 columns and for 200."""
UNDIRECTED_MASS, UNDIRECTED_SPREADS = 0.05, (0.6, 1.2, 2.4)
"""Prior mass of the beliefs with alpha 0 for each scale of the columns, and their spreads. The scales are the scores,
the columns' widths (see `Attributions.prior_scales`), and the same value for all columns, which suits rare
categories."""
EVIDENCE_HALF_ROWS = 5.0
"""The evidence of n rows is raised to the power n / (n + EVIDENCE_HALF_ROWS), so that two labels do not suffice to
dismiss a teacher."""
BIAS_HALF_ROWS = 30.0
"""The bias fitted on n rows is multiplied by n / (n + BIAS_HALF_ROWS): few rows say little about how frequent a label
is, and the rows that a query strategy chooses are no random sample."""
MAX_SIZE_FOR_ALL_BELIEFS, MAX_BELIEFS_BY_SIGN = 100, {1: 4, 0: 3, -1: 2}
"""If there are more rows and more columns than MAX_SIZE_FOR_ALL_BELIEFS, fitting all beliefs would take too long: only
the most probable ones are fitted, at most the number in MAX_BELIEFS_BY_SIGN for each sign of alpha."""
FIELDS = "fields"
"""Name of the prior."""


@dataclass(frozen=True, slots=True)
class Belief:
    """A Gaussian prior of the weights (d,): its mean is alpha u, its standard deviation is `spread` times `scale` (d,),
    and `mass` is its prior probability. Beliefs with the same u and scale share these two arrays."""

    u: Doubles
    scale: Doubles
    alpha: float
    spread: float
    mass: float


class Laat:
    """Tensors: weight (d, c) and bias (c,) float32, calibrated; multiple (1,) bool; `trust` and `against` (heads,):
    posterior mass of the beliefs with alpha above 0, and of those with alpha below 0."""

    def __init__(self, max_size_for_all_beliefs: int = MAX_SIZE_FOR_ALL_BELIEFS) -> None:
        self._max_size = max_size_for_all_beliefs

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits without randomness. The prior FIELDS contains the scores; without it, no belief uses scores. The fit
        names it as its prior if the trust in the scores is at least one half."""
        prior = train.priors.get(FIELDS) or _uninformative_prior(train)
        x, multiple = np.asarray(train.vectors, np.float64), takes_several_labels(train.control)
        heads = _heads(x, train.targets, train.weights, multiple, prior, self._max_size)
        tensors, held_out = _calibrated(heads, train.targets, train.weights, multiple)
        earlier = None
        if train.earlier_to_validate is not None:
            has_earlier_target = ~np.isnan(train.earlier_to_validate).any(axis=1)
            targets, weights = np.nan_to_num(train.earlier_to_validate), train.weights * has_earlier_target
            _, earlier = _calibrated(
                _heads(x, targets, weights, multiple, prior, self._max_size), targets, weights, multiple
            )
        trusts = [
            _trust_in_scores(head, target, train.prior_selection_weights)
            for head, target in _heads_with_targets(heads, train.targets)
            if head.is_scored
        ]
        trust = float(np.mean(trusts)) if trusts else None
        return Fit(tensors, held_out, earlier, FIELDS if (trust or 0.0) >= 0.5 else "", trust=trust)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Returns the prior FIELDS: the scores (c, k, d) of the columns from k estimates, the widths (d,) of the
        columns, and the covariance (d, d) of the pool. Empty without attributions or without a pool."""
        if data.attributions is None or not len(data.pool):
            return {}
        pool = np.asarray(pool_sample(data.pool, np.random.default_rng(seed)), np.float32)
        return {
            FIELDS: {
                "scores": np.asarray(data.attributions.scores, np.float32),
                "width": np.asarray(data.attributions.prior_scales, np.float32),
                "covariance": np.cov(pool, rowvar=False, bias=True).reshape(pool.shape[1], -1).astype(np.float32),
            }
        }

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Returns calibrated probabilities (n, c)."""
        return linear_probabilities(tensors, vectors)


def direction(
    scores: Doubles, covariance: Doubles, width: Doubles, power: float = POWERS[0][0]
) -> tuple[Doubles, Doubles]:
    """Returns u (d,), scaled so that x @ u has standard deviation 1 over the pool, and the absolute score of each
    column (d,), from the scores (k, d) of k estimates. Both are zeros if the teacher has given no scores. u is 0 in
    columns of `width` 0."""
    mean_scores = (np.sign(scores) * np.abs(scores) ** power).mean(axis=0) * (width > 0)
    variance = np.diag(covariance) * (width > 0)
    scale = max(float(variance.max()), 1e-12)  # makes the result independent of the unit of the columns
    mixing = (1 - DECORRELATION) * np.eye(len(mean_scores)) + DECORRELATION / scale * covariance * np.outer(
        width > 0, width > 0
    )
    u = np.linalg.solve(mixing, mean_scores)
    deviation = max(float(u @ covariance @ u), 0.0) ** 0.5
    return (u / deviation if deviation > 1e-9 else np.zeros_like(u)), np.abs(mean_scores)


def _all_beliefs(scores: Doubles, covariance: Doubles, width: Doubles) -> Iterator[Belief]:
    """Yields all beliefs. Their spreads are standard deviations of the pool's logits."""
    variance, uniform = np.diag(covariance), np.where(width > 0, 1.0, 0.0)

    def around(u: Doubles, scale: Doubles, members: Sequence[tuple[float, float, float]]) -> Iterator[Belief]:
        pool_deviation = max(float((variance * scale**2).sum()), 1e-12) ** 0.5
        return (Belief(u, scale, alpha, spread / pool_deviation, mass) for alpha, spread, mass in members)

    undirected = [(0.0, spread, UNDIRECTED_MASS / len(UNDIRECTED_SPREADS)) for spread in UNDIRECTED_SPREADS]
    for scale in (width, uniform):
        yield from around(np.zeros_like(width), scale, undirected)
    for power, power_mass in POWERS:
        u, column_scores = direction(scores, covariance, width, power)
        if u.any():
            by_scores = (column_scores + UNSCORED_SCALE * column_scores.max()) * uniform
            directed = [
                (alpha, spread, mass / len(DIRECTED_SPREADS)) for alpha, mass in ALPHAS for spread in DIRECTED_SPREADS
            ]
            all_members = [(alpha, spread, power_mass * mass) for alpha, spread, mass in [*directed, *undirected]]
            yield from around(u, by_scores, all_members)


class _AveragedHead:
    """One linear head, averaged over all beliefs.

    weight, bias                  (d,) and a number, of the averaged head
    left_out                      (n,) the leave-one-out logits of the training rows
    is_scored                     whether the teacher has scored any column for the head
    score_logits                  (n,) x @ u, the logits from the scores alone
    positive_mass, negative_mass  posterior mass of the beliefs with alpha above 0, and below 0
    """

    def __init__(
        self, x: Doubles, targets: Doubles, row_weights: Doubles, scores: Doubles, prior: Tensors, max_size: int
    ) -> None:
        """max_size: number of rows and columns above which only the most probable beliefs are fitted"""
        covariance, width = (np.asarray(prior[name], np.float64) for name in ("covariance", "width"))
        u, _ = direction(scores, covariance, width)
        self.is_scored = bool(u.any())
        self.score_logits: Doubles = x @ u
        beliefs = list(_all_beliefs(scores, covariance, width))
        total_weight = row_weights.sum()
        evidence_power = total_weight / (total_weight + EVIDENCE_HALF_ROWS)
        if min(x.shape) > max_size:
            beliefs = _most_probable(x, targets, row_weights, beliefs, evidence_power)
        fits: list[Members] = [fit(x, targets, row_weights, *group) for group in _by_scale(beliefs)]
        evidence = np.concatenate([members.evidence for members in fits])
        alphas = np.array([belief.alpha for belief in beliefs])
        log_prior = np.log([belief.mass for belief in beliefs])
        posterior = _normalised(log_prior + evidence_power * evidence)
        weights = _member_weights(posterior, alphas)
        self.weight = weights @ np.vstack([members.weights for members in fits])
        self.bias = float(weights @ np.concatenate([members.biases for members in fits]))
        self.positive_mass, self.negative_mass = float(posterior[alphas > 0].sum()), float(posterior[alphas < 0].sum())
        # the leave-one-out logit of a row is averaged with a posterior that leaves out the row's own likelihood
        left_out = np.hstack([members.left_out.T for members in fits]).T
        row_likelihood = row_weights * (targets * left_out - np.logaddexp(0, left_out))
        other_weight = np.maximum(total_weight - row_weights, 0)
        prior_means = np.stack([belief.alpha * (x @ belief.u) for belief in beliefs])
        left_out = np.where(other_weight > 0, left_out, prior_means)  # without other rows, only the prior is left
        posterior = _normalised(
            log_prior[:, None]
            + other_weight / (other_weight + EVIDENCE_HALF_ROWS) * (evidence[:, None] - row_likelihood)
        )
        self.left_out = (_member_weights(posterior, alphas) * left_out).sum(axis=0)
        excess_bias = self.bias * BIAS_HALF_ROWS / (total_weight + BIAS_HALF_ROWS)
        self.bias -= excess_bias
        self.left_out -= np.where(other_weight > 0, excess_bias, 0.0)


def _by_scale(beliefs: Sequence[Belief]) -> Iterator[tuple[Doubles, Doubles, list[tuple[float, float]]]]:
    """Yields, for each group of consecutive beliefs with the same u and scale: u, scale, and the pairs of alpha and
    spread."""
    for _, same_scale in groupby(beliefs, key=lambda belief: id(belief.scale)):
        group = list(same_scale)
        yield group[0].u, group[0].scale, [(belief.alpha, belief.spread) for belief in group]


def _most_probable(
    x: Doubles, targets: Doubles, row_weights: Doubles, beliefs: Sequence[Belief], evidence_power: float
) -> list[Belief]:
    """Returns the beliefs with the highest posterior by the linearised evidence, at most MAX_BELIEFS_BY_SIGN for each
    sign of alpha, in the order of `beliefs`."""
    evidence = np.concatenate([linearised_evidence(x, targets, row_weights, *group) for group in _by_scale(beliefs)])
    log_posterior = np.log([belief.mass for belief in beliefs]) + evidence_power * evidence
    order = sorted(range(len(beliefs)), key=lambda i: -log_posterior[i])
    chosen = [
        [i for i in order if np.sign(beliefs[i].alpha) == sign][:count] for sign, count in MAX_BELIEFS_BY_SIGN.items()
    ]
    return [beliefs[i] for i in sorted(i for group in chosen for i in group)]


def _heads(
    x: Doubles, targets: Floats, weights: Floats, multiple: bool, prior: Tensors, max_size: int
) -> list[_AveragedHead]:
    """Returns one head for each label; for a single choice between two labels, only the head of the second label."""
    scores, label_targets = np.asarray(prior["scores"], np.float64), np.asarray(targets, np.float64)
    row_weights = np.asarray(weights, np.float64)
    n_labels = label_targets.shape[1]
    if not multiple and n_labels == 2:
        return [_AveragedHead(x, label_targets[:, 1], row_weights, scores[1] - scores[0], prior, max_size)]
    return [
        _AveragedHead(x, label_targets[:, label], row_weights, scores[label], prior, max_size)
        for label in range(n_labels)
    ]


def _heads_with_targets(heads: list[_AveragedHead], targets: Floats) -> list[tuple[_AveragedHead, Floats]]:
    """Pairs each head with its column of the targets."""
    return list(zip(heads, targets.T[-len(heads) :], strict=True))


def _trust_in_scores(head: _AveragedHead, target: Floats, weights: Floats) -> float:
    """Returns how far the targets support the scores, from 0 to 1: the posterior mass of the beliefs with alpha above
    0 or, if that is higher, the area under the ROC curve of the scores alone. The second value is needed where labels
    are nearly separable: there the mass goes to the beliefs with the largest weights, even if the scores are right."""
    is_used = weights > 0
    has_label, score_logits = target[is_used] > 0.5, head.score_logits[is_used]
    if has_label.all() or not has_label.any():
        return head.positive_mass
    from sklearn.metrics import roc_auc_score

    return max(head.positive_mass, float(roc_auc_score(has_label, score_logits)))


def _calibrated(heads: list[_AveragedHead], targets: Floats, weights: Floats, multiple: bool) -> tuple[Tensors, Floats]:
    """Returns the tensors, and the calibrated leave-one-out probabilities (n, c)."""
    weight, bias, logits = (
        np.stack([getattr(head, name) for head in heads], axis=-1).astype(np.float32)
        for name in ("weight", "bias", "left_out")
    )
    if len(heads) < targets.shape[1]:
        weight, logits = (np.hstack([np.zeros_like(array), array]) for array in (weight, logits))
        bias = np.array([0.0, bias[0]], np.float32)
    is_only_row = weights.sum() - weights <= 0  # without other rows, there is no leave-one-out prediction
    slope, offset = fit_calibration(logits, targets, weights * ~is_only_row, multiple)
    tensors: Tensors = {
        "weight": weight * slope, "bias": bias * slope + offset, "multiple": np.array([multiple]),
        "trust": np.array([head.positive_mass for head in heads], np.float32),
        "against": np.array([head.negative_mass for head in heads], np.float32),
    }  # fmt: skip
    return tensors, probabilities(logits * slope + offset, multiple)


def _uninformative_prior(train: TrainingSet) -> Tensors:
    """Returns the tensors of a prior without scores. The variances of the training rows stand in for the pool's."""
    n, d = train.vectors.shape
    variance = np.asarray(train.vectors, np.float64).var(axis=0) if n > 1 else np.ones(d)
    covariance = np.diag(variance if variance.any() else np.ones(d))
    scores = np.zeros((train.targets.shape[1], 1, d), np.float32)
    return {"scores": scores, "width": np.ones(d, np.float32), "covariance": covariance}


def _member_weights(posterior: Doubles, alphas: Doubles) -> Doubles:
    """Returns the weight of each belief in the average: its posterior mass, where the mass of the beliefs with alpha
    below 0 goes to those with alpha 0, in proportion to their own mass."""
    column_shape = (-1, *[1] * (posterior.ndim - 1))
    undirected = posterior * (alphas == 0).reshape(column_shape)
    negative_mass = posterior[alphas < 0].sum(axis=0)
    return np.asarray(
        posterior * (alphas >= 0).reshape(column_shape) + negative_mass * undirected / undirected.sum(axis=0)
    )


def _normalised(logs: Doubles) -> Doubles:
    exponentials: Doubles = np.exp(logs - logs.max(axis=0))
    return np.asarray(exponentials / exponentials.sum(axis=0))
