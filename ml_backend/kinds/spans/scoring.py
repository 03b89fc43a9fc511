"""Compares drafted spans with those of the annotators. A span is right if its characters and its label are.

Spans that half of the annotators have marked are neither right nor wrong. Of a text of which further spans are unknown,
only the drafts that overlap a known span count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Rows
from ml_backend.kinds.base import Doubles
from ml_backend.kinds.parts import PartCounts
from ml_backend.kinds.spans.values import Predicted, Span, Target, spans_of

STRICT_F1, PRECISION, RECALL = "strict F1", "precision", "recall"
"""Names of the metrics over all texts (Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 Shared Task")."""
WRONG_LABEL, WRONG_BOUNDARY, SPURIOUS, MISSED = "wrong label", "wrong boundary", "spurious", "missed"
"""Kinds of errors: a draft with the characters of an annotated span; one with its label and other characters; one that
is neither; and an annotated span that no such draft overlaps."""
SHARES = (PRECISION, RECALL, WRONG_LABEL, WRONG_BOUNDARY, SPURIOUS, MISSED)
"""Names of the metrics that are shares of the drafted or of the annotated spans."""


@dataclass(frozen=True, slots=True)
class ComparedSpans:
    """The spans of one text that count: those of the draft and those of the annotators."""

    drafted: frozenset[Span]
    annotated: frozenset[Span]

    @property
    def f1(self) -> float:
        """The F1 score of the text; 1 if there are no spans at all."""
        total = len(self.drafted) + len(self.annotated)
        return 2 * len(self.drafted & self.annotated) / total if total else 1.0

    def errors(self) -> Iterator[tuple[str, Span | None, Span | None]]:
        """Yields each error: its kind, the drafted and the annotated span."""
        missed = self.annotated - self.drafted
        explained: set[Span] = set()
        for draft in sorted(self.drafted - self.annotated):
            same_characters = next((span for span in sorted(missed) if span[:2] == draft[:2]), None)
            overlapping = next((s for s in sorted(missed) if s[2] == draft[2] and overlap(s, draft)), None)
            match = same_characters or overlapping
            if match:
                explained.add(match)
            yield (WRONG_LABEL if same_characters else WRONG_BOUNDARY if overlapping else SPURIOUS), draft, match
        for span in sorted(missed - explained):
            yield MISSED, None, span


def overlap(first: Span, second: Span) -> bool:
    """Whether two spans have a character in common."""
    return first[0] < second[1] and second[0] < first[1]


def compare(predicted: Predicted | None, target: Target) -> ComparedSpans:
    """The spans of a prediction and of a target that count."""
    spans, is_partial = target
    annotated = frozenset(spans_of(span for span in spans if span[3] > 0.5))
    tied = frozenset(spans_of(span for span in spans if span[3] <= 0.5))
    drafted = frozenset(spans_of(predicted[0])) - tied if predicted else frozenset()
    if is_partial:
        drafted = frozenset(draft for draft in drafted if any(overlap(draft, span) for span in annotated))
    return ComparedSpans(drafted, annotated)


def compare_rows(predicted: Rows, targets: Rows) -> list[ComparedSpans]:
    """The spans of n predictions and targets that count."""
    return [compare(row, target) for row, target in zip(predicted, targets, strict=True)]


def span_metrics(compared: Sequence[ComparedSpans]) -> dict[str, float]:
    """Strict precision, recall and F1 over all texts, and the number of errors of each kind for each annotated span;
    without those that are not defined."""
    drafted, annotated = (sum(len(getattr(text, name)) for text in compared) for name in ("drafted", "annotated"))
    right = sum(len(text.drafted & text.annotated) for text in compared)
    metrics = {STRICT_F1: 2 * right / (drafted + annotated) if drafted + annotated else 1.0}
    if drafted:
        metrics[PRECISION] = right / drafted
    if annotated:
        metrics[RECALL] = right / annotated
        errors = Counter(kind for text in compared for kind, _, _ in text.errors())
        metrics |= {kind: errors[kind] / annotated for kind in (WRONG_LABEL, WRONG_BOUNDARY, SPURIOUS, MISSED)}
    return metrics


def label_counts(compared: Iterable[ComparedSpans]) -> dict[str, PartCounts]:
    """For each label that occurs: how many spans are right, how many are drafted and how many are annotated."""
    right, drafted, annotated = Counter[str](), Counter[str](), Counter[str]()
    for text in compared:
        right.update(label for *_, label in text.drafted & text.annotated)
        drafted.update(label for *_, label in text.drafted)
        annotated.update(label for *_, label in text.annotated)
    return {label: PartCounts(right[label], drafted[label], annotated[label]) for label in sorted(drafted | annotated)}


def row_scores(predicted: Rows, targets: Rows) -> Doubles:
    """(n,) the F1 score of each text."""
    return np.array([text.f1 for text in compare_rows(predicted, targets)], np.float64)


def row_weights(predicted: Rows, targets: Rows) -> Doubles:
    """(n,) the number of drafted and annotated spans of each text. The mean of the F1 scores with these weights is the
    strict F1 score over all texts."""
    return np.array([len(text.drafted) + len(text.annotated) for text in compare_rows(predicted, targets)], np.float64)


def expected_errors(predicted: Rows, targets: Rows) -> Floats:
    """(n,) 1 minus the expected F1 score of each text, if each span of the prediction is drafted with its probability:
    1 - 2 S / (P + A), with the probabilities S of the annotated spans, the sum P of all probabilities, and the number A
    of annotated spans."""
    errors = []
    for row, target in zip(predicted, targets, strict=True):
        probabilities = {tuple(span[:3]): span[3] for spans in (row[:2] if row else ()) for span in spans}
        annotated = compare(None, target).annotated
        total = sum(probabilities.values()) + len(annotated)
        hits = sum(probabilities.get(span, 0.0) for span in annotated)
        errors.append(1 - 2 * hits / total if total else 0.0)
    return np.array(errors, np.float32).clip(0, 1)


def agreement(earlier: Rows, later: Rows) -> float:
    """The F1 score of the drafted spans of one learner against those of another one; 1 if neither drafts any."""
    pairs = [({*spans_of(first[0])}, {*spans_of(second[0])}) for first, second in zip(earlier, later, strict=True)]
    total = sum(len(first) + len(second) for first, second in pairs)
    return 2 * sum(len(first & second) for first, second in pairs) / total if total else 1.0
