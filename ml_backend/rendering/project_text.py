"""Sentences of `connect`, `status` and `doctor` about a project's question, texts and annotations, made from counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml_backend.core.schema import ControlSchema, InputSpec, ProjectSchema, has_ordered_labels
from ml_backend.core.types import PARTLY_READABLE, shorten
from ml_backend.kinds.lookup import kind_of
from ml_backend.monitoring.coverage import REQUEUE_FOR_ME, REQUEUE_FOR_OTHERS, Coverage, UnreadAnnotations
from ml_backend.monitoring.text_check import TextCheck
from ml_backend.rendering.formatting import and_more

MAX_LISTED_NAMES = 8
MAX_CHOICE_LETTERS = 40


def question_sentence(schema: ProjectSchema) -> str:
    """Names the controls that are learnt, and those that are not, each with its reason."""
    learnt = ", ".join(map(_learnt_control, schema.controls))
    data_fields = ", ".join(f"${name}" for name in schema.input.data)
    sentence = f"learns {learnt} over {data_fields}"
    if not schema.unlearnt:
        return sentence
    others = [f"<{control.tag} name={control.name!r}> ({control.reason})" for control in schema.unlearnt]
    return f"{sentence}; not learnt: {', '.join(others)}"


def _learnt_control(control: ControlSchema) -> str:
    return f"<{control.tag} name={control.name!r}>: {kind_of(control).describe_control(control)}"


def advice_sentences(schema: ProjectSchema) -> Iterator[str]:
    """Names attributes that should be added to controls."""
    for control in schema.controls:
        if advice := kind_of(control).advice(control):
            yield f"<{control.tag} name={control.name!r}>: add {advice}"


def question_and_text_sentences(schema: ProjectSchema, check: TextCheck) -> Iterator[str]:
    """Names the controls that a connected project learns, and describes problems with its texts."""
    yield question_sentence(schema)
    yield from advice_sentences(schema)
    yield from text_sentences(check, schema.input)


def text_sentences(check: TextCheck, input_spec: InputSpec) -> Iterator[str]:
    """Describes each problem with the texts of the tasks."""
    content = "record" if input_spec.is_record else "text"
    fields = " or ".join(map(repr, input_spec.data))
    looked_at = "" if check.whole else " looked at"
    if not check.tasks:
        yield "there are no tasks: import some"
    elif check.without_text and check.without_text == check.tasks:
        other_fields = f" (they have: {', '.join(check.fields[:MAX_LISTED_NAMES])})" if check.fields else ""
        tag = _tag_of(input_spec)
        yield (
            f"none of the {check.tasks} tasks{looked_at} has a {content} in {fields}{other_fields}: check value= of "
            f"{tag}{_blank_in_field_name(check, input_spec)}"
        )
    elif check.without_text:
        yield (
            f"{check.without_text} of {check.tasks} tasks{looked_at} have no {content} in {fields}, e.g. task "
            f"{check.example}: they get no draft, are not learnt from and come last"
        )
    if check.has_addresses:
        yield (
            f"{check.addresses} of {check.sample} texts looked at are addresses or paths of files, e.g. task "
            f"{check.address_in}: the files are not read, so only the letters of the addresses are learnt; import the "
            "texts themselves"
        )


def _tag_of(input_spec: InputSpec) -> str:
    """The tag that shows the text or the record."""
    if input_spec.structured:
        return "its tag"
    return "<Table>" if input_spec.record_field else "<HyperText>" if input_spec.html else "<Text>"


def _blank_in_field_name(check: TextCheck, input_spec: InputSpec) -> str:
    """A hint if a field's name has a blank. Measured on Label Studio 1.23: the API takes a value such as "$Full Text",
    and the labelling screen shows the content of `Full`."""
    names = [name for name in check.fields if any(name.startswith(f"{field} ") for field in input_spec.data)]
    return f"; Label Studio's screen reads a name up to its first blank: rename {names[0]!r}" if names else ""


def progress_sentence(coverage: Coverage) -> str:
    """Counts the labelled tasks and the others by their state."""
    destination = {REQUEUE_FOR_ME: " (they come again)", REQUEUE_FOR_OTHERS: " (waiting for another annotator)"}.get(
        coverage.skip_queue, ""
    )
    half_done = f" ({coverage.half_done} of them wait for another annotator)" if coverage.half_done else ""
    parts = [f"{coverage.labelled}{half_done}"]
    if coverage.skipped:
        parts.append(f"{coverage.skipped} skipped{destination}")
    if coverage.unused:
        parts.append(f"{coverage.unused} annotated but not used")
    if coverage.without_text:
        parts.append(f"{coverage.without_text} without a text")
    return ", ".join([*parts, f"{coverage.to_go} to go"])


def unused_sentences(annotations: Sequence[UnreadAnnotations], control: ControlSchema) -> Iterator[str]:
    """Counts the annotations that are not used for training, or not as a whole, and says why."""
    unused = [unread for unread in annotations if not unread.code.startswith(PARTLY_READABLE)]
    if unused:
        reasons = [f"{_reason(unread, control)}, e.g. task {unread.task}" for unread in unused]
        if len(reasons) > 1:
            reasons = [f"{unread.answers}: {reason}" for unread, reason in zip(unused, reasons, strict=True)]
        yield f"{_annotations_are(sum(unread.answers for unread in unused))} not used: {'; '.join(reasons)}"
    for unread in annotations:
        if unread.code.startswith(PARTLY_READABLE):
            part = kind_of(control).part_name or "label"
            reason = f"{_reason(unread, control)}, e.g. task {unread.task}"
            yield f"{_annotations_are(unread.answers)} used without some of the {part}s: {reason}"


def _annotations_are(n: int) -> str:
    return "1 annotation is" if n == 1 else f"{n} annotations are"


def _reason(unread: UnreadAnnotations, control: ControlSchema) -> str:
    belong = "it belongs" if unread.answers == 1 else "they belong"
    return {
        "empty": f"they have no label for {control.name!r}"
        if unread.answers > 1
        else f"it has no label for {control.name!r}",
        "control": f"{belong} to no control of the configuration (from_name is not {control.name!r})",
        "label": _missing_labels(unread, control),
        PARTLY_READABLE: _missing_labels(unread, control),
        "parent": f"{_choices(unread)} holds other labels, and none of these was chosen",
        "shape": f"the value for {control.name!r} is no label",
    }.get(unread.code) or kind_of(control).unread_reasons.get(unread.code, unread.code)


def _missing_labels(unread: UnreadAnnotations, control: ControlSchema) -> str:
    """Names the labels of the example, which stand for those of all annotations, that the configuration lacks."""
    labels = f"label {_choices(unread)}" if unread.answers == 1 else f"labels such as {_choices(unread)}"
    if has_ordered_labels(control):
        return f"the configuration has no {labels} (only {control.labels[0]} to {control.labels[-1]})"
    return f"the configuration has no {labels} (renamed or removed?)"


def _choices(unread: UnreadAnnotations) -> str:
    return _listed([shorten(choice, MAX_CHOICE_LETTERS) for choice in unread.choices])


def no_learner_sentence(coverage: Coverage) -> str:
    """Says why no learner was fitted although there are annotations, if `coverage.lacks_second_label`."""
    if coverage.same_answer is not None:
        labels = _listed(coverage.same_answer) if coverage.same_answer else "that no label applies"
        return f"nothing is learnt yet: every annotation is {labels}; training needs two different labels"
    return "nothing is learnt yet: training needs annotations with two different labels"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:MAX_LISTED_NAMES])) + and_more(names, MAX_LISTED_NAMES)
