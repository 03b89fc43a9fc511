"""How the tests ask the teacher behind a scripted server."""

from __future__ import annotations

import random
from typing import Any

from scripted_server import (
    KEY,
    LABELS,
    Reply,
    Request,
    choice,
    completion,
    label,
    likely_label,
    question,
    refuse,
    serving,
)
from teacher_contract import check

from ml_backend.core.teacher_types import Answer, Question, TeacherOptions
from plugins.teachers.openai import OpenAITeacher


def make(url: str, **values: Any) -> OpenAITeacher:
    options = {"model": "small", "url": url, "key": KEY, "timeout": 10.0, "concurrency": 1, **values}
    return OpenAITeacher(TeacherOptions(**options), backoff=0.001)


def ask(teacher: OpenAITeacher, *questions: Question) -> list[Answer]:
    answers = list(teacher.answer(questions))
    check(questions, answers)
    return answers


def one(script: Any, asked: Question | None = None, **values: Any) -> tuple[Answer, list[Request]]:
    """The answer to one question by a new teacher, and the requests that it took."""
    with serving(script) as server:
        (answer,) = ask(make(server.url, **values), asked or question())
    return answer, server.requests


def outcomes(answer: Answer) -> list[str]:
    return [call.outcome for call in answer.calls]


def obliging(request: Request, number: int) -> Reply:
    """What the question's schema wants, by chance, sometimes without log-probabilities."""
    chance = random.Random(number)
    properties = request.body["response_format"]["json_schema"]["schema"]["properties"]
    if "labels" in properties:
        return Reply(completion(choice({"labels": chance.sample(LABELS, chance.randint(0, 3))})))
    return Reply(likely_label(chance.choice(LABELS)))


def lying(request: Request, number: int) -> Reply:
    chance = random.Random(number)
    said = [label("nonsense"), completion(choice(request.text)), completion(choice({"labels": ["nonsense"]}))]
    said += [label(finish_reason="length"), label(finish_reason="content_filter"), {}, [], completion(choice(None))]
    return chance.choice([Reply(chance.choice(said)), Reply(b"<html>"), refuse(400, request.text), refuse(500)])
