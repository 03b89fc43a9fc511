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


def create_teacher(url: str, **values: Any) -> OpenAITeacher:
    options = {"model": "small", "url": url, "key": KEY, "timeout": 10.0, "concurrency": 1, **values}
    return OpenAITeacher(TeacherOptions(**options), backoff=0.001)


def ask(teacher: OpenAITeacher, *questions: Question) -> list[Answer]:
    answers = list(teacher.answer(questions))
    check(questions, answers)
    return answers


def ask_one(script: Any, prompt: Question | None = None, **values: Any) -> tuple[Answer, list[Request]]:
    """Returns the answer of a new teacher to one question, and the requests that the server got."""
    with serving(script) as server:
        (answer,) = ask(create_teacher(server.url, **values), prompt or question())
    return answer, server.requests


def outcomes(answer: Answer) -> list[str]:
    return [call.outcome for call in answer.calls]


def reply_correctly(request: Request, number: int) -> Reply:
    """Returns a random reply that satisfies the question's schema, sometimes without log-probabilities."""
    generator = random.Random(number)
    properties = request.body["response_format"]["json_schema"]["schema"]["properties"]
    if "tone" in properties:
        content = {"Größe": generator.choice(LABELS), "tone": generator.sample(LABELS, generator.randint(0, 3))}
        return Reply(completion(choice(content)))
    if "labels" in properties:
        return Reply(completion(choice({"labels": generator.sample(LABELS, generator.randint(0, 3))})))
    return Reply(likely_label(generator.choice(LABELS)))


def reply_wrongly(request: Request, number: int) -> Reply:
    """Returns a random reply that is of no use."""
    generator = random.Random(number)
    replies: list[Any] = [
        label("nonsense"),
        completion(choice(request.text)),
        completion(choice({"labels": ["nonsense"]})),
    ]
    replies += [label(finish_reason="length"), label(finish_reason="content_filter"), {}, [], completion(choice(None))]
    return generator.choice(
        [Reply(generator.choice(replies)), Reply(b"<html>"), refuse(400, request.text), refuse(500)]
    )
