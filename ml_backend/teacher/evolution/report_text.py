"""The error analysis and the rounds of `apprentice evolve` in words: for people and, in a prompt, for the teacher.

The lines of the analysis are part of a prompt: a change of their words asks the teacher anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.types import Estimate, read_record
from ml_backend.evaluation.group_metrics import GroupMetrics
from ml_backend.storage import Spending
from ml_backend.teacher.evolution.confusions import NO_LABEL, QuotedAnswer
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis
from ml_backend.teacher.evolution.generated_texts import (
    EASY,
    HARD,
    POOL,
    REFUSED,
    TAUGHT,
    UNSURE,
    UNUSABLE,
    WRONG_LENGTH,
    EvolutionRound,
)

MAX_LISTED = 10
"""Pairs, labels, clusters and groups that are listed, of each kind; the output as JSON has all of them."""
MAX_SINGLE_MISTAKES = 5
"""Mistakes that belong to no pair and are listed."""
MIN_CLUSTER_SIZE = 2
"""Annotated tasks of a cluster that is listed: a single task says nothing about a cluster."""
MAX_QUOTE_LENGTH = 160  # characters of a text in a line
DUPLICATE_REMEDY = "The teacher repeats itself less with a larger teacher_model, or with fewer texts (--per-round)"
REMEDIES = {
    UNSURE: "A label needs a probability of at least 60 %, and a single reply without probabilities counts for less: "
    "set teacher_probabilities to stated or samples in the project's extra params",
    REFUSED: "The teacher cannot tell which label its texts have: say in `apprentice cues --edit` what the labels mean",
    UNUSABLE: "`apprentice ledger` lists the outcome of each call; another teacher_model may keep to the format",
    WRONG_LENGTH: "The texts are shorter or longer than the project's texts: a larger teacher_model keeps to the "
    "examples",
}
"""What to do if most texts of a round are dropped for a reason; for any other reason, DUPLICATE_REMEDY."""


def error_analysis_lines(analysis: ErrorAnalysis) -> list[str]:
    """The whole analysis, the worst entries first. An indented line belongs to the line above it."""
    out = [f"learner of version {analysis.version}, judged on {analysis.n} answered tasks that it had not seen"]
    if analysis.accuracy:
        out.append(f"accuracy {_interval(analysis.accuracy)}: {analysis.accuracy.source}")
    out.append("Labels that it confuses:" if analysis.pairs else "No label was taken for another one twice.")
    for pair in analysis.pairs[:MAX_LISTED]:
        base = "tasks" if pair.label == NO_LABEL else "tasks with that label"
        out.append(f"  {pair.label} -> {pair.instead}: {pair.count} times, {pair.share:.0%} of the {base}")
        out += [f"    {quoted(mistake)}" for mistake in pair.typical]
    out += _more(len(analysis.pairs))
    if analysis.single:
        out.append("Mistakes that it made once:")
        out += [f"  {quoted(mistake)}" for mistake in analysis.single[:MAX_SINGLE_MISTAKES]]
        hidden = len(analysis.single) - MAX_SINGLE_MISTAKES
        out += [f"  and {hidden} more"] if hidden > 0 else []
    out.append("Labels, the worst first:")
    out += [f"  {score.label}: F1 {score.f1:.2f}, {score.n} tasks" for score in analysis.labels[:MAX_LISTED]]
    out += _more(len(analysis.labels))
    clusters = [item for item in analysis.clusters.accuracy.items() if item[1].n >= MIN_CLUSTER_SIZE]
    if clusters:
        out.append(f"Clusters, the worst first ({analysis.clusters.summary}):")
    out += [
        f"  {name}: {_interval(share)}{f', like: {quoted_text(text)}' if (text := analysis.about.get(name)) else ''}"
        for name, share in clusters[:MAX_LISTED]
    ]
    if analysis.groups:
        out += _groups(analysis.group_by, analysis.groups)
    return out


def caveat(analysis: ErrorAnalysis) -> str:
    """A limitation of the figures for people, "" if there is none. It is not part of a prompt."""
    if not analysis.shown:
        return ""
    return (
        f"{analysis.shown} of these {analysis.n} tasks were shown to the teacher before it wrote texts: the learner "
        "may do better on them than on others. No task of the audit sample was shown"
    )


def round_lines(round_: EvolutionRound, spending: Spending) -> list[str]:
    """A round of `apprentice evolve`: the weaknesses, the outcome of its texts, the learner's predictions, the cost."""
    dropped = ", ".join(f"{n} {reason}" for reason, n in round_.dropped.items()) or "none"
    if round_.way == POOL:
        right, n = round_.score(POOL)
        out = [f"{n} tasks of the pool labelled, dropped: {dropped}; the learner predicted the same for {right}"]
    else:
        use = f"{round_.used} are used for training directly" if round_.way == TAUGHT else f"{round_.used} became tasks"
        (hard, hard_total), (easy, easy_total) = round_.score(HARD), round_.score(EASY)
        out = [
            f"{round_.written} texts written, {len(round_.texts)} kept, dropped: {dropped}; {use}",
            f"before it was trained on them, the learner had {hard} of {hard_total} hard texts and {easy} of "
            f"{easy_total} easy texts right",
        ]
    out += [f"{reason}, such as {quoted_text(text)}" for reason, text in round_.examples.items() if text.strip()]
    if not round_.texts:
        out.append(_reason_for_nothing(round_))
    tokens = f"{spending.input_tokens} + {spending.output_tokens} tokens"
    out.append(f"{spending.calls} calls, {tokens}, cost {spending.cost:g}")
    return [f"Round {round_.number}", *(f"  {line}" for line in [*round_.weaknesses.splitlines(), *out])]


def _reason_for_nothing(round_: EvolutionRound) -> str:
    """Why a round has kept no text, and what to do."""
    if not round_.dropped and round_.way == POOL:
        return "nothing is labelled: no task without an answer or a label of the teacher is left"
    if not round_.dropped:
        return "nothing is kept: the teacher's reply had no texts. `apprentice ledger` lists the outcome of each call"
    reason = max(round_.dropped, key=lambda name: round_.dropped[name])
    return f"nothing is kept, most of it for: {reason}. {REMEDIES.get(reason, DUPLICATE_REMEDY)}"


def quoted(answer: QuotedAnswer) -> str:
    learner = f"the learner: {label_names(answer.said)}, {answer.confidence:.0%} sure"
    return f"{quoted_text(answer.text)} ({label_names(answer.label)}; {learner})"


def quoted_text(text: str) -> str:
    """The beginning of a text in one line and in quotes; for a record, its fields with their values."""
    fields = [f"{name} {value}" for name, value in read_record(text).items() if value not in (None, "")]
    line = ", ".join(fields) or " ".join(text.split())
    return f'"{line[:MAX_QUOTE_LENGTH]} …"' if len(line) > MAX_QUOTE_LENGTH else f'"{line}"'


def _groups(field: str, groups: GroupMetrics) -> list[str]:
    listed = [f"  {name}: {_interval(share)}" for name, share in list(groups.accuracy.items())[:MAX_LISTED]]
    return [f"By {field}, the worst first ({groups.summary}):", *listed, *_more(len(groups.accuracy))]


def _interval(share: Estimate) -> str:
    return f"{share.value:.0%} of {share.n} right (95 %: {share.low:.0%} to {share.high:.0%})"


def label_names(labels: Sequence[str]) -> str:
    """The labels of one task in words."""
    return " + ".join(labels) or NO_LABEL


def _more(n: int) -> list[str]:
    return [f"  and {n - MAX_LISTED} more"] if n > MAX_LISTED else []
