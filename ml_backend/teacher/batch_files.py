"""Questions to the teacher in a file, and its answers from one: for batches, and for machines without a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.formatting import counted
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.storage import Store
from ml_backend.storage.files import write_atomically
from ml_backend.teacher.candidates import room
from ml_backend.teacher.client import Budget, TeacherClient, in_vain, without_model
from ml_backend.teacher.descriptions import label_descriptions
from ml_backend.teacher.evolution.steps import REFUSAL


def export(store: Store, settings: Settings, project: int, file: Path) -> str:
    """Writes all questions that wait, as far as the budget covers them; returns what happened, and what to do next.

    They go on waiting: until their answers are imported, another export writes them again.
    """
    record = store.projects.known(project)
    options, schema = _options(store, settings, project), read_schema(record.label_config, record.choices)
    asking = settings.teacher_options(options)
    teacher = registry.teacher(options.teacher, asking)
    if teacher is None:
        raise ApprenticeError(
            f"Project {project} has no teacher that can be asked (but {options.teacher!r}): set teacher to "
            f"{registry.BY_FILE} and teacher_model in its extra params"
        )
    if problem := without_model(options, project):
        raise ApprenticeError(problem)
    waiting = store.questions.waiting(project, teacher.name)
    if not waiting:
        return _nothing(store, options, schema, project, teacher.name)
    present = [each for each in waiting if _is_present(each, schema)]
    stale = len(waiting) - len(present)
    ask = "is passed over: it asks" if stale == 1 else "are passed over: they ask"
    passed = f" {stale} {ask} for labels that are not the project's present ones." if stale else ""
    if not present:
        return f"Nothing is written.{passed}"
    desk = TeacherClient(store, project, teacher, Budget.of(options))
    chosen = desk.affordable(present)
    if not chosen:
        raise ApprenticeError(f"Nothing is written: {desk.exhausted(present[0])}")
    lines = registry.batch_format().write(chosen, asking)
    write_atomically(file, lambda out: out.writelines(f"{line}\n".encode() for line in lines))
    over = len(present) - len(chosen)
    why = "teacher_budget or a daily cap (teacher_daily_…)"
    more = (
        f" {over} more wait{'s' * (over == 1)}: {why} does not cover {'it' if over == 1 else 'them'}." if over else ""
    )
    written = f"{counted(len(chosen), 'question')} to {options.teacher_model} {'is' if len(chosen) == 1 else 'are'}"
    return (
        f"{written} in {file}.{more}{passed} Have them answered as a batch, then `apprentice teach --project {project} "
        "--import FILE`."
    )


def take_in(store: Store, settings: Settings, project: int, file: Path) -> tuple[str, bool]:
    """Keeps the answers in a file, and asks for a round if there was one; returns what became of each line, and whether
    any of them is an answer to a question of this project.

    An answer is kept and counted once, however often it is imported.
    """
    record = store.projects.known(project)
    options, schema = _options(store, settings, project), read_schema(record.label_config, record.choices)
    budget, asked = Budget.of(options), _Questions(store, project)
    ignored: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            for answer in registry.batch_format().read(lines, asked, ignored):
                fate = _keep(store, project, answer, budget)
                counts[fate] += 1
                if fate in ("failed", "dropped"):
                    problems[answer.problem] += 1
                about = asked[answer.question].purpose == "describe" and not schema.is_record  # see `features.recover`
                if fate == "answered" and answer.content and about:
                    try:
                        label_descriptions.adopt(store, project, answer.content, schema)
                    except ApprenticeError as error:  # the labels have changed since
                        problems[str(error)] += 1
    except OSError as error:
        raise ApprenticeError(f"{file} cannot be read ({error.strerror}): give the file with the replies") from error
    if counts["answered"] or counts["dropped"]:
        store.jobs.ask(project)
    return _told(counts, ignored, problems), bool(counts["answered"] + counts["known"])


class _Questions(Mapping[str, Question]):
    """The questions of a project by their ids. Each is read when it is asked for: there may be many, and long ones."""

    def __init__(self, store: Store, project: int) -> None:
        self._store, self._project = store, project
        self._find = lru_cache(maxsize=1)(self._read)

    def __getitem__(self, name: str) -> Question:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def _read(self, name: str) -> Question | None:
        return next(iter(self._store.questions.those(self._project, [name])), None)

    def __iter__(self) -> Iterator[str]:
        return (question.id for question in self._store.questions.all(self._project))

    def __len__(self) -> int:
        return len(self._store.questions.all(self._project))


def _options(store: Store, settings: Settings, project: int) -> ProjectSettings:
    return settings.for_project(store.projects.known(project).extra_params)[0]


def _is_present(question: Question, schema: TaskSchema) -> bool:
    """Whether a question is one about the project as it is now, whose answer is worth its price."""
    known = schema.labels, (*schema.labels, REFUSAL)
    return question.purpose != "label" or (question.labels in known and question.multiple == schema.multiple)


def _keep(store: Store, project: int, answer: Answer, budget: Budget) -> str:
    known = store.questions.answers(project, [answer.question]).get(answer.question)
    if known is not None and (known.content is not None or answer.content is None):
        return "known"  # of the same file, most likely: what was paid once is entered once
    if in_vain(answer):
        return "failed"
    if not store.questions.record(project, answer, [budget.cost(call) for call in answer.calls]):
        return "known"
    return "dropped" if answer.content is None else "answered"


def _nothing(store: Store, options: ProjectSettings, schema: TaskSchema, project: int, teacher: str) -> str:
    if options.teacher != registry.BY_FILE:
        return f"No question waits: {options.teacher} is asked at once; with teacher set to batch, all of them wait."
    left, known = room(store, options, schema, project, teacher)
    labelled = f"the teacher has labelled {counted(len(known), 'task')}"
    if left <= 0:
        return f"No question waits: {labelled}, and teacher_labels ({options.teacher_labels}) asks for no more."
    return (
        "No question waits. `apprentice serve` puts them on the list after the project's first round: so far, "
        f"{labelled} of {options.teacher_labels} (teacher_labels)."
    )


def _told(counts: Counter[str], ignored: Counter[str], problems: Counter[str]) -> str:
    """What became of the lines, the reasons after it."""
    words = {
        "answered": "answered", "dropped": "of no use and dropped", "failed": "without a reply, which go on waiting",
        "known": "known already", "unknown": "to questions that nobody asked here", "unreadable": "unreadable",
        "repeated": "repeated", "question": "questions, not replies: import the file with the replies",
    }  # fmt: skip
    told = [f"{n} {said}" for what, said in words.items() if (n := counts[what] + ignored[what])]
    why = "; ".join(f"{counted(n, 'time')}: {problem}" for problem, n in problems.most_common())
    return f"{', '.join(told) or 'The file is empty'}.{f' {why}' if why else ''}"
