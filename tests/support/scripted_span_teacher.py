"""A teacher of spans that answers from a script: it knows the names and places of `span_sentences`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scripted_teacher import ScriptedTeacher
from span_project import NAMES, PLACES

from ml_backend.core.teacher_types import Answer, Call, Question

LABEL_OF = {**dict.fromkeys(NAMES, "Person"), **dict.fromkeys(PLACES, "Place")}


class ScriptedSpanTeacher(ScriptedTeacher):
    """Marks each name and each place of a text."""

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        for question in questions:
            self.before_answers()
            self.asked.append(question)
            content = {field.name: self.reply(question.text) for field in question.value_fields}
            yield question, Answer(question.id, content, None, (Call("m", 0.1, 100, 10, "answered"),))

    def reply(self, text: str) -> dict[str, Any]:
        spans = [
            {"text": word, "label": label, "occurrence": 1, "before": "", "p": self.sure}
            for word, label in LABEL_OF.items()
            if word in text
        ]
        return {"spans": spans, "ambiguous": False}
