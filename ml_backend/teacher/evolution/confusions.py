"""The learner's mistakes, grouped by the pair of labels that it confuses, with typical examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.kinds.base import Doubles, LabelMasks

MIN_MISTAKES_OF_PAIR = 2
"""Fewest mistakes for which a pair of labels is reported: a single mistake is no pattern."""
MAX_TYPICAL_MISTAKES = 3
"""Most typical mistakes that are quoted for each pair."""
DUPLICATE_SIMILARITY = 0.95
"""Cosine similarity in the encoder's space above which two texts count as duplicates."""
NO_LABEL = "(none)"


@dataclass(frozen=True, slots=True)
class QuotedAnswer:
    """One task with the annotators' labels, the labels that the learner predicts (`said`) and its confidence."""

    task: int
    text: str
    label: tuple[str, ...]
    said: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """A label of the annotators, and the label that the learner predicts `instead`. NO_LABEL as `instead` means that
    the learner misses the label; NO_LABEL as `label` means that the learner predicts a label too many.

    share     mistakes as a share of the tasks with `label`, or of all tasks if `label` is NO_LABEL
    tasks     the task ids of all these mistakes
    typical   some of the mistakes without duplicates, the nearest to their mean vector first
    """

    label: str
    instead: str
    count: int
    share: float
    tasks: tuple[int, ...]
    typical: tuple[QuotedAnswer, ...]


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """The n annotated tasks with the annotators' labels and the learner's held-out predictions, row by row.

    tasks         (n,) task ids
    vectors       (n, d)
    values        n values of the annotators, in words
    drafts        n values that the learner would draft, in words, with its confidence; 0.0 for no draft
    masks         the labels of the drafts and of the annotators
    errors        (n,) 1 - the score of each draft
    is_quotable   (n,) tasks whose texts may be quoted
    """

    labels: tuple[str, ...]
    tasks: Ints
    texts: list[str]
    vectors: Floats
    values: Sequence[tuple[str, ...]]
    drafts: Sequence[tuple[tuple[str, ...], float]]
    masks: LabelMasks
    errors: Doubles
    is_quotable: Mask

    @property
    def is_wrong(self) -> Mask:
        """(n,) where the learner disagrees with the annotators."""
        return self.errors > 0

    def quote(self, row: int) -> QuotedAnswer:
        drafted, confidence = self.drafts[row]
        return QuotedAnswer(int(self.tasks[row]), self.texts[row], self.values[row], drafted, round(confidence, 4))

    @property
    def confidences(self) -> Floats:
        """(n,) the learner's confidence in its drafts."""
        return np.array([confidence for _, confidence in self.drafts], np.float32)


def typical_rows(vectors: Floats, n: int) -> list[int]:
    """At most n rows of `vectors` (m, d) without duplicates, the nearest to their mean vector first."""
    chosen: list[int] = []
    for row in np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable").tolist():
        if len(chosen) < n and not (vectors[chosen] @ vectors[row] > DUPLICATE_SIMILARITY).any():
            chosen.append(row)
    return chosen


def confused_pairs(judged: JudgedAnswers) -> tuple[Confusion, ...]:
    """The pairs of labels with at least MIN_MISTAKES_OF_PAIR mistakes, the most frequent first."""
    if not judged.masks.annotated.shape[1]:
        return ()
    rows_by_pair: dict[tuple[str, str], list[int]] = defaultdict(list)
    masks, names = judged.masks, np.array([*judged.labels, NO_LABEL])
    for row in np.flatnonzero(judged.is_wrong).tolist():
        drafted, annotated = masks.drafted[row], masks.annotated[row]
        missing = np.flatnonzero(annotated & ~drafted)
        # where annotators are evenly split, a drafted label is not a label too many
        extra = np.flatnonzero(drafted & ~annotated & ~masks.disputed[row])
        for pair in product(*(names[columns if len(columns) else [-1]].tolist() for columns in (missing, extra))):
            rows_by_pair[pair].append(row)
    support = dict(zip(judged.labels, masks.annotated.sum(axis=0).tolist(), strict=True))
    pairs: list[Confusion] = []
    for (label, instead), rows in rows_by_pair.items():
        if len(rows) < MIN_MISTAKES_OF_PAIR:
            continue
        quotable = [row for row in rows if judged.is_quotable[row]]
        chosen = typical_rows(judged.vectors[quotable], MAX_TYPICAL_MISTAKES) if quotable else []
        quoted = tuple(judged.quote(quotable[i]) for i in chosen)
        share = len(rows) / support.get(label, len(judged.tasks))
        pairs.append(Confusion(label, instead, len(rows), share, tuple(judged.tasks[rows].tolist()), quoted))
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.instead)))


def single_mistakes(judged: JudgedAnswers, pairs: tuple[Confusion, ...]) -> tuple[QuotedAnswer, ...]:
    """The mistakes that are in no pair and may be quoted: first those with the largest error times confidence, then
    those with the largest error."""
    paired = {task for pair in pairs for task in pair.tasks}
    rows = np.flatnonzero(judged.is_wrong & judged.is_quotable & ~np.isin(judged.tasks, list(paired)))
    errors = judged.errors[rows]
    order = np.lexsort((-errors, -errors * judged.confidences[rows]))
    return tuple(judged.quote(row) for row in rows[order].tolist())


def correct_examples(judged: JudgedAnswers, pairs: tuple[Confusion, ...]) -> tuple[QuotedAnswer, ...]:
    """The most confident correct prediction for each label of the pairs."""
    rows = []
    for label in dict.fromkeys(label for pair in pairs for label in (pair.label, pair.instead) if label != NO_LABEL):
        has_label = judged.masks.annotated[:, judged.labels.index(label)]
        correct = np.flatnonzero(has_label & ~judged.is_wrong & judged.is_quotable)
        rows += [int(correct[judged.confidences[correct].argmax()])] if len(correct) else []
    return tuple(judged.quote(row) for row in dict.fromkeys(rows))
