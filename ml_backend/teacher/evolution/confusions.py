"""The learner's mistakes, sorted by what it takes for what, and which of them are typical."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product

import numpy as np

from ml_backend.core.types import Floats, Ints, Mask

FEWEST = 2
"""Mistakes that make a pair of labels: a single one is no pattern."""
SHOWN = 3
"""Typical mistakes of each pair."""
ALIKE = 0.95
"""Cosine in the encoder's space above which two texts say the same: of those, one is enough."""
NOTHING = "(none)"


@dataclass(frozen=True, slots=True)
class QuotedAnswer:
    """One task: what the annotators say of it, what the learner says, and how sure that is."""

    task: int
    text: str
    label: tuple[str, ...]
    said: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """A label of the annotators and what the learner says `instead` (NOTHING: a label too few, or too many).

    share     of the tasks with that label; of all, if that is NOTHING
    tasks     all of these mistakes; `typical`: some, the nearest to their middle first, no two alike
    """

    label: str
    instead: str
    count: int
    share: float
    tasks: tuple[int, ...]
    typical: tuple[QuotedAnswer, ...]


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """The n answered tasks, row by row; `wrong` (n,): where the learner disagrees; `shown` (n,): may be quoted."""

    labels: tuple[str, ...]
    tasks: Ints
    texts: list[str]
    vectors: Floats
    targets: Floats
    gold: Mask
    said: Mask
    sure: Floats
    wrong: Mask
    shown: Mask

    def quote(self, row: int) -> QuotedAnswer:
        names = np.array(self.labels)
        gold, said = (tuple(names[mask[row]].tolist()) for mask in (self.gold, self.said))
        return QuotedAnswer(int(self.tasks[row]), self.texts[row], gold, said, round(float(self.sure[row]), 4))


def typical(vectors: Floats, n: int) -> list[int]:
    """At most n rows of `vectors` (m, d), the nearest to their middle first, no two of them alike."""
    chosen: list[int] = []
    for row in np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable").tolist():
        if len(chosen) < n and not (vectors[chosen] @ vectors[row] > ALIKE).any():
            chosen.append(row)
    return chosen


def pairs_of(judged: JudgedAnswers) -> tuple[Confusion, ...]:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    names = np.array([*judged.labels, NOTHING])
    for row in np.flatnonzero(judged.wrong).tolist():
        missing = np.flatnonzero(judged.gold[row] & ~judged.said[row])
        # where annotators are evenly split, a label is not one too many
        extra = np.flatnonzero(judged.said[row] & ~judged.gold[row] & (judged.targets[row] < 0.5))
        for pair in product(*(names[some if len(some) else [-1]].tolist() for some in (missing, extra))):
            found[pair].append(row)
    support = dict(zip(judged.labels, judged.gold.sum(axis=0).tolist(), strict=True))
    pairs: list[Confusion] = []
    for (label, instead), rows in found.items():
        if len(rows) < FEWEST:
            continue
        open_ = [row for row in rows if judged.shown[row]]
        quoted = tuple(judged.quote(open_[at]) for at in typical(judged.vectors[open_], SHOWN)) if open_ else ()
        share = len(rows) / support.get(label, len(judged.tasks))
        pairs.append(Confusion(label, instead, len(rows), share, tuple(judged.tasks[rows].tolist()), quoted))
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.instead)))


def single_of(judged: JudgedAnswers, pairs: tuple[Confusion, ...]) -> tuple[QuotedAnswer, ...]:
    """The mistakes that are in no pair and may be quoted, those first that it was surest of."""
    paired = {task for pair in pairs for task in pair.tasks}
    rows = np.flatnonzero(judged.wrong & judged.shown & ~np.isin(judged.tasks, list(paired)))
    return tuple(judged.quote(row) for row in rows[np.argsort(-judged.sure[rows], kind="stable")].tolist())


def right_of(judged: JudgedAnswers, pairs: tuple[Confusion, ...]) -> tuple[QuotedAnswer, ...]:
    """What it gets right of the labels that it confuses: of each the surest."""
    rows = []
    for label in dict.fromkeys(label for pair in pairs for label in (pair.label, pair.instead) if label != NOTHING):
        mine = np.flatnonzero(judged.gold[:, judged.labels.index(label)] & ~judged.wrong & judged.shown)
        rows += [int(mine[judged.sure[mine].argmax()])] if len(mine) else []
    return tuple(judged.quote(row) for row in dict.fromkeys(rows))
