"""The promotion gate: a learner that is worse on human labels does not replace a better one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from ml_backend.core.types import Fit, Floats, Mask
from ml_backend.evaluation.metrics import correct

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class GateDecision:
    promote: bool
    reason: str


def judge(fit: Fit, targets: Floats, multiple: bool, audited: Mask | None = None) -> GateDecision:
    """Compares the candidate with the serving learner's knowledge, both cross-validated on the same folds and labels.

    Evidence is a one-sided sign test, at 5 % each time, on the tasks where the two differ: first on the audit slice
    (`audited`, (n,) bool), a random sample, and only if that says nothing on all labels, which acquisition chose.
    Rejected only on evidence: without any the newer one wins, because more labels help on average and a stricter rule
    would reject every second harmless round.
    """
    if fit.held_out_earlier is None:
        return GateDecision(True, "first learner on these labels")
    new = correct(fit.held_out, targets, multiple)
    old = correct(fit.held_out_earlier, targets, multiple)
    everything = np.ones(len(targets), np.bool_)
    for rows, where in ((audited, " audited tasks"), (everything, "")):
        if rows is None:
            continue
        lost, won = int((old & ~new & rows).sum()), int((new & ~old & rows).sum())
        told = f"{int(rows.sum())}{where}"
        if lost > won and sign_test(lost, lost + won) < ALPHA:
            return GateDecision(False, f"kept the earlier learner: the new one lost {lost} and won {won} of {told}")
        if rows is everything or (won > lost and sign_test(won, lost + won) < ALPHA):
            break
    return GateDecision(True, f"won {won}, lost {lost} of {told} against the earlier")


def sign_test(hits: int, n: int) -> float:
    """P(X >= hits) for X ~ Binomial(n, 1/2), whatever the size of n."""
    return float(bdtrc(hits - 1, n, 0.5))
