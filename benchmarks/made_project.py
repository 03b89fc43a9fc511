"""A project of made-up annotations, drafts, replies of a teacher and a learner, as months of use would leave it."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa

from ml_backend import knowledge
from ml_backend.domain import Annotation, Draft, Example, ModelVersion, Prediction, content_key
from ml_backend.knowledge import Knowledge, Lesson
from ml_backend.store import Store
from ml_backend.store.schema import question

PROJECT, TEACHER = 5, "openai:small"
SECONDS = 4.0  # of an answer, on average
QUEUE = 200
SEED = 0


def config(labels: int) -> str:
    """A labelling configuration for texts with a choice of so many labels."""
    choices = "".join(f'<Choice value="label {number}"/>' for number in range(labels))
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="label" toName="text" choice="single">{choices}</Choices></View>'
    )


def text_of(task: int) -> str:
    return f"text number {task}"


def annotation(task: int, label: int, moment: str = "2026-01-01T00:00:00Z") -> Annotation:
    return Annotation(task, task, 1, (f"label {label}",), updated_at=moment, lead_time=SECONDS)


def fill(store: Store, answers: int, labels: int, space: str = "made", dim: int = 32) -> None:
    """One project with so many answered tasks, half as many replies of its teacher, a learner of vectors in a space of
    `dim` dimensions, and a queue of open tasks."""
    random = np.random.default_rng(SEED)
    tasks = range(1, answers + QUEUE + 1)
    store.projects.ensure(PROJECT)
    store.projects.set_label_config(PROJECT, config(labels))
    store.connections.complete(PROJECT, None, 1, None)
    store.teacher_states.meet(PROJECT, TEACHER, "small")
    store.tasks.put(PROJECT, [Example(task, text_of(task), content_key(text_of(task))) for task in tasks])
    drawn = random.integers(labels, size=answers + 1).tolist()
    draft = Draft(("label 0",), 0.5, "learner")
    for number, some in enumerate((tasks[:answers], tasks[answers:]), start=1):
        version = ModelVersion(PROJECT, number, f"v{number}", 2 if number == 2 else None, answers, None, 0.0)
        artifact = _learn(store, drawn[1:], labels, space, dim) if number == 2 else None
        store.versions.add(version, artifact, rows=1)
        store.publications.switch(version, [Prediction(task, 0.1, draft) for task in some])
    store.labels.put(PROJECT, [annotation(task, drawn[task]) for task in range(1, answers + 1)])
    _reply(store, answers // 2, drawn, labels)


def _reply(store: Store, n: int, drawn: list[int], labels: int) -> None:
    """Written at once: recording 50,000 replies one by one takes minutes, and is not what is measured."""
    names = [f"label {number}" for number in range(labels)]
    rows = []
    for task in range(1, n + 1):
        text = text_of(task)
        body = {"id": f"{task}", "purpose": "label", "system": "You label texts.", "user": text, "examples": []}
        shares = {name: 0.8 if number == drawn[task] else 0.2 / (labels - 1) for number, name in enumerate(names)}
        row = {"project": PROJECT, "id": f"{task}", "teacher": TEACHER, "purpose": "label", "key": content_key(text)}
        given = {"state": "answered", "wanted_at": 0.0, "answered_at": float(task), "content": {"label": "label 0"}}
        rows.append({**row, **given, "shares": shares, "body": {**body, "labels": names}})
    with store.database.begin() as connection:
        if rows:
            connection.execute(sa.insert(question), rows)


def _learn(store: Store, drawn: list[int], labels: int, space: str, dim: int) -> tuple[str, str]:
    n, targets = len(drawn), np.eye(labels, dtype=np.float32)[drawn]
    tensors = {
        "weight": np.zeros((dim, labels), np.float32), "bias": np.zeros(labels, np.float32),
        "temperature": np.ones(1, np.float32), "multiple": np.array([False]),
    }  # fmt: skip
    names = tuple(f"label {number}" for number in range(labels))
    texts = b"".join(content_key(text_of(task)) for task in range(1, n + 1))
    lesson = Lesson("logistic", space, names, False, np.arange(1, n + 1), texts, targets)
    known = Knowledge(2, lesson, tensors, (targets * 0.8 + 0.2 / labels).astype(np.float32))
    return knowledge.save(store, PROJECT, known)
