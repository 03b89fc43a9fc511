"""The promotion gate: a learner that is worse on human labels does not replace a better one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from ml_backend.core.arrays import Fit, Floats, Mask
from ml_backend.evaluation.metrics import is_correct

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class GateDecision:
    promote: bool
    reason: str


def decide_promotion(fit: Fit, targets: Floats, multiple: bool, audited: Mask | None = None) -> GateDecision:
    """Compares the candidate with the serving learner, both cross-validated on the same folds and labels.

    The gate makes a one-sided sign test, at 5 %, on the tasks where exactly one of the two is right: first on the audit
    sample (`audited`, (n,) bool), which is random, and, if that test is not significant, on all labels, which
    acquisition chose. The candidate is rejected only if a test is significant against it. Otherwise it is promoted,
    because more labels help on average and a stricter rule would reject every second harmless round.
    """
    if fit.held_out_earlier is None:
        return GateDecision(True, "first learner on these labels")
    candidate_right = is_correct(fit.held_out, targets, multiple)
    serving_right = is_correct(fit.held_out_earlier, targets, multiple)
    all_rows = np.ones(len(targets), np.bool_)
    for rows, unit in ((audited, " audited tasks"), (all_rows, "")):
        if rows is None:
            continue
        lost = int((serving_right & ~candidate_right & rows).sum())
        won = int((candidate_right & ~serving_right & rows).sum())
        compared = f"{int(rows.sum())}{unit}"
        if lost > won and sign_test(lost, lost + won) < ALPHA:
            return GateDecision(False, f"kept the earlier learner: the new one lost {lost} and won {won} of {compared}")
        if rows is all_rows or (won > lost and sign_test(won, lost + won) < ALPHA):
            break
    return GateDecision(True, f"won {won}, lost {lost} of {compared} against the earlier learner")


def sign_test(hits: int, n: int) -> float:
    """P(X >= hits) for X ~ Binomial(n, 1/2), exact for any n."""
    return float(bdtrc(hits - 1, n, 0.5))
