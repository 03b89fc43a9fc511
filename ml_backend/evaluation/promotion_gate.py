"""The promotion gate: a learner that is worse on human labels does not replace a better one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtrc

from ml_backend.core.arrays import Fit, Floats, Mask
from ml_backend.evaluation.metrics import is_correct

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether the candidate is promoted, and on which tasks that was decided.

    lost, won   tasks that only the serving learner, or only the candidate, gets right
    compared    number of tasks of the test, 0 for the first learner on these labels
    is_audited  whether these were the tasks of the audit sample
    """

    promote: bool
    lost: int = 0
    won: int = 0
    compared: int = 0
    is_audited: bool = False


def decide_promotion(fit: Fit, targets: Floats, multiple: bool, audited: Mask | None = None) -> GateDecision:
    """Compares the candidate with the serving learner, both cross-validated on the same folds and labels.

    The gate makes a one-sided sign test, at 5 %, on the tasks where exactly one of the two is right: first on the audit
    sample (`audited`, (n,) bool), which is random, and, if that test is not significant, on all labels, which
    acquisition chose. The candidate is rejected only if a test is significant against it. Otherwise it is promoted,
    because more labels help on average and a stricter rule would reject every second harmless round.
    """
    if fit.held_out_earlier is None:
        return GateDecision(True)
    candidate_right = is_correct(fit.held_out, targets, multiple)
    serving_right = is_correct(fit.held_out_earlier, targets, multiple)
    all_rows = np.ones(len(targets), np.bool_)
    for rows in (all_rows,) if audited is None else (audited, all_rows):
        lost = int((serving_right & ~candidate_right & rows).sum())
        won = int((candidate_right & ~serving_right & rows).sum())
        decision = GateDecision(True, lost, won, int(rows.sum()), is_audited=rows is audited)
        if lost > won and sign_test(lost, lost + won) < ALPHA:
            return replace(decision, promote=False)
        if won > lost and sign_test(won, lost + won) < ALPHA:
            break
    return decision


def sign_test(hits: int, n: int) -> float:
    """P(X >= hits) for X ~ Binomial(n, 1/2), exact for any n."""
    return float(bdtrc(hits - 1, n, 0.5))
