"""The weakness report in words: for people, and for the teacher."""

from __future__ import annotations

from ml_backend.core.types import Estimate, read_record
from ml_backend.evaluation.group_metrics import GroupMetrics
from ml_backend.storage import Spending
from ml_backend.teacher.evolution.confusions import NOTHING, QuotedAnswer
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis
from ml_backend.teacher.evolution.generated_texts import (
    EASY,
    HARD,
    LENGTH,
    POOL,
    REFUSED,
    TAUGHT,
    UNSURE,
    UNUSABLE,
    EvolutionRound,
)

MOST = 10
"""Pairs, labels and groups of each kind that are listed; JSON has them all."""
SINGLE = 5
"""Mistakes that were made once."""
SMALLEST_CLUSTER = 2
"""Answered tasks of a cluster that is listed: right or wrong, a single one says nothing of a cluster."""
CUT = 160  # characters of a text in a line


REPEATED = "A larger teacher_model repeats itself less, and so do fewer texts (--per-round)"
REMEDIES = {
    UNSURE: "A label must be at least 60 % sure, and a single reply without probabilities counts for less: set "
    "teacher_probabilities to stated or samples in the project's extra params",
    REFUSED: "The teacher cannot tell which label its texts have: say in `apprentice cues --edit` what the labels mean",
    UNUSABLE: "`apprentice ledger` has what came of each call; another teacher_model may keep to the format",
    LENGTH: "Its texts are not as long as the project's: a larger teacher_model keeps to the examples",
}
"""What to do where most texts of a round are dropped for a reason."""


def lines(report: ErrorAnalysis) -> list[str]:
    """The whole report, the heaviest first; indented lines belong to the one above."""
    said = [f"learner of version {report.version}, judged on {report.n} answered tasks that it had not seen"]
    if report.accuracy:
        said.append(f"accuracy {_interval(report.accuracy)}: {report.accuracy.source}")
    said.append("Labels that it confuses:" if report.pairs else "No label was taken for another one twice.")
    for pair in report.pairs[:MOST]:
        of = "tasks" if pair.label == NOTHING else "tasks with that label"
        said.append(f"  {pair.label} -> {pair.instead}: {pair.count} times, {pair.share:.0%} of the {of}")
        said += [f"    {quoted(each)}" for each in pair.typical]
    said += _more(len(report.pairs))
    if report.single:
        said.append("Mistakes that it made once:")
        said += [f"  {quoted(each)}" for each in report.single[:SINGLE]]
        said += [f"  and {len(report.single) - SINGLE} more"] if len(report.single) > SINGLE else []
    said.append("Labels, the worst first:")
    said += [f"  {each.label}: F1 {each.f1:.2f}, {each.n} tasks" for each in report.labels[:MOST]]
    said += _more(len(report.labels))
    clusters = [item for item in report.clusters.accuracy.items() if item[1].n >= SMALLEST_CLUSTER]
    if clusters:
        said.append(f"Clusters, the worst first ({report.clusters.summary}):")
    said += [
        f"  {name}: {_interval(share)}{f', like: {cut(text)}' if (text := report.about.get(name)) else ''}"
        for name, share in clusters[:MOST]
    ]
    if report.groups:
        said += _groups(report.group_by, report.groups)
    return said


def caveat(report: ErrorAnalysis) -> str:
    """What to bear in mind with the figures, "" if nothing. Nothing that a teacher needs to know."""
    if not report.shown:
        return ""
    return (
        f"{report.shown} of these {report.n} tasks were shown to the teacher before it wrote texts: the learner may do "
        "better on them than on others. Of the audit slice, none was"
    )


def round_lines(one: EvolutionRound, spent: Spending) -> list[str]:
    """A round of `apprentice evolve`: its weaknesses, what became of its texts, how the learner did, what it cost."""
    dropped = ", ".join(f"{n} {why}" for why, n in one.dropped.items()) or "none"
    if one.way == POOL:
        right, n = one.score(POOL)
        told = [f"{n} tasks of the pool labelled, dropped: {dropped}; the learner said the same of {right}"]
    else:
        become = f"{one.used} are taught directly" if one.way == TAUGHT else f"{one.used} became tasks"
        (hard, of_hard), (easy, of_easy) = one.score(HARD), one.score(EASY)
        told = [
            f"{one.written} texts written, {len(one.texts)} kept, dropped: {dropped}; {become}",
            f"before it was taught them, the learner had {hard} of {of_hard} hard ones right and {easy} of {of_easy} "
            "easy ones",
        ]
    told += [f"{why}, such as {cut(text)}" for why, text in one.examples.items() if text.strip()]
    if not one.texts:
        told.append(_in_vain(one))
    tokens = f"{spent.input_tokens} + {spent.output_tokens} tokens"
    told.append(f"{spent.calls} calls, {tokens}, cost {spent.cost:g}")
    return [f"Round {one.number}", *(f"  {line}" for line in [*one.weaknesses.splitlines(), *told])]


def _in_vain(one: EvolutionRound) -> str:
    """Why a round has kept nothing, and what to do about it."""
    if not one.dropped and one.way == POOL:
        return "nothing is labelled: no task without an answer or a label of the teacher is left"
    if not one.dropped:
        return "nothing is kept: the teacher's reply had no texts. `apprentice ledger` has what came of each call"
    why = max(one.dropped, key=lambda each: one.dropped[each])
    return f"nothing is kept, most of it for: {why}. {REMEDIES.get(why, REPEATED)}"


def quoted(each: QuotedAnswer) -> str:
    return f"{cut(each.text)} ({_named(each.label)}; the learner: {_named(each.said)}, {each.confidence:.0%} sure)"


def cut(text: str) -> str:
    """A text in one line, in quotes; of a record, its fields with their values."""
    fields = [f"{name} {value}" for name, value in read_record(text).items() if value not in (None, "")]
    line = ", ".join(fields) or " ".join(text.split())
    return f'"{line[:CUT]} …"' if len(line) > CUT else f'"{line}"'


def _groups(field: str, groups: GroupMetrics) -> list[str]:
    shown = [f"  {name}: {_interval(share)}" for name, share in list(groups.accuracy.items())[:MOST]]
    return [f"By {field}, the worst first ({groups.summary}):", *shown, *_more(len(groups.accuracy))]


def _interval(share: Estimate) -> str:
    return f"{share.value:.0%} of {share.n} right (95 %: {share.low:.0%} to {share.high:.0%})"


def _named(labels: tuple[str, ...]) -> str:
    return " + ".join(labels) or NOTHING


def _more(n: int) -> list[str]:
    return [f"  and {n - MOST} more"] if n > MOST else []
