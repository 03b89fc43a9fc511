"""The reliability of a teacher that marks spans, measured against the annotators, and the spans that follow from it.

The numbers are means of posteriors, as in `choices.confusion_model`: those of all labels together have a prior with the
weight of `TRUST_SPANS` spans, and those of one label have those of all labels as their prior, with the weight of
`LABEL_SPANS`. So labels are pooled as long as there are few annotations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml_backend.core.arrays import Rows, object_rows
from ml_backend.kinds.base import Doubles
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.teacher_replies import PARTLY_KNOWN, is_partly_known
from ml_backend.kinds.spans.values import Predicted, Target, WeightedSpan, spans_of

TRUST = 0.8
"""Assumed precision and recall of a teacher that is not trusted."""
TRUST_SPANS, LABEL_SPANS = 10.0, 5.0
MIN_DRAFTED = 0.25
"""The lowest threshold: less probable drafts are more work than none."""
TIED, MIN_SURE = 0.5, 0.51
"""The share of a target's span that may be outside as well, and the least share of a span that is distilled as one: a
teacher's drafted spans are distilled as spans even if it is unsure of them (measured)."""
MIN_RECALL = 0.5
"""If a teacher finds a smaller share of the spans, then a text that it has labelled may have further spans."""


def reliability(control: SpansSchema, predicted: Rows, targets: Rows, is_trusted: bool) -> Doubles:
    """(c + 1, 3) for each of the c labels and, in the last row, for all together: the precision of the teacher's spans;
    the number of right spans that there are for each that the teacher's probabilities promise; and the recall.

    A target counts only if all spans of its text are known; for the recall, so does a prediction. A span counts as far
    as the annotators have marked it.
    """
    column = {label: i for i, label in enumerate(control.labels)}
    # for each label: the right spans of the teacher, all of its spans, the sum of their probabilities; the spans of the
    # annotators that it has found, all of them
    counts = np.zeros((5, len(column)))
    for row, target in zip(predicted, targets, strict=True):
        if row is None or target is None or target[1]:
            continue
        shares = {(start, end, label): share for start, end, label, share in target[0]}
        for *span, probability in row[0]:
            counts[:3, column[span[2]]] += shares.get(tuple(span), 0.0), 1, probability
        if not is_partly_known(row):
            marked = {*spans_of(row[0])}
            for span, share in shares.items():
                if span[2] in column:
                    counts[3:, column[span[2]]] += share * (span in marked), share
    right, drafted, promised, found, annotated = counts
    pairs = (right, drafted), (right, promised), (found, annotated)
    return np.stack([_posterior(hits, tries, 1.0 if is_trusted else TRUST) for hits, tries in pairs], axis=1)


def expected(control: SpansSchema, predicted: Rows, reliability: Doubles) -> Rows:
    """The predictions (n,) of what annotators will mark, from those of a teacher and its `reliability`.

    Each probability is multiplied by the number of right spans for each promised one. Spans of a label that are right
    less often than the teacher says are drafted from half of the teacher's F1 score on, which is the threshold with the
    highest expected F1 score (Lipton, Elkan and Naryanaswamy, "Optimal Thresholding of Classifiers to Maximize F1
    Measure", ECML PKDD 2014), and not below MIN_DRAFTED. All other spans stay drafted. A text is partly known if the
    teacher finds too few spans.
    """
    factors = dict(zip(control.labels, reliability[:-1, 1].tolist(), strict=True))
    precision, _, recall = reliability[-1].tolist()
    threshold = max(precision * recall / (precision + recall), MIN_DRAFTED) if precision and recall else MIN_DRAFTED
    return object_rows([row and _expected(row, factors, threshold, recall < MIN_RECALL) for row in predicted])


def distilled_targets(predicted: Rows) -> Rows:
    """The targets (n,) of the teacher's spans: those that are drafted are spans whose share is their probability, the
    others are tied. A text that is only partly known may have further spans."""
    return object_rows([_distilled_target(row) for row in predicted])


def _distilled_target(predicted: Predicted) -> Target:
    drafted, others, _ = predicted
    sure = [(start, end, label, max(probability, MIN_SURE)) for start, end, label, probability in drafted]
    tied = [(start, end, label, TIED) for start, end, label, _ in others]
    return tuple(sorted(sure + tied)), int(is_partly_known(predicted))


def _posterior(hits: Doubles, tries: Doubles, trust: float) -> Doubles:
    """(c + 1,) hits for each try, of c labels and of all together."""
    of_all = (hits.sum() + TRUST_SPANS * trust) / (tries.sum() + TRUST_SPANS)
    return np.append((hits + LABEL_SPANS * of_all) / (tries + LABEL_SPANS), of_all)


def _expected(predicted: Predicted, factors: Mapping[str, float], threshold: float, is_lossy: bool) -> Predicted:
    drafted, others, measures = predicted
    kept: list[WeightedSpan] = []
    dropped = [_weighted(span, factors) for span in others]
    for span in drafted:
        weighted = _weighted(span, factors)
        is_kept = weighted[3] >= threshold or factors[span[2]] >= 1
        (kept if is_kept else dropped).append(weighted)
    return tuple(kept), tuple(sorted(dropped)), PARTLY_KNOWN if is_lossy else measures


def _weighted(span: WeightedSpan, factors: Mapping[str, float]) -> WeightedSpan:
    start, end, label, probability = span
    return start, end, label, min(probability * factors[label], 1.0)
