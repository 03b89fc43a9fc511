"""Fits heads to the labels' names and the teacher's labels without annotators, and chooses the head that the
annotators' head starts from.

Distillation has two steps (method A: Hassan, Sicilia, Alikhani, arXiv 2410.13641; soft labels: Hinton, Vinyals, Dean,
"Distilling the Knowledge in a Neural Network", 2015). Whenever the teacher has labelled more, outside the rounds, a
head is fitted to the teacher's soft labels and to the label phrases, also called cues: each phrase is one training row
of its label, weighted by its score, and so draws the attributions of the label (as in LAAT, arXiv 2502.20268). Then the
head is fitted to its own sharpened predictions on the whole pool, too (entropy minimisation: Grandvalet and Bengio,
NIPS 2004). In a round, the annotators' head is drawn to one of these priors, or to none; the choice is made by the
closed form of leave-one-out errors (PRESS: Allen, Technometrics 1974) on the annotators' labels. So a good teacher is
worth hundreds of labels, one that is wrong in most cases is left out, and the more labels there are, the less the prior
counts.

Constants were chosen on banking77's training rows and on TREC; measured in benchmarks/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import DistillationData, Floats, PseudoLabels
from ml_backend.core.schema import takes_several_labels
from plugins.learners.calibration import probabilities
from plugins.learners.multi_head_logistic import BIAS_SCALE, C, Head, Heads, balance, solve
from plugins.learners.pool_sample import pool_sample

TEACHER_STRENGTHS = (2.0, 6.0, 20.0)
"""Values of C for a head of the teacher's labels, chosen by cross-validation on them: a noisy teacher gets a small
one."""
FOLDS = 5
CUE_WEIGHT = 0.3
"""Weight of a label phrase with the highest score, relative to a soft label."""
SELF_TRAINING_PASSES, SHARPENING_POWER, POOL_ROW_WEIGHT = 3, 2.0, 0.5
"""Number of passes over the pool, the power that sharpens the head's predictions, and the weight of a row of the
pool."""
SCALES = (0.5, 1.0)
"""Factors by which the weights and biases of a prior are multiplied."""
RIDGES = (0.05, 0.2, 1.0, 5.0)
"""Penalties of the ridge regression that estimates the errors of a prior."""
NO_PRIOR = "none"
MIN_STANDARD_ERRORS = 1.0
"""A prior must be better by this many standard errors: few labels are not enough to find out that a teacher is bad."""


def candidates(data: DistillationData, seed: int) -> dict[str, Head]:
    """Returns the heads fitted to the label phrases alone ("cues"), to the teacher's labels alone ("labels"), and to
    both ("labels and cues"), where there are any. Takes seconds."""
    random, multiple = np.random.default_rng(seed), takes_several_labels(data.control)
    pool = pool_sample(data.pool, random)
    labels, cues = data.labels, data.label_phrases
    heads: dict[str, Head] = {}
    if len(cues.vectors):
        heads["cues"] = _self_trained(cues, pool, multiple, C)
    if len(labels.vectors):
        weighted_cues = PseudoLabels(cues.vectors, cues.targets, np.float32(CUE_WEIGHT) * cues.weights)
        for name, extra in (("labels", _rows(weighted_cues, 0)), ("labels and cues", weighted_cues)):
            if name == "labels" or len(cues.vectors):
                strength = _best_strength(labels, extra, multiple, random)
                heads[name] = _self_trained(_concatenated(labels, extra), pool, multiple, strength)
    return heads


def choose(
    vectors: Floats, targets: Floats, weights: Floats, priors: dict[str, Head], multiple: bool
) -> tuple[str, float, dict[str, float]]:
    """Returns the name and the scale of the prior with the best leave-one-out errors on n labelled rows, and for each
    prior its error at its better scale, divided by the error without a prior (`NO_PRIOR`, 1.0). Rows of weight 0 are
    ignored.

    The error is the Brier score of the prior's prediction plus a ridge regression of its residuals. For one choice,
    rare labels are weighted in the error as in the head itself: otherwise it would hardly depend on them. A prior
    replaces no prior, or one before it in `priors`, if its error is less by more than the standard error of the
    difference over the rows (the rule of one standard error: Breiman et al., "Classification and Regression Trees",
    1984, 3.4.3). The prior of the labels' names comes first, because it does little harm: the teacher's must be better.
    """
    is_counted = weights > 0  # rows of weight 0 may have future annotations: see `evaluation.retrospective`
    vectors, targets, weights = vectors[is_counted], targets[is_counted], weights[is_counted]
    n, c = targets.shape
    if not priors or n < 2:
        return NO_PRIOR, 0.0, {}
    names = [(NO_PRIOR, 0.0), *((name, scale) for name in priors for scale in SCALES)]
    guesses: list[Floats] = [
        _leave_one_out_rates(targets, weights) if multiple else np.full((n, c), 1.0 / c, dtype=np.float32)
    ]
    for head in priors.values():
        guesses += [probabilities(head.scaled(scale).logits(vectors), multiple) for scale in SCALES]
    lifted_weights = weights if multiple else weights * (targets @ balance(weights @ targets))
    errors = _leave_one_out_errors(vectors, targets, guesses, lifted_weights)
    shares = lifted_weights / lifted_weights.sum()
    scores = errors @ shares
    prior_errors = {NO_PRIOR: 1.0}
    for (name, _), score in zip(names[1:], scores[1:], strict=True):
        prior_errors[name] = min(prior_errors.get(name, np.inf), float(score / max(scores[0], 1e-12)))
    return *names[best_guess(errors, shares, list(priors), [name for name, _ in names])], prior_errors


def best_guess(
    errors: npt.NDArray[np.float64], shares: npt.NDArray[Any], priors: Sequence[str], names: Sequence[str]
) -> int:
    """Returns the index of the guess to use, by the rule of one standard error.

    errors  (guesses, n): the error of each guess in each row; the first guess is that without a prior
    shares  (n,): the shares of the rows in the mean errors, summing to 1
    priors  the names of the priors, in the order in which they replace each other
    names   for each guess, the name of its prior
    """
    scores, best = errors @ shares, 0
    for prior in priors:
        places = [i for i, name in enumerate(names) if name == prior]
        rival = min(places, key=lambda i: float(np.nan_to_num(scores[i], nan=np.inf)))
        improvements = errors[best] - errors[rival]
        gain = shares @ improvements
        if gain > MIN_STANDARD_ERRORS * np.sqrt(np.square(shares) @ np.square(improvements - gain)):
            best = rival
    return best


def _leave_one_out_rates(targets: Floats, weights: Floats) -> Floats:
    """Returns the frequency (n, c) of each label in all other rows, with two more rows that have a target of one half:
    a prior must predict better than the frequencies of the labels do."""
    other_weight = weights.sum() - weights[:, None] + 2.0
    return np.asarray((weights @ targets - weights[:, None] * targets + 1.0) / other_weight, dtype=np.float32)


def _leave_one_out_errors(
    vectors: Floats, targets: Floats, guesses: list[Floats], weights: Floats
) -> npt.NDArray[np.float64]:
    """Returns the leave-one-out Brier score (guesses, n) of each row, for each guess (n, c) plus a ridge regression of
    its residuals. Each guess gets the ridge with the lowest mean score over the rows, weighted by `weights`."""
    n, d = vectors.shape
    residuals = np.concatenate([targets - guess for guess in guesses], axis=1).astype(np.float32)
    x = np.hstack([vectors - vectors.mean(axis=0), np.full((n, 1), BIAS_SCALE, dtype=np.float32)])
    is_wide = n <= d + 1
    gram = (x @ x.T if is_wide else x.T @ x).astype(np.float64)
    best_errors = np.full((len(guesses), n), np.nan)
    lowest = np.full(len(guesses), np.inf)
    for ridge in RIDGES:
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram))).astype(np.float32)
        if is_wide:  # I - K (K + r)^-1 = r (K + r)^-1
            complement, ridge_residuals = ridge * np.diag(inverse), ridge * (inverse @ residuals)
        else:
            projected = x @ inverse
            complement, ridge_residuals = 1 - (projected * x).sum(axis=1), residuals - projected @ (x.T @ residuals)
        errors = (
            np.square(ridge_residuals / complement[:, None]).reshape(n, len(guesses), -1).sum(axis=2, dtype=np.float64)
        )
        mean = weights @ errors
        is_lower = mean < lowest
        best_errors[is_lower], lowest[is_lower] = errors.T[is_lower], mean[is_lower]
    return best_errors


def _self_trained(rows: PseudoLabels, pool: Floats, multiple: bool, strength: float) -> Head:
    """Fits a head to the rows, then `SELF_TRAINING_PASSES` times to the rows and the pool, whose targets are the head's
    own sharpened predictions."""
    head = _fit(rows, multiple, strength)
    for _ in range(SELF_TRAINING_PASSES if len(pool) else 0):
        sharpened = probabilities(head.logits(pool), multiple) ** np.float32(SHARPENING_POWER)
        complement = (1 - probabilities(head.logits(pool), multiple)) ** np.float32(SHARPENING_POWER) if multiple else 0
        sharpened = sharpened / (sharpened + complement if multiple else sharpened.sum(axis=1, keepdims=True))
        pool_rows = PseudoLabels(pool, sharpened.astype(np.float32), np.full(len(pool), POOL_ROW_WEIGHT, np.float32))
        head = _fit(_concatenated(rows, pool_rows), multiple, strength)
    return head


def _best_strength(labels: PseudoLabels, extra: PseudoLabels, multiple: bool, random: np.random.Generator) -> float:
    """Returns the strength with the lowest cross-validated loss on the teacher's labels; `extra` rows are always
    trained on."""
    fold = random.permutation(np.arange(len(labels.vectors)) % FOLDS)
    losses = []
    for strength in TEACHER_STRENGTHS:
        loss = 0.0
        for f in range(min(FOLDS, len(labels.vectors))):
            head = _fit(_concatenated(_rows(labels, fold != f), extra), multiple, strength)
            in_fold = fold == f
            predicted = np.clip(probabilities(head.logits(labels.vectors[in_fold]), multiple), 1e-7, 1.0 - 1e-7)
            targets = labels.targets[in_fold]
            loss -= float((targets * np.log(predicted) + (1 - targets) * np.log(1 - predicted) * multiple).sum())
        losses.append(loss)
    return TEACHER_STRENGTHS[int(np.argmin(losses))]


def _fit(rows: PseudoLabels, multiple: bool, strength: float) -> Head:
    """Fits a head to soft labels, with a penalty on its bias, too."""
    (d,), (c,) = rows.vectors.shape[1:], rows.targets.shape[1:]
    # a prior of zeros, so that the bias is penalised, too
    zero_head = Head(np.zeros((d, c), np.float32), np.zeros(c, np.float32))
    heads = [Heads(rows.targets, rows.weights[None])]
    weights, biases = solve(rows.vectors, heads, multiple, zero_head, strength)
    return Head(weights[0], biases[0])


def _concatenated(first: PseudoLabels, second: PseudoLabels) -> PseudoLabels:
    return PseudoLabels(
        np.concatenate([first.vectors, second.vectors]),
        np.concatenate([first.targets, second.targets]),
        np.concatenate([first.weights, second.weights]),
    )


def _rows(labels: PseudoLabels, rows: npt.NDArray[np.bool_] | int) -> PseudoLabels:
    """Returns the rows of a mask, or the first `rows` rows."""
    index = slice(rows) if isinstance(rows, int) else rows
    return PseudoLabels(labels.vectors[index], labels.targets[index], labels.weights[index])
