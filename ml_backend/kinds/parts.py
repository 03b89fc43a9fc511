"""What a kind says of the parts of values, such as the spans of a text: counts of them, errors in them, and changes."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core.types import LabelValue


@dataclass(frozen=True, slots=True)
class PartCounts:
    """The numbers of parts that have one label: in drafts and in targets alike, in drafts, and in targets."""

    right: int
    drafted: int
    annotated: int

    @property
    def precision(self) -> float | None:
        """The share of drafted parts that are right, None without drafted parts."""
        return self.right / self.drafted if self.drafted else None

    @property
    def recall(self) -> float | None:
        """The share of annotated parts that are drafted, None without annotated parts."""
        return self.right / self.annotated if self.annotated else None

    @property
    def f1(self) -> float:
        """The F1 score; there must be a drafted or an annotated part."""
        return 2 * self.right / (self.drafted + self.annotated)


@dataclass(frozen=True, slots=True)
class PartError:
    """An error in one part of a draft.

    row         the row of the draft
    name        the name of this kind of error, such as "missed"
    group       the errors of this kind that are counted together, in words, such as a label
    drafted     the part of the draft as a value, () if the draft misses the part
    annotated   the part of the target as a value, () if the target lacks the part
    confidence  the confidence in the drafted part, 0 without one
    """

    row: int
    name: str
    group: str
    drafted: LabelValue
    annotated: LabelValue
    confidence: float


@dataclass(frozen=True, slots=True)
class PartAgreement:
    """How far several annotators of the same tasks agree.

    tasks                         the number of tasks with several annotators
    by_all, by_most, by_half, by_fewer  the numbers of different parts that all, more than half, half, or fewer of the
                                  annotators of a task have
    f1                            the F1 score of one annotator's parts against another one's, over all pairs of
                                  annotators; 1 without parts
    """

    tasks: int
    by_all: int
    by_most: int
    by_half: int
    by_fewer: int
    f1: float


@dataclass(frozen=True, slots=True)
class DraftChanges:
    """The numbers of parts of drafts that annotators kept and removed, and of parts that they added; the numbers of
    words in the kept and in the added parts. A word in several parts counts in each of them."""

    kept: int = 0
    removed: int = 0
    added: int = 0
    kept_words: int = 0
    added_words: int = 0
