"""Words counts of the parts of values, such as spans, and the errors in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ml_backend.core.formatting import format_count
from ml_backend.core.types import Estimate
from ml_backend.kinds.parts import PartAgreement, PartCounts
from ml_backend.rendering.formatting import MAX_LISTED_ITEMS, and_more
from ml_backend.teacher.evolution.analysis_prompt import source_text
from ml_backend.teacher.evolution.part_analysis import ErrorGroup, PartAnalysis, QuotedPart
from ml_backend.teacher.evolution.part_prompt import by_frequency, label_lines, precision_and_recall

MAX_GROUPS = 5
"""Groups of errors that are listed, of each kind of error."""


def status_lines(parts: Mapping[str, Any], part: str, accuracy: Estimate | None) -> Iterator[tuple[str, str]]:
    """The lines of `status`, as pairs of a name and a sentence.

    parts     the counts of `part_counts.count_parts`
    part      the name of the parts
    accuracy  the estimate that is shown before; the source of the counts is named only if it is another one
    """
    labels = {label: PartCounts(**counts) for label, counts in parts["labels"].items()}
    if not labels:
        return
    source = source_text(Estimate(0.0, 0.0, 0.0, parts["tasks"], parts["source"], parts["details"]))
    is_same = accuracy is not None and (accuracy.source, accuracy.n) == (parts["source"], parts["tasks"])
    errors = ", ".join(f"{count} {name}" for name, count in parts["errors"].items())
    listed = [f"{label}: {precision_and_recall(counts)}" for label, counts in by_frequency(labels)]
    about = "" if is_same else f" ({format_count(parts['tasks'], 'task')}, {source})"
    yield f"{part}s", f"{_right_and_wrong(_total(labels), part)}{f': {errors}' if errors else ''}{about}"
    yield "by label", "; ".join(listed[:MAX_LISTED_ITEMS]) + and_more(listed)


def report_lines(analysis: PartAnalysis, n_tasks: int) -> Iterator[str]:
    """The lines of `report` on some tasks, the most frequent errors first. An indented line belongs to the line above
    it."""
    part, total = analysis.part, _total(analysis.labels)
    if analysis.labels:
        tasks = "the task" if n_tasks == 1 else f"all {n_tasks} tasks"
        yield f"in {tasks}, {_right_and_wrong(total, part)} ({precision_and_recall(total)})"
    yield from label_lines(analysis)
    if not analysis.errors:
        yield f"No {part} is wrong."
    totals = Counter[str]()
    for error in analysis.errors:
        totals[error.name] += error.count
    for name, n in totals.most_common():
        groups = [error for error in analysis.errors if error.name == name]
        yield f"{name.capitalize()}, {format_count(n, part)}:"
        for error in groups[:MAX_GROUPS]:
            yield from _group_lines(error)
        if len(groups) > MAX_GROUPS:
            yield f"  and {sum(error.count for error in groups[MAX_GROUPS:])} more"
    if analysis.agreement:
        yield agreement_sentence(analysis.agreement, part)


def agreement_sentence(agreement: PartAgreement, part: str) -> str:
    """Says how far several annotators agree."""
    counts = {
        "by all": agreement.by_all,
        "by more than half": agreement.by_most,
        "by half (these count as neither right nor wrong)": agreement.by_half,
        "by fewer (these are not learnt)": agreement.by_fewer,
    }
    n_parts = sum(counts.values())
    shares = ", ".join(f"{count} {annotators}" for annotators, count in counts.items() if count) or "none"
    have = "has" if agreement.tasks == 1 else "have"
    return (
        f"{format_count(agreement.tasks, 'task')} {have} several annotators, who marked {n_parts} different {part}s: "
        f"{shares}. The {part}s of one annotator have an F1 score of {agreement.f1:.2f} against those of another one"
    )


def _group_lines(error: ErrorGroup) -> Iterator[str]:
    yield f"  {error.group}: {format_count(error.count, 'time')}"
    for example in error.examples:
        yield f"    task {example.task}: {_quoted(example)}"


def _quoted(example: QuotedPart) -> str:
    drafted = f'"{example.drafted}", {example.confidence:.0%} sure'
    if not example.drafted:
        return f'"{example.annotated}"'
    return f'"{example.annotated}"; the learner: {drafted}' if example.annotated else f"the learner: {drafted}"


def _total(labels: Mapping[str, PartCounts]) -> PartCounts:
    right, drafted, annotated = (
        sum(getattr(counts, name) for counts in labels.values()) for name in ("right", "drafted", "annotated")
    )
    return PartCounts(right, drafted, annotated)


def _right_and_wrong(total: PartCounts, part: str) -> str:
    wrong = total.drafted - total.right
    return (
        f"{total.right} of {total.annotated} annotated {part}s are drafted right, and {wrong} of {total.drafted} "
        f"drafted {part}s are wrong"
    )
