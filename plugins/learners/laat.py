"""LAAT as it should be: a linear head over the fields of a record, strong with few answers if the teacher's scores of
the fields are right, and harmless if they are wrong.

Vukadin, Silic, Delac, "Large Language Models as Attribution Regularizers for Efficient Model Training" (arXiv
2502.20268), pull the attributions of a model towards a teacher's scores with one strength for all numbers of labels: it
hardly learns from labels then, and a wrong teacher is never overcome. Here the attributions of a linear head are its
weights, and the scores a direction u in which they may lie. Two dozen beliefs are averaged, each weighed by how likely
it makes the answers (see `evidence`): that the weights are half of u, u or twice u, more or less exactly, where u takes
the scores nearly as they are or the highest alone; that they are spread as the scores say that fields matter, without
a direction; and that nobody knows anything. Four more, that they are -u, are witnesses only: what speaks for them
speaks for those without a teacher. The average of linear heads is a linear head.

A score is wrong by a factor rather than by an amount: the weight of a field that is said to decide may lie far from
what its score says, that of a field without a score lies near zero. So a hundred answers correct the few fields that
decide, where they would be lost among a hundred weights that are all as uncertain.

Constants were chosen on pool rows of the benchmark's tables, on ten others and on made-up wide ones; measured in
benchmarks/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ml_backend.core.types import DistillationData, Fit, Floats, Tensors, TrainingSet
from plugins.learners.bayesian_averaging import Doubles, Members, fit, linearised
from plugins.learners.calibration import calibration, linear, probabilities
from plugins.learners.pool_sample import pool_sample

POWERS = ((1.5, 0.8), (4.0, 0.2))
"""A score counts with a power of its size: the field that matters most matters more than its score says. The powers,
and the prior mass of each: some teachers are right about a few fields, and have something to say of all."""
DECORRELATE = 0.25
"""How much fields that say the same share one score: a teacher scores them one at a time. With more, what is left of
the scores of many fields is where they contradict each other."""
UNSCORED = 0.3
"""How widely the weight of a field without a score lies, beside that of the field with the highest."""
BELIEVED = ((0.5, 0.3), (1.0, 0.3), (2.0, 0.2), (-1.0, 0.1))
"""How many times u the weights are, and the prior mass of that. If they are u, its AUC is about 0.74: were there
nothing below that, answers would take a teacher who is right less often for one who knows nothing."""
EXACT = (0.2, 1.0)
"""Spreads around it, as standard deviations of the pool's logits, for 8 columns as for 200."""
ALONE, FREE = 0.05, (0.6, 1.2, 2.4)
"""Mass and spreads of the beliefs without a direction: with the teacher's sense of what matters, with the columns' own
widths, and with all columns alike, as rare categories would have it beside numbers."""
PATIENCE = 5.0
"""The evidence of n answers counts n / (n + PATIENCE): two answers do not dismiss a teacher."""
MODEST = 30.0
"""The bias of n answers counts n / (n + MODEST): few say little about how frequent labels are, and acquisition draws no
fair share of them."""
LARGE, BEST = 100, {1: 4, 0: 3, -1: 2}
"""Of more rows and columns than this, only so many of the likeliest beliefs are fitted, by the sign of alpha: all of
them would take too long."""
FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Belief:
    """That the weights are alpha u (d,), give or take `spread` times scale (d,), and the prior mass of that. Beliefs of
    the same u and scale share the arrays themselves."""

    u: Doubles
    scale: Doubles
    alpha: float
    spread: float
    mass: float


class Laat:
    """Tensors: weight (d, c) and bias (c,) float32, calibrated; multiple (1,) bool; `trust` and `against` (heads,):
    how much speaks for the teacher's scores, and for their being upside down."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic. The scores come with the prior FIELDS; without it, nobody knows anything."""
        known = train.priors.get(FIELDS) or _unknown(train)
        x = np.asarray(train.vectors, np.float64)
        heads = _heads(x, train.targets, train.weights, train.multiple, known)
        tensors, held_out = _calibrated(heads, train.targets, train.weights, train.multiple)
        earlier = None
        if train.earlier_to_judge is not None:
            there = ~np.isnan(train.earlier_to_judge).any(axis=1)
            targets, weights = np.nan_to_num(train.earlier_to_judge), train.weights * there
            _, earlier = _calibrated(
                _heads(x, targets, weights, train.multiple, known), targets, weights, train.multiple
            )
        told = [_trust(head, target, train.say) for head, target in _judged(heads, train.targets) if head.told]
        trust = float(np.mean(told)) if told else None
        return Fit(tensors, held_out, earlier, FIELDS if (trust or 0.0) >= 0.5 else "", trust=trust)

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """What the fields are worth: scores (c, k, d) of k estimates, and the pool's covariance."""
        if material.attributions is None or not len(material.pool):
            return {}
        pool = np.asarray(pool_sample(material.pool, np.random.default_rng(seed)), np.float32)
        return {
            FIELDS: {
                "scores": np.asarray(material.attributions.scores, np.float32),
                "width": np.asarray(material.attributions.width, np.float32),
                "covariance": np.cov(pool, rowvar=False, bias=True).reshape(pool.shape[1], -1).astype(np.float32),
            }
        }

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities."""
        return linear(tensors, vectors)


def direction(
    scores: Doubles, covariance: Doubles, width: Doubles, power: float = POWERS[0][0]
) -> tuple[Doubles, Doubles]:
    """u (d,), of which x @ u has deviation 1 over the pool, and how much each column weighs (d,), from the scores
    (k, d) of k estimates; zeros if the teacher has said nothing. In a column of `width` 0 there is no direction."""
    t = (np.sign(scores) * np.abs(scores) ** power).mean(axis=0) * (width > 0)
    variance = np.diag(covariance) * (width > 0)
    unit = max(float(variance.max()), 1e-12)  # that of a number: whatever the columns are measured in
    shared = (1 - DECORRELATE) * np.eye(len(t)) + DECORRELATE / unit * covariance * np.outer(width > 0, width > 0)
    u = np.linalg.solve(shared, t)
    spread = max(float(u @ covariance @ u), 0.0) ** 0.5
    return (u / spread if spread > 1e-9 else np.zeros_like(u)), np.abs(t)


def _beliefs(scores: Doubles, covariance: Doubles, width: Doubles) -> Iterator[Belief]:
    """All of them; spreads are those of the pool's logits."""
    variance, even = np.diag(covariance), np.where(width > 0, 1.0, 0.0)

    def around(u: Doubles, scale: Doubles, members: Sequence[tuple[float, float, float]]) -> Iterator[Belief]:
        unit = max(float((variance * scale**2).sum()), 1e-12) ** 0.5
        return (Belief(u, scale, alpha, spread / unit, mass) for alpha, spread, mass in members)

    undirected = [(0.0, spread, ALONE / len(FREE)) for spread in FREE]
    for scale in (width, even):
        yield from around(np.zeros_like(width), scale, undirected)
    for power, share in POWERS:
        u, size = direction(scores, covariance, width, power)
        if u.any():
            relevant = (size + UNSCORED * size.max()) * even
            directed = [(alpha, spread, mass / len(EXACT)) for alpha, mass in BELIEVED for spread in EXACT]
            members = [(alpha, spread, share * mass) for alpha, spread, mass in [*directed, *undirected]]
            yield from around(u, relevant, members)


class _Head:
    """The average of all beliefs about one head: weight (d,), bias, left_out (n,), whether the teacher has `told`
    anything of it, what it says `alone` (n,), and what speaks for the teacher."""

    def __init__(self, x: Doubles, targets: Doubles, trust: Doubles, scores: Doubles, known: Tensors) -> None:
        covariance, width = (np.asarray(known[name], np.float64) for name in ("covariance", "width"))
        u, _ = direction(scores, covariance, width)
        self.told = bool(u.any())
        self.alone: Doubles = x @ u
        beliefs = list(_beliefs(scores, covariance, width))
        total = trust.sum()
        patient = total / (total + PATIENCE)
        if min(x.shape) > LARGE:
            beliefs = _likeliest(x, targets, trust, beliefs, patient)
        found: list[Members] = [fit(x, targets, trust, *some) for some in _by_scale(beliefs)]
        evidence = np.concatenate([each.evidence for each in found])
        alphas = np.array([belief.alpha for belief in beliefs])
        prior = np.log([belief.mass for belief in beliefs])
        post = _normal(prior + patient * evidence)
        votes = _votes(post, alphas)
        self.weight = votes @ np.vstack([each.weights for each in found])
        self.bias = float(votes @ np.concatenate([each.biases for each in found]))
        self.trust, self.against = float(post[alphas > 0].sum()), float(post[alphas < 0].sum())
        # what the others say of a row: what it adds to the evidence itself is taken out
        left_out = np.hstack([each.left_out.T for each in found]).T
        own = trust * (targets * left_out - np.logaddexp(0, left_out))
        others = np.maximum(total - trust, 0)
        believed = np.stack([belief.alpha * (x @ belief.u) for belief in beliefs])
        left_out = np.where(others > 0, left_out, believed)  # nothing is left but the belief
        post = _normal(prior[:, None] + others / (others + PATIENCE) * (evidence[:, None] - own))
        self.left_out = (_votes(post, alphas) * left_out).sum(axis=0)
        too_sure = self.bias * MODEST / (total + MODEST)
        self.bias -= too_sure
        self.left_out -= np.where(others > 0, too_sure, 0.0)


def _by_scale(beliefs: Sequence[Belief]) -> Iterator[tuple[Doubles, Doubles, list[tuple[float, float]]]]:
    """Those with the same u and scale together, in their order: u, scale, and alpha and spread of each."""
    for _, some in groupby(beliefs, key=lambda belief: id(belief.scale)):
        group = list(some)
        yield group[0].u, group[0].scale, [(belief.alpha, belief.spread) for belief in group]


def _likeliest(x: Doubles, targets: Doubles, trust: Doubles, beliefs: Sequence[Belief], patient: float) -> list[Belief]:
    """The likeliest of them by the linearised evidence, as many of each sign as BEST says."""
    evidence = np.concatenate([linearised(x, targets, trust, *some) for some in _by_scale(beliefs)])
    likely = np.log([belief.mass for belief in beliefs]) + patient * evidence
    order = sorted(range(len(beliefs)), key=lambda place: -likely[place])
    kept = [[place for place in order if np.sign(beliefs[place].alpha) == sign][:most] for sign, most in BEST.items()]
    return [beliefs[place] for place in sorted(place for some in kept for place in some)]


def _heads(x: Doubles, targets: Floats, weights: Floats, multiple: bool, known: Tensors) -> list[_Head]:
    """One for each label; of two of which one holds, one for the second."""
    scores, t = np.asarray(known["scores"], np.float64), np.asarray(targets, np.float64)
    trust = np.asarray(weights, np.float64)
    if not multiple and t.shape[1] == 2:
        return [_Head(x, t[:, 1], trust, scores[1] - scores[0], known)]
    return [_Head(x, t[:, label], trust, scores[label], known) for label in range(t.shape[1])]


def _judged(heads: list[_Head], targets: Floats) -> list[tuple[_Head, Floats]]:
    """Each head with its column of the targets."""
    return list(zip(heads, targets.T[-len(heads) :], strict=True))


def _trust(head: _Head, target: Floats, weights: Floats) -> float:
    """How much the answers speak for the scores: the mass of those beliefs or, if that is more, how well the scores by
    themselves put the answers in order (the area under their curve). Of labels that are nearly told apart, the mass
    goes to whoever is surest, though the scores are right."""
    used = weights > 0
    holds, said = target[used] > 0.5, head.alone[used]
    if holds.all() or not holds.any():
        return head.trust
    from sklearn.metrics import roc_auc_score

    return max(head.trust, float(roc_auc_score(holds, said)))


def _calibrated(heads: list[_Head], targets: Floats, weights: Floats, multiple: bool) -> tuple[Tensors, Floats]:
    weight, bias, logits = (
        np.stack([getattr(head, name) for head in heads], axis=-1).astype(np.float32)
        for name in ("weight", "bias", "left_out")
    )
    if len(heads) < targets.shape[1]:
        weight, logits = (np.hstack([np.zeros_like(each), each]) for each in (weight, logits))
        bias = np.array([0.0, bias[0]], np.float32)
    alone = weights.sum() - weights <= 0  # without others, nobody has judged the row
    slope, offset = calibration(logits, targets, weights * ~alone, multiple)
    tensors: Tensors = {
        "weight": weight * slope, "bias": bias * slope + offset, "multiple": np.array([multiple]),
        "trust": np.array([head.trust for head in heads], np.float32),
        "against": np.array([head.against for head in heads], np.float32),
    }  # fmt: skip
    return tensors, probabilities(logits * slope + offset, multiple)


def _unknown(train: TrainingSet) -> Tensors:
    """Of fields that nobody has told anything of, in a pool that is not known either: that of the rows."""
    n, d = train.vectors.shape
    variance = np.asarray(train.vectors, np.float64).var(axis=0) if n > 1 else np.ones(d)
    covariance = np.diag(variance if variance.any() else np.ones(d))
    scores = np.zeros((train.targets.shape[1], 1, d), np.float32)
    return {"scores": scores, "width": np.ones(d, np.float32), "covariance": covariance}


def _votes(post: Doubles, alphas: Doubles) -> Doubles:
    """The mass of those that testify against the teacher goes to those without one, in proportion."""
    beside = (-1, *[1] * (post.ndim - 1))
    alone = post * (alphas == 0).reshape(beside)
    against = post[alphas < 0].sum(axis=0)
    return np.asarray(post * (alphas >= 0).reshape(beside) + against * alone / alone.sum(axis=0))


def _normal(logs: Doubles) -> Doubles:
    grown: Doubles = np.exp(logs - logs.max(axis=0))
    return np.asarray(grown / grown.sum(axis=0))
