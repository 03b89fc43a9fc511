"""Compares spans of a text: (start, end, label), with `end` exclusive. A span is right if another has the same three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ml_backend.core.arrays import Rows
from ml_backend.kinds.base import Doubles

Span = tuple[int, int, str]


def f1(right: int, drafted: int, annotated: int) -> float:
    """The F1 score from the numbers of spans; 1 if there are none at all."""
    return 2 * right / (drafted + annotated) if drafted + annotated else 1.0


def row_scores(drafted: Sequence[Sequence[Span]], annotated: Sequence[Sequence[Span]]) -> Doubles:
    """(n,) the F1 score of each text."""
    pairs = zip(drafted, annotated, strict=True)
    return np.array([f1(len({*first} & {*second}), len(first), len(second)) for first, second in pairs], np.float64)


def micro_scores(drafted: Sequence[Sequence[Span]], annotated: Sequence[Sequence[Span]]) -> dict[str, float]:
    """Strict precision, recall and F1 over all texts, as the shared tasks of CoNLL (Tjong Kim Sang and De Meulder, 2003)
    define them; without those that are not defined."""
    counts = label_counts(drafted, annotated)
    right, n_drafted, n_annotated = (sum(count[i] for count in counts.values()) for i in range(3))
    scores = {"strict F1": f1(right, n_drafted, n_annotated)} if n_drafted + n_annotated else {}
    if n_drafted:
        scores["precision"] = right / n_drafted
    if n_annotated:
        scores["recall"] = right / n_annotated
    return scores


def label_counts(
    drafted: Sequence[Sequence[Span]], annotated: Sequence[Sequence[Span]]
) -> dict[str, tuple[int, int, int]]:
    """For each label that occurs: how many spans are right, how many are drafted and how many are annotated."""
    right, n_drafted, n_annotated = Counter[str](), Counter[str](), Counter[str]()
    for first, second in zip(drafted, annotated, strict=True):
        right.update(_labels({*first} & {*second}))
        n_drafted.update(_labels(first))
        n_annotated.update(_labels(second))
    labels = sorted(n_drafted | n_annotated)
    return {label: (right[label], n_drafted[label], n_annotated[label]) for label in labels}


def _labels(spans: Iterable[Span]) -> list[str]:
    return [label for _, _, label in spans]


def expected_row_errors(candidates: Rows, annotated: Sequence[Sequence[Span]]) -> Doubles:
    """(n,) 1 minus the F1 score of which each candidate is a part as probable as it is."""
    errors = []
    for of_text, spans in zip(candidates, annotated, strict=True):
        probability = {(start, end, label): p for start, end, label, p in of_text}
        total, wanted = sum(probability.values()), {*spans}
        hits = sum(probability.get(span, 0.0) for span in wanted)
        errors.append(1 - 2 * hits / (total + len(wanted)) if total + len(wanted) else 0.0)
    return np.array(errors, np.float64)
