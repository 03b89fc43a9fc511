"""Words the error analysis and the rounds of `apprentice evolve` for people."""

from __future__ import annotations

from ml_backend.kinds.reply_problems import REFUSED, UNSURE, UNUSABLE
from ml_backend.rendering import parts_text
from ml_backend.storage import Spending
from ml_backend.teacher.evolution.analysis_prompt import error_analysis_lines, quoted_text, slice_lines, summary_lines
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis
from ml_backend.teacher.evolution.generated_texts import (
    EASY,
    HARD,
    POOL,
    TAUGHT,
    WRONG_LENGTH,
    EvolutionRound,
)

DUPLICATE_REMEDY = "The teacher repeats itself less with a larger teacher_model, or with fewer texts (--per-round)"
REMEDIES = {
    UNSURE: "A label needs a probability of at least 60 %, and a single reply without probabilities counts for less: "
    "set teacher_probabilities to stated or samples in the project's extra params",
    REFUSED: "The teacher cannot tell which label its texts have: say in "
    "`apprentice cues{control_option} --edit` what the labels mean",
    UNUSABLE: "`apprentice ledger` lists the outcome of each call; another teacher_model may keep to the format",
    WRONG_LENGTH: "The texts are shorter or longer than the project's texts: a larger teacher_model keeps to the "
    "examples",
}
"""What to do if most texts of a round are dropped for a reason, before `control_option` is filled in; for any other
reason, DUPLICATE_REMEDY."""


def report_lines(analysis: ErrorAnalysis) -> list[str]:
    """The whole analysis, the worst entries first, and a limitation of its figures. An indented line belongs to the
    line above it."""
    if analysis.parts:
        lines = [*summary_lines(analysis), *parts_text.report_lines(analysis.parts, analysis.n), *slice_lines(analysis)]
    else:
        lines = error_analysis_lines(analysis)
    if analysis.shown:
        lines.append(
            f"{analysis.shown} of these {analysis.n} tasks were shown to the teacher before it wrote texts: the "
            "learner may do better on them than on others. No task of the audit sample was shown"
        )
    return lines


def round_lines(round_: EvolutionRound, spending: Spending, control_option: str = "") -> list[str]:
    """A round of `apprentice evolve`: the weaknesses, the outcome of its texts, the learner's predictions, the cost.
    `control_option`: that of the commands that are advised, see `formatting.control_option`"""
    dropped = ", ".join(f"{n} {reason}" for reason, n in round_.dropped.items()) or "none"
    if round_.way == POOL:
        right, n = round_.score(POOL)
        same = f"the learner predicted the same for {right}{_metrics(round_)}"
        out = [f"{n} tasks of the pool labelled, dropped: {dropped}; {same}"]
    else:
        use = f"{round_.used} are used for training directly" if round_.way == TAUGHT else f"{round_.used} became tasks"
        (hard, hard_total), (easy, easy_total) = round_.score(HARD), round_.score(EASY)
        out = [
            f"{round_.written} texts written, {len(round_.texts)} kept, dropped: {dropped}; {use}",
            f"before it was trained on them, the learner had {hard} of {hard_total} hard texts and {easy} of "
            f"{easy_total} easy texts right{_metrics(round_)}",
        ]
    out += [f"{reason}, such as {quoted_text(text)}" for reason, text in round_.examples.items() if text.strip()]
    if round_.left_out:
        left_out = ", ".join(f"{n} {name}" for name, n in round_.left_out.items())
        out.append(f"left out of the questions, which must fit teacher_context: {left_out}")
    if not round_.texts:
        out.append(_reason_for_nothing(round_, control_option))
    tokens = f"{spending.input_tokens} + {spending.output_tokens} tokens"
    out.append(f"{spending.calls} calls, {tokens}, cost {spending.cost:g}")
    return [f"Round {round_.number}", *(f"  {line}" for line in [*round_.weaknesses.splitlines(), *out])]


def _metrics(round_: EvolutionRound) -> str:
    """The main metric for the texts of each kind, if values have parts."""
    names = {HARD: "the hard texts", EASY: "the easy texts", POOL: "these tasks"}
    values = " and ".join(f"{value:.2f} for {names[kind]}" for kind, value in round_.metrics.items())
    return f" ({round_.metric} {values})" if values else ""


def _reason_for_nothing(round_: EvolutionRound, control_option: str) -> str:
    """Why a round has kept no text, and what to do."""
    if not round_.dropped and round_.way == POOL:
        return "nothing is labelled: no task without an answer or a label of the teacher is left"
    if not round_.dropped:
        return "nothing is kept: the teacher's reply had no texts. `apprentice ledger` lists the outcome of each call"
    reason = max(round_.dropped, key=lambda name: round_.dropped[name])
    remedy = REMEDIES.get(reason, DUPLICATE_REMEDY).format(control_option=control_option)
    return f"nothing is kept, most of it for: {reason}. {remedy}"
