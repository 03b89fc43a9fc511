"""The promotion gate: a learner that is worse on human labels does not replace a better one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from ml_backend.core.arrays import Mask

Doubles = npt.NDArray[np.float64]
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether the candidate is promoted, and on which tasks that was decided.

    lost, won   tasks on which the draft of the serving learner, or of the candidate, scores higher
    compared    number of tasks of the test, 0 for the first learner on these labels
    is_audited  whether these were the tasks of the audit sample
    """

    promote: bool
    lost: int = 0
    won: int = 0
    compared: int = 0
    is_audited: bool = False


def decide_promotion(candidate: Doubles, serving: Doubles | None, audited: Mask | None = None) -> GateDecision:
    """Compares the candidate with the serving learner by the scores of their drafts (n,), of both cross-validated on
    the same folds and labels; `serving` is None if there is no learner to compare with.

    The gate makes a one-sided sign test, at 5 %, on the tasks where one of the two scores higher: first on the audit
    sample (`audited`, (n,) bool), which is random, and, if that test is not significant, on all labels, which
    acquisition chose. The candidate is rejected only if a test is significant against it. Otherwise it is promoted,
    because more labels help on average and a stricter rule would reject every second harmless round.
    """
    if serving is None:
        return GateDecision(True)
    all_rows = np.ones(len(candidate), np.bool_)
    for rows in (all_rows,) if audited is None else (audited, all_rows):
        lost = int(((serving > candidate) & rows).sum())
        won = int(((candidate > serving) & rows).sum())
        decision = GateDecision(True, lost, won, int(rows.sum()), is_audited=rows is audited)
        if lost > won and sign_test(lost, lost + won) < ALPHA:
            return replace(decision, promote=False)
        if won > lost and sign_test(won, lost + won) < ALPHA:
            break
    return decision


def sign_test(hits: int, n: int) -> float:
    """P(X >= hits) for X ~ Binomial(n, 1/2), exact for any n."""
    return float(bdtrc(hits - 1, n, 0.5))
