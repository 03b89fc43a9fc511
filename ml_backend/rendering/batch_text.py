"""Words the results of writing questions to a batch file and of reading the replies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ml_backend.core.formatting import format_count
from ml_backend.teacher.batch_files import BatchExport, BatchImport

OUTCOMES = {
    "answered": "answered",
    "dropped": "of no use and dropped",
    "failed": "without a reply, which go on waiting",
    "known": "known already",
    "unknown": "to questions that nobody asked here",
    "unreadable": "unreadable (not the JSON of a reply)",
    "repeated": "repeated",
    "question": "questions, not replies: import the file with the replies",
}


def export_text(result: BatchExport, project: int, file: Path) -> str:
    """Says what was written to the file and what to do next, or why nothing was written."""
    labelled = f"the teacher has labelled {format_count(result.labelled, 'task')}"
    if result.outcome == "asked at once":
        return f"No question waits: {result.teacher} is asked at once; with teacher set to batch, all of them wait."
    if result.outcome == "all labels given":
        return f"No question waits: {labelled}, and teacher_labels ({result.max_labels}) asks for no more."
    if result.outcome == "no questions yet":
        return (
            "No question waits. `apprentice serve` creates questions after the project's first round: so far, "
            f"{labelled} of {result.max_labels} (teacher_labels)."
        )
    if result.outcome == "stale":
        return f"Nothing is written.{_stale(result.stale)}"
    verb = "is" if result.written == 1 else "are"
    return (
        f"{format_count(result.written, 'question')} to {result.teacher} {verb} in {file}.{_left(result.left)}"
        f"{_stale(result.stale)} Have them answered as a batch, then `apprentice teach --project {project} --import "
        "FILE`."
    )


def import_text(result: BatchImport) -> str:
    """Counts the lines by outcome, and the problems after them."""
    parts = [f"{n} {words}" for outcome, words in OUTCOMES.items() if (n := result.outcomes.get(outcome, 0))]
    problems = Counter(result.problems).most_common()
    reasons = "; ".join(f"{format_count(n, 'time')}: {problem}" for problem, n in problems)
    return f"{', '.join(parts) or 'The file is empty'}.{f' {reasons}' if reasons else ''}"


def _stale(count: int) -> str:
    verb = "is passed over: it asks" if count == 1 else "are passed over: they ask"
    return f" {count} {verb} for labels that are not the project's present ones." if count else ""


def _left(count: int) -> str:
    cap, them = "teacher_budget or a daily cap (teacher_daily_…)", "it" if count == 1 else "them"
    return f" {count} more wait{'s' * (count == 1)}: {cap} does not cover {them}." if count else ""
