"""A teacher that writes texts from a script, and what became of them: what the tests of evolve share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from fake_label_studio import WORDS, FakeLabelStudio
from scripted_span_teacher import ScriptedSpanTeacher
from scripted_teacher import ScriptedTeacher

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.storage import Store
from ml_backend.teacher.evolution import generated_texts, labelled_texts
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
                yield Answer(question.id, {"label": labelled_texts.REFUSAL}, {"label": shares}, (call,))
            else:
                yield from super().answer([question])


NEW_NAMES = ("Gil", "Hedy", "Ivo", "Jana", "Kurt", "Lena")
NEW_PLACES = ("Quito", "Riga", "Sofia", "Turin", "Tokyo", "Vilna")


class SpanAuthor(ScriptedSpanTeacher):
    """Writes sentences with names and places that no task has, every third one without any, another set every round;
    `calls` are answered before it goes away. `extra`: texts that it also writes as hard ones. `refuses`: a word whose
    texts are ambiguous to it. `misquotes`: a word that it marks with letters that are not in the text. `swaps`: whether
    it takes names for places and places for names."""

    def __init__(self, calls: int = 10**6) -> None:
        super().__init__()
        self.calls = calls
        self.extra: list[str] = []
        self.refuses, self.misquotes, self.swaps = "", "", False
        self.failing: set[str] = set()

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        for question in questions:
            if len(self.asked) >= self.calls:
                raise TeacherUnavailableError("it went away")
            if question.purpose == "label" and question.purpose not in self.failing:
                yield from super()._answers([question])
                continue
            self.asked.append(question)
            if question.purpose in self.failing:
                yield question, Answer(question.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")
                continue
            content: dict[str, Any] = {
                "summary": "It misses places.",
                "patterns": [{"labels": ["Place"], "weakness": "after a verb", "advice": "more verbs"}],
            }
            if question.purpose == "write":
                n = 6 * sum(asked.purpose == "write" for asked in self.asked)
                content = {
                    "hard": [*self.extra, *(new_sentence(i) for i in range(n, n + 6))],
                    "easy": [new_sentence(i) for i in range(n + 50, n + 56)],
                }
            yield question, Answer(question.id, content, None, (Call("m", 0.1, 100, 10, "answered"),))

    def reply(self, text: str) -> dict[str, Any]:
        spans = super().reply(text)["spans"]
        for words, label in ((NEW_NAMES, "Person"), (NEW_PLACES, "Place")):
            spans += [
                {"text": word, "label": label, "occurrence": 1, "before": "", "p": self.sure}
                for word in words
                if word in text.split()
            ]
        for span in spans:
            if self.swaps:
                span["label"] = "Place" if span["label"] == "Person" else "Person"
            if span["text"] == self.misquotes:
                span["text"] = "elsewhere"
        return {"spans": spans, "ambiguous": self.refuses != "" and self.refuses in text.split()}


def new_sentence(n: int) -> str:
    """As long as those of the tasks, like none of them."""
    name, place = NEW_NAMES[n % 6], NEW_PLACES[(n // 6) % 6]
    return (
        f"{name} drove to {place} in May {n}",
        f"at noon {n} it had been quiet",
        f"{place} had much snow {n} times",
    )[n % 3]


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
