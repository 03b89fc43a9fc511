"""The promotion gate: a learner that is worse on human labels does not replace a better one."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from ml_backend.domain import Fit, Floats
from ml_backend.evaluation.metrics import correct

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    promote: bool
    reason: str


def judge(fit: Fit, targets: Floats, multiple: bool) -> Verdict:
    """Compares the candidate with the serving learner's knowledge, both cross-validated on the same folds and labels.

    Rejected only on evidence: one-sided sign test on the tasks where they differ, at 5 %. Without evidence the newer
    one wins, because more labels help on average and a stricter rule would reject every second harmless round.
    """
    if fit.held_out_earlier is None:
        return Verdict(True, "first learner on these labels")
    new = correct(fit.held_out, targets, multiple)
    old = correct(fit.held_out_earlier, targets, multiple)
    lost, won = int((old & ~new).sum()), int((new & ~old).sum())
    if lost > won and sign_test(lost, lost + won) < ALPHA:
        return Verdict(False, f"kept the earlier learner: the new one lost {lost} and won {won} of {len(targets)}")
    return Verdict(True, f"won {won}, lost {lost} of {len(targets)} against the earlier")


def sign_test(hits: int, n: int) -> float:
    """P(X >= hits) for X ~ Binomial(n, 1/2)."""
    return sum(comb(n, k) for k in range(hits, n + 1)) / float(2**n)
