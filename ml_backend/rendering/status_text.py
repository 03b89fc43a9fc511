"""Words the status of a project, for `apprentice status` and the demo."""

from __future__ import annotations

from collections.abc import Iterator

from ml_backend.core.types import Estimate
from ml_backend.kinds.base import ACCURACY
from ml_backend.kinds.lookup import kind_of
from ml_backend.labels.draft_acceptance import TimeSaved
from ml_backend.monitoring.status import ControlStatus, Problem, Status
from ml_backend.rendering import parts_text, project_text
from ml_backend.rendering.formatting import MAX_LISTED_ITEMS, and_more, control_option
from ml_backend.rendering.monitor_text import monitor_lines
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.settings_text import settings_problems_text
from ml_backend.rendering.teacher_report_text import report_lines, teacher_lines
from ml_backend.teacher.evolution.analysis_prompt import source_text

SECONDS_PER_MINUTE = 60.0


def _check_lines(status: Status, control: str, *, in_detail: bool) -> Iterator[tuple[str, str]]:
    """Names the annotations of a control that are not learnt from, and says why; `in_detail`, also those of which this
    is to be expected."""
    coverage = status.controls[control].coverage
    if status.schema is None or coverage is None:
        return
    [schema] = status.schema.selected_controls(control)
    unread = coverage.unread if in_detail else coverage.unexpected_unread(schema, status.schema)
    yield from (("not used", sentence) for sentence in project_text.unused_sentences(unread, schema))
    if status.controls[control].learner is None and coverage.lacks_second_label:
        yield "learner", project_text.no_learner_sentence(coverage)


def set_aside_sentence(codes: dict[int, str]) -> str:
    """Names the tasks that the encoder could not encode, by task id and reason code, and says what to do."""
    tasks = [str(task) for task in codes]
    listed = ", ".join(tasks[:MAX_LISTED_ITEMS]) + and_more(tasks)
    return (
        f"task {listed} ({', '.join(sorted(set(codes.values())))}): neither drafted nor learnt from, since the encoder "
        "cannot encode the text. Change the text or choose another encoder"
    )


def status_lines(status: Status, control: str = "") -> list[tuple[str, str]]:
    """The lines of `apprentice status`, as pairs of a name and a sentence. If the project has several controls, each of
    them has one line, and `control` names the one whose details are shown; it is ignored if it is not learnt."""
    return list(_lines(status, control))


def _lines(status: Status, control: str) -> Iterator[tuple[str, str]]:
    controls = status.controls
    if control not in controls:  # no control is known before the configuration has been read
        control = next(iter(controls)) if len(controls) == 1 else ""
    if not status.connected:
        yield "not connected", f"run `apprentice connect --project {status.project}`"
    coverage = controls[control].coverage if control else None
    counts = f"{status.labelled}, {status.pool} to go"
    yield "labelled", project_text.progress_sentence(coverage) if coverage else counts
    if status.words is not None:
        yield "words read", f"{status.words:,} in the labelled texts"
    yield from _input_lines(status)
    for name in [control] if control else controls:
        for line, sentence in _check_lines(status, name, in_detail=bool(control)):
            yield line, sentence if control else f"{name}: {sentence}"
    version = status.active_version or "none yet: drafts come from the teacher"
    yield "active version", version + _held_text(status)
    if status.acquisition:
        yield "queue", f"ordered by {status.acquisition}"
    if control:
        yield from _control_lines(status, control)
    else:
        for name, of_control in controls.items():
            yield name, control_sentence(of_control, status.metric_name(name))
        yield from teacher_lines(next((of_control.teacher for of_control in controls.values()), {}))
    parts = [kind_of(schema).part_name for schema in status.schema.controls] if status.schema else []
    if status.saved and (sentence := time_saved_sentence(status.saved, next(filter(None, parts), ""))):
        yield "time", sentence
    yield from _work_lines(status, control)


def _held_text(status: Status) -> str:
    """Names the learners that a rollback holds; "" without a rollback."""
    numbers = {*status.held.values()}
    if not numbers:
        return ""
    if len(numbers) == 1 and len(status.held) >= len(status.controls):
        return f" (the learner of version {numbers.pop()}, held by a rollback)"
    learners = ", ".join(f"{control} of version {number}" for control, number in status.held.items())
    return f" (held by a rollback: {learners})"


def _input_lines(status: Status) -> Iterator[tuple[str, str]]:
    """Names the controls if there are several, and describes problems with the texts of the tasks."""
    if status.schema is None or status.texts is None:
        return
    if len(status.schema.controls) > 1 or status.schema.unlearnt:
        yield "question", project_text.question_sentence(status.schema)
    yield from (("advice", sentence) for sentence in project_text.advice_sentences(status.schema))
    if status.texts.tasks or status.last_round:  # else the tasks have not been read yet
        yield from (("texts", sentence) for sentence in project_text.text_sentences(status.texts, status.schema.input))


def _work_lines(status: Status, control: str) -> Iterator[tuple[str, str]]:
    """The last round, what is under way, and problems. `control`: the only one whose remarks are shown, "" for all"""
    if last_round := status.last_round:
        stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in last_round["stages"].items())
        age, seconds = last_round["age_seconds"], last_round["seconds"]
        yield "last round", f"{age:.0f} s ago, took {seconds:.2f} s ({stages})"
    activity = "a round is running" if status.running else "idle"
    yield "now", activity + (", another is waiting" if status.waiting else "")
    if status.read is not None:
        yield "reading", f"{status.read} tasks so far"
    if status.encoded is not None and status.encoded < 1:
        yield "encoded", f"{status.encoded:.0%} of the tasks; the queue improves as this share grows"
    if status.set_aside:
        yield "set aside", set_aside_sentence(status.set_aside)
    if status.settings_problems:
        yield "settings", settings_problems_text(status.settings_problems)
    remarks = [remark for remark in status.remarks if control in ("", remark.values.get("control", control))]
    if remarks:
        yield "note", remarks_text(remarks)
    if status.last_error:
        yield "last error", status.last_error
    if status.problem and (sentence := problem_sentence(status.problem)) != status.last_error:
        yield "problem", sentence


def _control_lines(status: Status, control: str) -> Iterator[tuple[str, str]]:
    """The lines of a control that is learnt."""
    of_control = status.controls[control]
    schemas = status.schema.selected_controls(control) if status.schema else ()
    for schema in schemas:
        of_kind = kind_of(schema)
        if of_control.accuracy:
            yield of_kind.main_metric(schema), _accuracy_sentence(of_control.accuracy)
        if parts := of_control.monitor.get("parts"):
            yield from parts_text.status_lines(parts, of_kind.part_name, of_control.accuracy)
        score_name, agreement_name = of_kind.score_name(schema), of_kind.agreement_name
        yield from monitor_lines(of_control.monitor, score_name, agreement_name, of_control.quotes)
        option = control_option(control, status.controls)
        yield from report_lines(of_control.teacher, MAX_LISTED_ITEMS, option, of_kind.part_name, of_kind.changed_part)


def control_sentence(status: ControlStatus, metric_name: str = ACCURACY) -> str:
    """The labelled tasks of a control, the accuracy of its learner, or its other metric of this name, and the share of
    drafts that are the learner's."""
    parts = [f"{status.labelled} labelled"]
    if status.learner is None:
        parts.append("no learner yet")
    if status.accuracy:
        parts.append(f"{metric_name} {_accuracy_sentence(status.accuracy)}")
    if share := status.teacher.get("share"):
        parts.append(f"{share['value']:.0%} of the {share['n']} drafts in the queue are the learner's own")
    return "; ".join(parts)


def _accuracy_sentence(accuracy: Estimate) -> str:
    interval = f"{accuracy.low:.3f} to {accuracy.high:.3f}"
    return f"{accuracy.value:.3f} (95 %: {interval}; {accuracy.n} tasks, {source_text(accuracy)})"


def time_saved_sentence(saved: TimeSaved, part: str = "") -> str:
    """The time that drafts saved, for all controls together; "" if too few annotations are timed. `part`: the name of
    the parts that annotations of equal effort have in the same number, "" without parts"""
    if saved.seconds is None:
        return ""
    minutes = f"{'saved' if saved.seconds >= 0 else 'cost'} {abs(saved.seconds) / SECONDS_PER_MINUTE:.1f} minutes"
    if part:
        return (
            f"accepted or edited drafts {minutes}, against annotations without a draft that have as many {part}s "
            f"({saved.timed} and {saved.blind} timed)"
        )
    return (
        f"accepted drafts {minutes} ({saved.median_accepted:.1f} s an answer instead of {saved.median_blind:.1f} s; "
        f"{saved.timed} and {saved.blind} timed)"
    )


def problem_sentence(problem: Problem) -> str:
    """Says what prevents the next round of a project, and what to do."""
    if problem.code == "unreadable":
        return problem.values["error"]
    if problem.code == "not writable":
        return write_error_sentence(problem.values["folder"], problem.values["error"])
    if problem.code == "no worker":
        return "no worker is running: start `apprentice serve`"
    return "waiting for the first round to read the project"


def write_error_sentence(folder: str, error: str) -> str:
    """Says that nothing can be written to the data folder, because of an error of the operating system."""
    return f"{folder} cannot be written ({error}): free space or chown it"
