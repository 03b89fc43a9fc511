"""A project with a text in every table, and helpers that search the store for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from schemas import by_control, labelled

from ml_backend.core.teacher_types import LabelField, Question
from ml_backend.core.types import Annotation, Draft, ModelVersion, Prediction, TaskContent, content_key
from ml_backend.storage import EvolutionRow, RoundRow, Store
from ml_backend.storage.schema import metadata
from ml_backend.teacher.evolution.analysis_prompt import quoted_text

SECRET = "Mrs. Miller of 17 Elm Street complains about her dog for the third time this week"
LONG = SECRET + " and says that nobody answers, neither the police nor the town, " * 9
SHORT = "a short one"
OTHER = "another text, which stays where it is"


def example(task: int, text: str) -> TaskContent:
    return TaskContent(task, text, content_key(text), {"region": "north"})


def annotation(number: int, task: int) -> Annotation:
    return Annotation(number, task, 7, labelled("fruit"), False, False, "2026-11-22T08:00:00.000000Z", 1.5)


def asking(number: str, text: str, *examples: str, purpose: Any = "label") -> Question:
    pairs = tuple((shown, '{"label": "fruit"}') for shown in examples)
    return Question(number, purpose, "label it", text, {}, pairs, (LabelField("label", ("fruit", "metal")),))


def spread(store: Store, text: str, task: int = 1, project: int = 5) -> None:
    """Puts a task into every table."""
    store.tasks.put(project, [example(task, text), example(2, OTHER)])
    store.annotations.put(project, [annotation(task, task), annotation(2, 2)])
    store.versions.draw_audit(project, [task, 2])
    drafts = by_control(Draft(("fruit",), 0.9, "learner"))
    store.published_drafts.put(project, "v1", [Prediction(task, 0.1, drafts), Prediction(2, 0.2, drafts)])
    quoting = [
        asking("describe", f'["{text}", "{OTHER}"]', purpose="describe"),
        asking(
            "write", f'{{"feedback": "wrong: \\"{text[:160]}\\" is fruit", "examples": ["{text}"]}}', purpose="write"
        ),
        asking("plain", f"It got {quoted_text(text)} wrong, and {OTHER}.", purpose="diagnose"),
    ]
    about = [
        (asking("own", text), content_key(text)),
        (asking("other", OTHER, text, "more"), content_key(OTHER)),
    ]
    store.questions.add(project, "teacher", [*about, *((question, None) for question in quoting)])
    texts = [{"text": written, "kind": "hard", "label": ["fruit"]} for written in (text, OTHER)]
    body = {"weaknesses": f'it fails at "{text}"', "texts": texts}
    store.evolution_rounds.save(project, EvolutionRow(1, "label", "tasks", "teacher", True, body))
    store.versions.add(ModelVersion(project, 1, "v1", 1, 1, {}, 0.0), None, rows=2)
    store.versions.record_round(project, RoundRow("v1", 1.0, 2.0, {"fit": 0.1}))
    store.jobs.request(project)


def everything(store: Store) -> Iterator[tuple[str, str]]:
    """Yields each row of each table as text."""
    with store.database.read() as connection:
        for table in metadata.tables.values():
            for row in connection.execute(sa.select(table)):
                yield table.name, repr(tuple(row))


def files_with(folder: Path, text: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
