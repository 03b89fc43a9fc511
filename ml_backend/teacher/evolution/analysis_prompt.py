"""Words the error analysis for the teacher, as part of a prompt. A change of these words asks the teacher anew."""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.types import Estimate, EstimateSource, read_record, shorten
from ml_backend.evaluation.group_metrics import ALPHA, MIN_ROWS_TO_COMPARE, GroupMetrics
from ml_backend.kinds.base import ACCURACY
from ml_backend.teacher.evolution.confusions import NO_LABEL, QuotedAnswer
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis
from ml_backend.teacher.evolution.part_prompt import part_lines

MAX_LISTED = 10
"""Pairs, labels, clusters and groups that are listed, of each kind; the output as JSON has all of them."""
MAX_SINGLE_MISTAKES = 5
"""Mistakes that belong to no pair and are listed."""
MIN_CLUSTER_SIZE = 2
"""Annotated tasks of a cluster that is listed: a single task says nothing about a cluster."""
MAX_QUOTE_LENGTH = 160  # characters of a text in a line


def error_analysis_lines(analysis: ErrorAnalysis) -> list[str]:
    """The whole analysis, the worst entries first. An indented line belongs to the line above it."""
    if analysis.parts:
        return [*summary_lines(analysis), *part_lines(analysis.parts), *slice_lines(analysis)]
    metrics = [f"{name} {value:.3f}" for name, value in analysis.metrics.items()]
    return [*summary_lines(analysis), *metrics, *_confusion_lines(analysis), *slice_lines(analysis)]


def mistakes_by_name(analysis: ErrorAnalysis) -> dict[str, tuple[int, ...]]:
    """The ids of the tasks of each kind of mistake, by its name, the most frequent kinds first."""
    if analysis.parts:
        errors = analysis.parts.errors[:MAX_LISTED]
        return {f"{error.name}: {error.group} ({error.count})": error.tasks for error in errors}
    pairs = analysis.pairs[:MAX_LISTED]
    named = {f"{pair.label} taken for {pair.instead} ({pair.count})": pair.tasks for pair in pairs}
    if analysis.single:
        name = f"{len(analysis.single)} mistakes that were made once"
        named[name] = tuple(mistake.task for mistake in analysis.single)
    return named


def summary_lines(analysis: ErrorAnalysis) -> list[str]:
    """The learner that is judged, and its accuracy or other main metric."""
    out = [f"learner of version {analysis.version}, judged on {analysis.n} answered tasks that it had not seen"]
    if analysis.accuracy:
        name = analysis.parts.metric if analysis.parts else analysis.score_name
        out.append(f"{name} {_score(analysis.accuracy, name)}: {source_text(analysis.accuracy)}")
    return out


def _confusion_lines(analysis: ErrorAnalysis) -> list[str]:
    """Pairs of labels, other mistakes, and the scores of labels; of a control without labels, the mistakes."""
    if not analysis.pairs and not analysis.labels:
        return _single_lines(analysis, "The worst drafts:")
    out = ["Labels that it confuses:" if analysis.pairs else "No label was taken for another one twice."]
    for pair in analysis.pairs[:MAX_LISTED]:
        base = "tasks" if pair.label == NO_LABEL else "tasks with that label"
        out.append(f"  {pair.label} -> {pair.instead}: {pair.count} times, {pair.share:.0%} of the {base}")
        out += [f"    {quoted(mistake)}" for mistake in pair.typical]
    out += _more(len(analysis.pairs))
    out += _single_lines(analysis, "Mistakes that it made once:")
    out.append("Labels, the worst first:")
    out += [f"  {score.label}: F1 {score.f1:.2f}, {score.n} tasks" for score in analysis.labels[:MAX_LISTED]]
    return out + _more(len(analysis.labels))


def _single_lines(analysis: ErrorAnalysis, heading: str) -> list[str]:
    if not analysis.single:
        return []
    hidden = len(analysis.single) - MAX_SINGLE_MISTAKES
    listed = [f"  {quoted(mistake)}" for mistake in analysis.single[:MAX_SINGLE_MISTAKES]]
    return [heading, *listed, *([f"  and {hidden} more"] if hidden > 0 else [])]


def slice_lines(analysis: ErrorAnalysis) -> list[str]:
    """The accuracy, or another mean score, in clusters and groups of the tasks, the worst first."""
    out = []
    clusters = [item for item in analysis.clusters.accuracy.items() if item[1].n >= MIN_CLUSTER_SIZE]
    if clusters:
        out.append(_slice_heading("Clusters", analysis.clusters, analysis.score_name))
    for name, share in clusters[:MAX_LISTED]:
        typical_text = f", like: {quoted_text(text)}" if (text := analysis.about.get(name)) else ""
        out.append(f"  {name}: {_score(share, analysis.score_name)}{typical_text}")
    if analysis.groups:
        out += _groups(analysis.group_by, analysis.groups, analysis.score_name)
    return out


def quoted(answer: QuotedAnswer) -> str:
    learner = f"the learner: {label_names(answer.said)}, {answer.confidence:.0%} sure"
    return f"{quoted_text(answer.text)} ({label_names(answer.label)}; {learner})"


def quoted_text(text: str) -> str:
    """The beginning of a text in one line and in quotes; for a record, its fields with their values."""
    fields = [f"{name} {value}" for name, value in read_record(text).items() if value not in (None, "")]
    line = ", ".join(fields) or " ".join(text.split())
    return f'"{line[:MAX_QUOTE_LENGTH]} …"' if len(line) > MAX_QUOTE_LENGTH else f'"{line}"'


def _groups(field: str, groups: GroupMetrics, score_name: str) -> list[str]:
    shares = list(groups.accuracy.items())[:MAX_LISTED]
    listed = [f"  {name}: {_score(share, score_name)}" for name, share in shares]
    return [
        _slice_heading(f"By {field}", groups, score_name),
        *listed,
        *_more(len(groups.accuracy)),
    ]


def _slice_heading(name: str, groups: GroupMetrics, score_name: str) -> str:
    """The line above clusters or groups: their order, and the mean score that is listed."""
    score = "" if score_name == ACCURACY else f" by mean {score_name}"
    are_compared = {estimate.n >= MIN_ROWS_TO_COMPARE for estimate in groups.accuracy.values()}
    small_last = f", those with fewer than {MIN_ROWS_TO_COMPARE} answers last" if len(are_compared) == 2 else ""
    return f"{name}{score}, the worst first{small_last} ({group_summary(groups, score_name)}):"


def group_summary(groups: GroupMetrics, score_name: str = ACCURACY) -> str:
    """Compares the worst group with the best one. `score_name`: see `Kind.score_name`"""
    if groups.best is None or groups.gap is None or groups.p_value is None:
        return f"fewer than two groups have {MIN_ROWS_TO_COMPARE} answers: nothing to compare"
    worst, accuracy = next(iter(groups.accuracy.items()))
    significance = "more than chance" if groups.p_value < ALPHA else "which chance alone can explain"
    return (
        f"worst is {worst} with {_score(accuracy, score_name)}, "
        f"{100 * groups.gap:.0f} points behind {groups.best}, {significance} (p = {groups.p_value:.2g})"
    )


def source_text(estimate: Estimate) -> str:
    """The observations of an estimate of the learner's accuracy."""
    details = estimate.details
    if estimate.source == EstimateSource.ALL_LABELS_CROSS_VALIDATED:
        audited = f"{details['audited']} of {details['minimum']} answers"
        return f"all labels, chosen by acquisition, as the audit sample has {audited}, cross-validated"
    if estimate.source == EstimateSource.AUDIT_SAMPLE_PREQUENTIAL:
        before = f"{details['fewest']} to {details['most']}"
        return f"audit sample, each answer judged by a learner of those before it, {before}"
    return estimate.source


def _score(score: Estimate, score_name: str) -> str:
    """The mean score of n tasks, which is the share of right drafts if its name is ACCURACY."""
    if score_name == ACCURACY:
        return f"{score.value:.0%} of {score.n} right {_interval(score)}"
    return f"{score.value:.0%} on {score.n} tasks {_interval(score)}"


def _interval(estimate: Estimate) -> str:
    return f"(95 %: {estimate.low:.0%} to {estimate.high:.0%})"


def label_names(labels: Sequence[str]) -> str:
    """The labels of one task in words; long ones, as written texts may be, are cut."""
    return " + ".join(shorten(" ".join(label.split()), MAX_QUOTE_LENGTH) for label in labels) or NO_LABEL


def _more(n: int) -> list[str]:
    return [f"  and {n - MAX_LISTED} more"] if n > MAX_LISTED else []
