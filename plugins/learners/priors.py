"""What labels' names and a teacher have taught, as heads that the annotators' head starts from; and which is worth it.

Distillation in two steps (method A: Hassan, Sicilia, Alikhani, arXiv 2410.13641; soft labels: Hinton, Vinyals, Dean,
"Distilling the Knowledge in a Neural Network", 2015). When the teacher has said more, and never in a round: a head is
fitted to its soft labels and to its cue phrases (a phrase with a score is a direction that the attributions of the
label are drawn along: LAAT, arXiv 2502.20268, as a row of the label's own), and then to its own, sharpened answers on
the whole pool (entropy minimisation: Grandvalet and Bengio, NIPS 2004). In a round: the annotators' head is drawn to
that prior, by the closed form of leave-one-out errors (PRESS: Allen, Technometrics 1974) on the annotators' labels,
where no prior at all is one of the choices. So a good teacher is worth hundreds of labels, one that is wrong in most
cases is left out, and as labels grow they have the last word.

Constants were chosen on banking77's training rows and on TREC; measured in benchmarks/.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import DistillationData, Floats, PseudoLabels
from plugins.learners.calibration import probabilities
from plugins.learners.multi_head_logistic import BIAS_SCALE, C, Head, Heads, balance, solve
from plugins.learners.pool_sample import pool_sample

STRENGTHS = (2.0, 6.0, 20.0)
"""C of a head of the teacher's labels, chosen by cross-validation on them: a noisy teacher gets a small one."""
FOLDS = 5
CUES_BESIDE_LABELS = 0.3
"""What a cue of the highest score counts beside a soft label."""
PASSES, SHARPER, POOL_WEIGHT = 3, 2.0, 0.5
"""How often the pool is answered, to which power, and what a row of it counts."""
SCALES = (0.5, 1.0)
RIDGES = (0.05, 0.2, 1.0, 5.0)
NONE = "none"
DOUBT = 1.0
"""So many standard errors a prior must be better than what is before it: few answers are few to find a bad teacher out
by."""


def candidates(material: DistillationData, multiple: bool, seed: int) -> dict[str, Head]:
    """A head of the cues alone, of the labels alone, and of both, as far as there are any. Takes seconds."""
    random = np.random.default_rng(seed)
    pool = pool_sample(material.pool, random)
    labels, cues = material.labels, material.cues
    found: dict[str, Head] = {}
    if len(cues.vectors):
        found["cues"] = _taught(cues, pool, multiple, C)
    if len(labels.vectors):
        fainter = PseudoLabels(cues.vectors, cues.targets, np.float32(CUES_BESIDE_LABELS) * cues.weights)
        for name, beside in (("labels", _rows(fainter, 0)), ("labels and cues", fainter)):
            if name == "labels" or len(cues.vectors):
                strength = _strength(labels, beside, multiple, random)
                found[name] = _taught(_both(labels, beside), pool, multiple, strength)
    return found


def choose(
    vectors: Floats, targets: Floats, weights: Floats, priors: dict[str, Head], multiple: bool
) -> tuple[str, float, dict[str, float]]:
    """The prior and its scale that leave-one-out errors on n labelled rows speak for, and the error of each prior at
    its better scale, in parts of the error without one (`NONE`, 1.0). Rows of weight 0 have no part in it.

    The error is the Brier score of the prior's answer plus a ridge regression of what it leaves over. For one choice,
    rare labels are lifted in it as in the head itself: else what a teacher knows of them would count for nothing. A
    prior takes the place of none, and of one that stands before it in `priors`, if its error is less by more than the
    standard error of the difference, row by row (the rule of one standard error: Breiman et al., "Classification and
    Regression Trees", 1984, 3.4.3): labels' names are harmless, and a teacher has to be better than they are.
    """
    counted = weights > 0  # the others may be answers of the future: see `evaluation.replay`
    vectors, targets, weights = vectors[counted], targets[counted], weights[counted]
    n, c = targets.shape
    if not priors or n < 2:
        return NONE, 0.0, {}
    names = [(NONE, 0.0), *((name, scale) for name in priors for scale in SCALES)]
    guesses: list[Floats] = [_rates(targets, weights) if multiple else np.full((n, c), 1.0 / c, dtype=np.float32)]
    for head in priors.values():
        guesses += [probabilities(head.scaled(scale).logits(vectors), multiple) for scale in SCALES]
    lifted = weights if multiple else weights * (targets @ balance(weights @ targets))
    errors = _left_out(vectors, targets, guesses, lifted)
    share = lifted / lifted.sum()
    scores = errors @ share
    against = {NONE: 1.0}
    for (name, _), score in zip(names[1:], scores[1:], strict=True):
        against[name] = min(against.get(name, np.inf), float(score / max(scores[0], 1e-12)))
    chosen = 0
    for name in priors:
        own = [place for place, (each, _) in enumerate(names) if each == name]
        rival = min(own, key=lambda place: float(np.nan_to_num(scores[place], nan=np.inf)))
        better = errors[chosen] - errors[rival]
        gain = share @ better
        if gain > DOUBT * np.sqrt(np.square(share) @ np.square(better - gain)):
            chosen = rival
    return *names[chosen], against


def _rates(targets: Floats, weights: Floats) -> Floats:
    """(n, c) how often each label holds in the other rows, with two rows more that are even: a prior must know more
    than that labels are rare."""
    others = weights.sum() - weights[:, None] + 2.0
    return np.asarray((weights @ targets - weights[:, None] * targets + 1.0) / others, dtype=np.float32)


def _left_out(vectors: Floats, targets: Floats, guesses: list[Floats], weights: Floats) -> npt.NDArray[np.float64]:
    """(guesses, n) the leave-one-out Brier score of each row by each guess (n, c) plus a ridge regression of what it
    leaves over, with the ridge that is best for it by the mean over the rows, each with its weight."""
    n, d = vectors.shape
    left = np.concatenate([targets - guess for guess in guesses], axis=1).astype(np.float32)
    x = np.hstack([vectors - vectors.mean(axis=0), np.full((n, 1), BIAS_SCALE, dtype=np.float32)])
    few = n <= d + 1
    gram = (x @ x.T if few else x.T @ x).astype(np.float64)
    best = np.full((len(guesses), n), np.nan)
    least = np.full(len(guesses), np.inf)
    for ridge in RIDGES:
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram))).astype(np.float32)
        if few:  # I - K (K + r)^-1 = r (K + r)^-1
            apart, residual = ridge * np.diag(inverse), ridge * (inverse @ left)
        else:
            towards = x @ inverse
            apart, residual = 1 - (towards * x).sum(axis=1), left - towards @ (x.T @ left)
        errors = np.square(residual / apart[:, None]).reshape(n, len(guesses), -1).sum(axis=2, dtype=np.float64)
        mean = weights @ errors
        less = mean < least
        best[less], least[less] = errors.T[less], mean[less]
    return best


def _taught(rows: PseudoLabels, pool: Floats, multiple: bool, strength: float) -> Head:
    """The head of some rows; then, some times over, of them and the pool with the head's own answers, sharpened."""
    head = _fit(rows, multiple, strength)
    for _ in range(PASSES if len(pool) else 0):
        said = probabilities(head.logits(pool), multiple) ** np.float32(SHARPER)
        against = (1 - probabilities(head.logits(pool), multiple)) ** np.float32(SHARPER) if multiple else 0
        said = said / (said + against if multiple else said.sum(axis=1, keepdims=True))
        own = PseudoLabels(pool, said.astype(np.float32), np.full(len(pool), POOL_WEIGHT, np.float32))
        head = _fit(_both(rows, own), multiple, strength)
    return head


def _strength(labels: PseudoLabels, beside: PseudoLabels, multiple: bool, random: np.random.Generator) -> float:
    fold = random.permutation(np.arange(len(labels.vectors)) % FOLDS)
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for f in range(min(FOLDS, len(labels.vectors))):
            head = _fit(_both(_rows(labels, fold != f), beside), multiple, strength)
            mine = fold == f
            said = np.clip(probabilities(head.logits(labels.vectors[mine]), multiple), 1e-7, 1.0 - 1e-7)
            right = labels.targets[mine]
            loss -= float((right * np.log(said) + (1 - right) * np.log(1 - said) * multiple).sum())
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def _fit(rows: PseudoLabels, multiple: bool, strength: float) -> Head:
    (d,), (c,) = rows.vectors.shape[1:], rows.targets.shape[1:]
    nothing = Head(np.zeros((d, c), np.float32), np.zeros(c, np.float32))  # so that the bias is penalised, too
    heads = [Heads(rows.targets, rows.weights[None])]
    weights, biases = solve(rows.vectors, heads, multiple, nothing, strength)
    return Head(weights[0], biases[0])


def _both(one: PseudoLabels, other: PseudoLabels) -> PseudoLabels:
    return PseudoLabels(
        np.concatenate([one.vectors, other.vectors]),
        np.concatenate([one.targets, other.targets]),
        np.concatenate([one.weights, other.weights]),
    )


def _rows(taught: PseudoLabels, rows: npt.NDArray[np.bool_] | int) -> PseudoLabels:
    """Some of the rows, or the first so many."""
    some = slice(rows) if isinstance(rows, int) else rows
    return PseudoLabels(taught.vectors[some], taught.targets[some], taught.weights[some])
