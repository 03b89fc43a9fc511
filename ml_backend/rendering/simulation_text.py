"""Words what a user should know about a simulation, and the entries of its protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml_backend.core.types import Remark
from ml_backend.rendering.effort_text import AXIS_UNITS
from ml_backend.rendering.project_text import question_sentence
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.simulation.config import DEFAULT_BUDGET_LABELS
from ml_backend.simulation.controls import MIN_LABELLED_TASKS


def notice_text(notice: Remark) -> str:
    """A notice of `Simulator`: one of its own, or a remark on records."""
    word = NOTICES.get(notice.code)
    return word(notice.values) if word else remarks_text([notice])


def _plan(values: Mapping[str, Any]) -> str:
    """The sizes of the simulation, and where they differ from the options."""
    test = f"{values['test_rows']} others are the test"
    if not values["test_rows_stay"]:
        test = f"{values['test_rows']} are held out to test on, anew for each repetition"
    size, budget, batch, unit = (values[name] for name in ("size", "budget", "batch", "unit"))
    text = f"Tasks to choose from: {size}; {test}. Up to {budget} {unit}, {batch} at a time"
    if (budget, batch) != (values["wanted_budget"], values["wanted_batch"]):
        wanted = f"{values['wanted_budget']}, {values['wanted_batch']} at a time"
        text += f", since there are no more (asked for: {wanted})"
    if budget == size:
        text += ". In the end all strategies have the same labels: a smaller --budget would compare how they end"
    return text


LEFT_OUT_REASONS = {
    "few answers": f"fewer than {MIN_LABELLED_TASKS} tasks are labelled for it",
    "same answers": "all of its answers are the same",
    "no test": "no test task is labelled for it",
}
NOTICES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "question": lambda values: f"The simulation {question_sentence(values['schema'])}",
    "export": lambda values: str(values["message"]),
    "texts shared": lambda values: (
        f"{values['test']}: {values['count']} of the texts are in {values['tasks']}, too: the learner may have seen "
        "them"
    ),
    "control left out": lambda values: (
        f"The control {values['control']} is left out: {LEFT_OUT_REASONS[values['reason']]}"
    ),
    "labelled by control": lambda values: (
        "Tasks with a label: " + ", ".join(f"{count} for {control}" for control, count in values.items())
    ),
    "plan": _plan,
    "teacher questions": lambda values: (
        f"The teacher {values['teacher']} is asked up to {values['questions']} questions, as far as its caps allow, "
        f"which hold for this folder: its answers are kept in {values['folder']}, and no question is asked twice"
    ),
}


def intervals_cover_text(test_rows_stay: bool) -> str:
    """The variation between repetitions, which is all that the intervals can cover."""
    if test_rows_stay:
        return "which labels come first, but not which test tasks there are: they are the same in all repetitions"
    return "which labels come first and which tasks are held out, but not that other tasks might have been collected"


def protocol_rows(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The entries of a protocol, as pairs of a name and a text, without the comparisons, which are tables."""
    rows = []
    for name, value in protocol.items():
        if name in ("against_random", "against_base", "compared_range"):
            continue
        if name == "x":
            rows.append(("compared by", AXIS_UNITS[value]))
            continue
        rows.append((name.replace("_", " "), _entry_text(name, value)))
        if name == "test_rows_stay":
            rows.append(("intervals cover", intervals_cover_text(value)))
    return rows


def _entry_text(name: str, value: Any) -> str:
    if name == "groups":
        return "; ".join(
            f"{group}: {counts['tasks']} tasks, {counts['test_rows']:g} test rows" for group, counts in value.items()
        )
    if name == "budget_is":
        default = f"the smaller of {DEFAULT_BUDGET_LABELS} and half of the pool"
        return "as asked for" if value == "given" else default
    if name == "starts_from":
        names = ["the labels' names"] if value["label_names"] else []
        fields = [f"what {value['features']} says of the fields"] if value["features"] else []
        return " and ".join(names + fields) or "nothing"
    if isinstance(value, dict):  # by control
        return "; ".join(f"{control}: {_entry_text(name, of_control)}" for control, of_control in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
