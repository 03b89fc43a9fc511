"""Exports questions for the teacher to a file, and imports its answers from a file: for batches, and for machines
without a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Question, ReplyFields
from ml_backend.label_studio.label_config import read_schema
from ml_backend.storage import Store
from ml_backend.storage.files import write_atomically
from ml_backend.teacher.candidates import remaining_labels
from ml_backend.teacher.client import Budget, TeacherClient, has_no_reply, missing_model_problem
from ml_backend.teacher.descriptions import label_descriptions
from ml_backend.teacher.evolution.labelled_texts import REFUSAL
from ml_backend.teacher.prompts import LabelPrompt


@dataclass(frozen=True, slots=True)
class BatchExport:
    """The result of an export. `rendering.batch_text` words it.

    outcome    "stale" if all waiting questions ask for labels that the project does not have. The last three say why
               no question waits: the teacher is asked at once, it has given all labels, or no round has created any
    teacher    the model that answers the file; if it is "asked at once", the name of the teacher
    written    number of questions in the file
    left       number of questions that the budget does not cover
    stale      number of questions for labels that the project does not have
    labelled   number of tasks that the teacher has labelled, of `max_labels`, if no question waits
    """

    outcome: Literal["written", "stale", "asked at once", "all labels given", "no questions yet"]
    teacher: str = ""
    written: int = 0
    left: int = 0
    stale: int = 0
    labelled: int = 0
    max_labels: int = 0


@dataclass(frozen=True, slots=True)
class BatchImport:
    """The result of an import: the number of lines by outcome, and of answers by problem."""

    outcomes: Mapping[str, int]
    problems: Mapping[str, int]

    @property
    def has_replies(self) -> bool:
        """Whether any line is an answer to a question of the project."""
        return bool(self.outcomes.get("answered", 0) + self.outcomes.get("known", 0))


def export_questions(store: Store, settings: Settings, project: int, file: Path) -> BatchExport:
    """Writes all unanswered questions that the budget covers to a file. The questions stay unanswered: until their
    answers are imported, another export writes them again.

    Raises ApprenticeError if the project has no teacher that answers by file, or the budget covers no question.
    """
    project_row = store.projects.require(project)
    options, schema = _options(store, settings, project), read_schema(project_row.label_config, project_row.choices)
    teacher_options = settings.teacher_options(options)
    teacher = registry.teacher(options.teacher, teacher_options)
    if teacher is None:
        raise ApprenticeError(
            f"Project {project} has no teacher that can be asked (it has {options.teacher!r}): set teacher to "
            f"{registry.BATCH_TEACHER} and teacher_model in its extra params"
        )
    if problem := missing_model_problem(options, project):
        raise ApprenticeError(problem)
    waiting = store.questions.waiting(project, teacher.name)
    if not waiting:
        if options.teacher != registry.BATCH_TEACHER:
            return BatchExport("asked at once", options.teacher)
        remaining = remaining_labels(store, options, schema, project, teacher.name)
        outcome: Literal["all labels given", "no questions yet"]
        outcome = "all labels given" if remaining.count <= 0 else "no questions yet"
        return BatchExport(outcome, labelled=len(remaining.labelled_keys), max_labels=options.teacher_labels)
    fields = _present_fields(schema)
    present = [question for question in waiting if question.purpose != "label" or question.reply_fields in fields]
    stale = len(waiting) - len(present)
    if not present:
        return BatchExport("stale", stale=stale)
    teacher_client = TeacherClient(store, project, teacher, Budget.of(options))
    affordable = teacher_client.affordable(present)
    if not affordable:
        raise ApprenticeError(f"Nothing is written: {teacher_client.exhausted_cap(present[0])}")
    lines = registry.batch_format().write(affordable, teacher_options)
    write_atomically(file, lambda out: out.writelines(f"{line}\n".encode() for line in lines))
    return BatchExport("written", options.teacher_model, len(affordable), len(present) - len(affordable), stale)


def import_answers(store: Store, settings: Settings, project: int, file: Path) -> BatchImport:
    """Stores the answers in a file, and requests a round if any is new.

    An answer is stored and counted once, however often it is imported. Raises ApprenticeError if the file cannot be
    read.
    """
    project_row = store.projects.require(project)
    options, schema = _options(store, settings, project), read_schema(project_row.label_config, project_row.choices)
    budget, questions = Budget.of(options), _Questions(store, project)
    ignored: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            for answer in registry.batch_format().read(lines, questions, ignored):
                outcome = _store_answer(store, project, answer, budget)
                counts[outcome] += 1
                if outcome in ("failed", "dropped"):
                    problems[answer.problem] += 1
                # for records, `feature_scores.adopt_answers` adopts the answers
                is_description = questions[answer.question].purpose == "describe" and not schema.input.is_record
                if outcome == "answered" and answer.content and is_description:
                    for control in _described_controls(questions[answer.question], schema.controls):
                        try:
                            label_descriptions.adopt_reply(store, project, answer.content, control)
                        except ApprenticeError as error:  # the labels have changed since the question
                            problems[str(error)] += 1
    except OSError as error:
        raise ApprenticeError(f"{file} cannot be read ({error.strerror}): give the file with the replies") from error
    if counts["answered"] or counts["dropped"]:
        store.jobs.request_unless_waiting(project)
    return BatchImport(counts + ignored, problems)


class _Questions(Mapping[str, Question]):
    """The questions of a project by id. Reads a question when it is looked up, because there may be many long ones."""

    def __init__(self, store: Store, project: int) -> None:
        self._store, self._project = store, project
        self._find = lru_cache(maxsize=1)(self._read)

    def __getitem__(self, id_: str) -> Question:
        question = self._find(id_)
        if question is None:
            raise KeyError(id_)
        return question

    def _read(self, id_: str) -> Question | None:
        return next(iter(self._store.questions.with_ids(self._project, [id_])), None)

    def __iter__(self) -> Iterator[str]:
        return (question.id for question in self._store.questions.all(self._project))

    def __len__(self) -> int:
        return len(self._store.questions.all(self._project))


def _options(store: Store, settings: Settings, project: int) -> ProjectSettings:
    return settings.for_project(store.projects.require(project).extra_params)[0]


def _described_controls(question: Question, controls: Sequence[ControlSchema]) -> Sequence[ControlSchema]:
    """The controls whose labels a question asks to describe; if there are none, the first one, whose labels may have
    changed since."""
    item = question.reply["properties"]["labels"]["items"]
    names = tuple(item["properties"]["label"]["enum"])
    return [control for control in controls if control.labels == names] or controls[:1]


def _present_fields(schema: ProjectSchema) -> list[ReplyFields]:
    """The fields of questions for labels that fit the present labels of the project, so that their answers are worth
    their cost. A question of a round of `apprentice evolve` asks for the labels of one control, and may be refused if
    its text is generated."""
    named = schema.names_controls
    present = LabelPrompt(schema.controls, named=named)
    of_rounds = [
        prompt
        for control in schema.controls
        for prompt in (
            LabelPrompt([control], named=named),
            LabelPrompt([control], refusal=REFUSAL, named=named),
            LabelPrompt([control], refusal=REFUSAL),  # of an earlier release
        )
    ]
    return [prompt.reply_fields for prompt in (present, *of_rounds)]


def _store_answer(store: Store, project: int, answer: Answer, budget: Budget) -> str:
    """Stores an answer and its cost, and returns its outcome: "answered", "dropped", "failed" or "known"."""
    stored = store.questions.answers(project, [answer.question]).get(answer.question)
    if stored is not None and (stored.content is not None or answer.content is None):
        return "known"  # probably imported before: a cost is entered once
    if has_no_reply(answer):
        return "failed"
    if not store.questions.store_answer(project, answer, [budget.cost(call) for call in answer.calls]):
        return "known"
    return "dropped" if answer.content is None else "answered"
