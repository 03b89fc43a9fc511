"""What `connect`, `status` and `doctor` say of a project's question, texts and answers: sentences from numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ml_backend.core.types import PARTLY, TaskSchema, shortened
from ml_backend.monitoring.coverage import COMES_AGAIN, FOR_OTHERS, Coverage, UnreadAnswers
from ml_backend.monitoring.text_check import TextCheck

NAMED = 8  # fields or labels


def question(schema: TaskSchema) -> str:
    """Which control is learnt, and which are not."""
    kind = "several choices" if schema.multiple else "one choice"
    shown = ", ".join(f"${name}" for name in schema.data)
    learnt = f"learns <Choices name={schema.control!r}>: {kind} out of {len(schema.labels)} over {shown}"
    if not schema.other_controls:
        return learnt
    others = _some(schema.other_controls)
    verb = "is" if len(schema.other_controls) == 1 else "are"
    return f"{learnt}; {others} {verb} not learnt (the setting `choices` names another <Choices> to learn)"


def texts(check: TextCheck, schema: TaskSchema) -> Iterator[str]:
    """What is wrong with the texts of the tasks."""
    what = "record" if schema.is_record else "text"
    where = " or ".join(map(repr, schema.data))
    if not check.tasks:
        yield "there are no tasks: import some"
    elif check.without_text and check.without_text == check.tasks:
        tasks = f"none of the {check.tasks} tasks{'' if check.whole else ' looked at'}"
        fields = f" (they have: {', '.join(check.fields[:NAMED])})" if check.fields else ""
        tag = "Table" if schema.record_field else "HyperText" if schema.html else "Text"
        yield f"{tasks} has a {what} in {where}{fields}: check value= of <{tag}>{_blanks(check, schema)}"
    elif check.without_text:
        looked = "" if check.whole else " looked at"
        yield (
            f"{check.without_text} of {check.tasks} tasks{looked} have no {what} in {where}, e.g. task "
            f"{check.example}: they get no draft, are not learnt from and come last"
        )
    if check.has_addresses:
        yield (
            f"{check.addresses} of {check.sample} texts looked at are addresses or paths of files, e.g. task "
            f"{check.address_in}: nothing behind them is read, so that only their letters are learnt; import the texts "
            "themselves"
        )


def _blanks(check: TextCheck, schema: TaskSchema) -> str:
    """Measured on 1.23: the API takes a value such as "$Full Text", the labelling screen shows what is in `Full`."""
    cut = [name for name in check.fields if any(name.startswith(f"{field} ") for field in schema.data)]
    return f"; Label Studio's screen reads a name up to its first blank: rename {cut[0]!r}" if cut else ""


def progress(coverage: Coverage) -> str:
    """How many tasks are labelled, and where the others are."""
    how = {COMES_AGAIN: " (they come again)", FOR_OTHERS: " (waiting for another annotator)"}.get(
        coverage.skip_queue, ""
    )
    half = f" ({coverage.half_done} of them wait for another annotator)" if coverage.half_done else ""
    parts = [f"{coverage.labelled}{half}"]
    if coverage.skipped:
        parts.append(f"{coverage.skipped} skipped{how}")
    if coverage.unused:
        parts.append(f"{coverage.unused} answered but not used")
    if coverage.without_text:
        parts.append(f"{coverage.without_text} without a text")
    return ", ".join([*parts, f"{coverage.to_go} to go"])


def unused(coverage: Coverage, schema: TaskSchema) -> Iterator[str]:
    """Which answers are not learnt from, or not as a whole, and why."""
    unread = [reason for reason in coverage.unread if reason.code != PARTLY]
    if unread:
        reasons = [f"{_reason(reason, schema)}, e.g. task {reason.task}" for reason in unread]
        if len(reasons) > 1:
            reasons = [f"{each.answers}: {why}" for each, why in zip(unread, reasons, strict=True)]
        yield f"{_answers(sum(reason.answers for reason in unread))} not used: {'; '.join(reasons)}"
    for reason in coverage.unread:
        if reason.code == PARTLY:
            why = f"the configuration has no label {_some(reason.choices)}, e.g. task {reason.task}"
            yield f"{_answers(reason.answers)} used without some of the labels: {why}"


def _answers(n: int) -> str:
    return "1 answer is" if n == 1 else f"{n} answers are"


def _reason(reason: UnreadAnswers, schema: TaskSchema) -> str:
    chosen = _some([shortened(choice, 40) for choice in reason.choices])
    return {
        "empty": f"nothing was chosen for {schema.control!r}",
        "control": f"they belong to no control of the configuration (from_name is not {schema.control!r})",
        "label": f"the configuration has no label {chosen} (renamed or removed?)",
        "parent": f"{chosen} holds other labels and says none of them",
        "shape": f"what stands for {schema.control!r} is no choice",
    }.get(reason.code, reason.code)


def nothing_learnt(coverage: Coverage) -> str:
    """Why there is no learner yet although there are answers; "" if nothing is in its way."""
    if coverage.same_answer is not None:
        answer = _some(coverage.same_answer) if coverage.same_answer else "that no label applies"
        return f"nothing is learnt yet: every answer is {answer}, it takes answers of two different labels"
    if coverage.labelled == 1:
        return "nothing is learnt yet: it takes answers of two different labels"
    return ""


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more
