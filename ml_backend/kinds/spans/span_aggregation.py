"""Aggregates the spans of several annotators of a text to one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from ml_backend.core.types import Label
from ml_backend.kinds.parts import PartAgreement
from ml_backend.kinds.spans.values import Target, spans_of


def aggregate_spans(labels: Sequence[Label], names: Sequence[str]) -> Target | None:
    """The spans that at least half of the annotators have marked, with their shares of the annotators; None if no label
    can be learnt from. Further spans are unknown if one of the labels could be read in part only. `names`: the labels
    of the control; other spans are left out"""
    read = [label for label in labels if label.is_read]
    if not read:
        return None
    votes = Counter(span for label in read for span in {*spans_of(label.value)} if span[2] in names)
    spans = sorted((*span, count / len(read)) for span, count in votes.items() if 2 * count >= len(read))
    return tuple(spans), int(any(label.is_partly_read for label in read))


def span_agreement(labels: Sequence[Sequence[Label]]) -> PartAgreement | None:
    """How far annotators agree on spans, see `Kind.part_agreement`. Labels that could be read in part only are left
    out, because their other spans are unknown. The F1 score of pairs is that of Hripcsak and Rothschild ("Agreement,
    the F-Measure, and Reliability in Information Retrieval", JAMIA 2005)."""
    by_task = [[{*spans_of(label.value)} for label in of_task if not label.unread] for of_task in labels]
    by_task = [marked for marked in by_task if len(marked) > 1]
    if not by_task:
        return None
    counts = Counter[str]()
    for marked in by_task:
        for n in Counter(span for spans in marked for span in spans).values():
            is_half, is_most = 2 * n == len(marked), 2 * n > len(marked)
            counts["all" if n == len(marked) else "most" if is_most else "half" if is_half else "fewer"] += 1
    pairs = [pair for marked in by_task for pair in combinations(marked, 2)]
    total = sum(len(first) + len(second) for first, second in pairs)
    f1 = 2 * sum(len(first & second) for first, second in pairs) / total if total else 1.0
    return PartAgreement(len(by_task), counts["all"], counts["most"], counts["half"], counts["fewer"], f1)
