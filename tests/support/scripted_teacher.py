"""A teacher that answers from a script: it knows the words of the tests' labels, and how to fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from fake_label_studio import WORDS
from two_controls import MOOD_WORDS

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Call, Question

WORDS_OF = {**WORDS, **MOOD_WORDS}  # by label


class ScriptedTeacher:
    """Says of a text the label whose words are in it, or always `says`; `silent`: is not there.

    before_answers  called before each question of a call; may raise
    change          called with each question and its answer; returns the answer that is given, None for none
    """

    name = "scripted"

    def __init__(self, says: str = "", sure: float = 0.9) -> None:
        self.says, self.sure = says, sure
        self.silent: TeacherUnavailableError | None = None
        self.asked: list[Question] = []
        self.before_answers: Callable[[], object] = lambda: None
        self.change: Callable[[Question, Answer], Answer | None] = lambda _, answer: answer

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question, answer in self._answers(questions):
            if (changed := self.change(question, answer)) is not None:
                yield changed

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        for question in questions:
            self.before_answers()
            if self.silent is not None:
                raise self.silent
            self.asked.append(question)
            call = Call("m", 0.1, 100, 10, "answered")
            if question.purpose == "label":
                content, shares = {}, {}
                for field in question.fields:
                    label = content[field.name] = self.says or label_of(question.text, field.labels)
                    shares[field.name] = np.full(
                        len(field.labels), (1 - self.sure) / (len(field.labels) - 1), np.float32
                    )
                    shares[field.name][field.labels.index(label)] = self.sure
                yield question, Answer(question.id, content, shares, (call,))
            elif question.purpose == "describe":
                descriptions = [
                    {
                        "label": label,
                        "description": f"about a {label}",
                        "cues": [{"phrase": word, "score": 8, "instead": ""} for word in words.split()[:4]],
                    }
                    for label, words in WORDS_OF.items()
                    if f'"{label}"' in json.dumps(question.reply)
                ]
                yield question, Answer(question.id, {"labels": descriptions}, None, (call,))

    def texts(self, purpose: str = "label") -> list[str]:
        return [question.text for question in self.asked if question.purpose == purpose]


def label_of(text: str, labels: Sequence[str]) -> str:
    """The label of the first word that belongs to one of the labels."""
    return next(label for word in text.split() for label in labels if word in WORDS_OF.get(label, "").split())
