"""Words the figures on the parts of values for the teacher, as part of a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ml_backend.core.formatting import format_count
from ml_backend.kinds.parts import PartCounts
from ml_backend.teacher.evolution.part_analysis import PartAnalysis

MAX_LISTED_GROUPS = 12
"""Groups of errors that are listed."""


def part_lines(analysis: PartAnalysis) -> Iterator[str]:
    """The precision and the recall of each label, and the numbers of errors, without quotes. An indented line belongs
    to the line above it."""
    yield from label_lines(analysis)
    if analysis.errors:
        yield f"Errors in {analysis.part}s, the most frequent first:"
    for error in analysis.errors[:MAX_LISTED_GROUPS]:
        yield f"  {error.name}: {error.group}: {format_count(error.count, 'time')}"


def label_lines(analysis: PartAnalysis) -> Iterator[str]:
    """The figures of each label, the most frequent one first."""
    if analysis.labels:
        yield "Labels, the most frequent first:"
    for label, counts in by_frequency(analysis.labels):
        numbers = f"{counts.annotated} annotated and {counts.drafted} drafted {analysis.part}s"
        yield f"  {label}: F1 {counts.f1:.2f}, {precision_and_recall(counts)}, {numbers}"


def by_frequency(labels: Mapping[str, PartCounts]) -> list[tuple[str, PartCounts]]:
    """The labels with their counts, the most frequently annotated ones first."""
    return sorted(labels.items(), key=lambda item: (-item[1].annotated, -item[1].drafted, item[0]))


def precision_and_recall(counts: PartCounts) -> str:
    precision = "never drafted" if counts.precision is None else f"precision {counts.precision:.2f}"
    recall = "never annotated" if counts.recall is None else f"recall {counts.recall:.2f}"
    return f"{precision}, {recall}"
