"""A teacher that writes texts from a script, and what became of them: what the tests of evolve share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from fake_label_studio import WORDS, FakeLabelStudio
from scripted_teacher import ScriptedTeacher

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.storage import Store
from ml_backend.teacher.evolution import generated_texts, steps
from ml_backend.teacher.evolution.generated_texts import EvolutionRound

TEXT_TAG = '<View><Text name="text" value="$text"/>'


class Author(ScriptedTeacher):
    """Writes texts of three known words, of each label in turn, another set every round; `calls` are answered before
    it goes away. `refuses`: a word whose texts are ambiguous to it."""

    def __init__(self, calls: int = 10**6, refuses: str = "") -> None:
        super().__init__()
        self.calls, self.refuses = calls, refuses
        self.extra: list[str] = []
        self.failing: set[str] = set()

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            if len(self.asked) >= self.calls:
                raise TeacherUnavailableError("it went away")
            call = Call("m", 0.1, 100, 10, "answered")
            if question.purpose in self.failing:
                self.asked.append(question)
                yield Answer(question.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")
            elif question.purpose == "diagnose":
                self.asked.append(question)
                pattern = {"labels": ["fruit", "metal"], "weakness": "mixed up", "advice": "say more"}
                yield Answer(question.id, {"summary": "It is weak.", "patterns": [pattern]}, None, (call,))
            elif question.purpose == "write":
                self.asked.append(question)
                n = sum(1 for asked in self.asked if asked.purpose == "write")
                hard = [*self.extra, *(text_of(i, 10 * n) for i in range(6))]
                yield Answer(
                    question.id, {"hard": hard, "easy": [text_of(i, 10 * n + 5) for i in range(6)]}, None, (call,)
                )
            elif self.refuses and self.refuses in question.text.split():
                self.asked.append(question)
                shares = np.full(len(question.fields[0].labels), 0.1, np.float32)
                shares[-1] = 0.7
                yield Answer(question.id, {"label": steps.REFUSAL}, {"label": shares}, (call,))
            else:
                yield from super().answer([question])


def text_of(i: int, salt: int) -> str:
    """Of the label i % 3, like no other."""
    words = list(WORDS.values())[i % 3].split()
    return f"{words[i % 7]} {words[(i + salt) % 7]} new{i} also{salt}"


def rounds_of(store: Store) -> tuple[EvolutionRound, ...]:
    return generated_texts.read_rounds(store, 5)


def synthetic(server: FakeLabelStudio) -> dict[int, Any]:
    return {number: task["data"] for number, task in server.tasks.items() if SYNTHETIC_FIELD in task["data"]}


def add_control(server: FakeLabelStudio, store: Store, name: str = "mood") -> None:
    """Adds a control with the labels of the first one to the project's labelling configuration."""
    first = server.label_config.removeprefix(TEXT_TAG).removesuffix("</View>")
    second = first.replace('name="label"', f'name="{name}"')
    server.label_config = f"{TEXT_TAG}{first}{second}</View>"
    store.projects.set_label_config(5, server.label_config)
