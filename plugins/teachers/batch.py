"""A teacher that is asked by file: the requests of many questions, and the replies to them, as OpenAI's Batch API and
those who follow it have them. Slower, and for half the price.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ml_backend.core.teacher_types import REASONING, SAMPLES, Answer, Call, Question, TeacherOptions
from plugins.teachers import chat_completions, chat_messages, label_probabilities

URL = "/v1/chat/completions"
_WORD = re.compile(r"[a-z_]{3,60}")


class BatchTeacher:
    """Answers nothing: its questions wait until somebody exports them."""

    def __init__(self, options: TeacherOptions) -> None:
        self._model = options.model

    @property
    def name(self) -> str:
        return f"batch:{self._model}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        return iter(())


def write(questions: Iterable[Question], options: TeacherOptions) -> Iterator[str]:
    """A line for each question, without its end. No server is here to say what it refuses, so `options.probabilities`
    decide: `stated`, the default, asks for nothing that a model may refuse, `samples` for no log-probabilities and no
    temperature. A reply may be longer by REASONING tokens.
    """
    source = "stated" if options.probabilities == "auto" else options.probabilities
    without = {"stated": {"temperature", "max_tokens"}, "samples": {"temperature"}}.get(source, set())
    for question in {question.id: roomy(question) for question in questions}.values():
        asked = label_probabilities.stating(question) if question.field and source == "stated" else question
        logprobs, samples = question.field and source == "logprobs", question.field and source == "samples"
        body = chat_messages.body(
            asked, options.model, logprobs=bool(logprobs), samples=SAMPLES if samples else 1, without=without
        )
        yield json.dumps({"custom_id": question.id, "method": "POST", "url": URL, "body": body})


def read(lines: Iterable[str], questions: Mapping[str, Question], ignored: Counter[str]) -> Iterator[Answer]:
    """The answers that the lines hold to these questions, by their ids. A line that is none is counted in `ignored`: as
    unreadable, such as half a line at the end of a file; unknown, to a question that is not among these; or repeated.
    """
    seen: set[str] = set()
    for line in lines:
        if not line.strip():
            continue
        entry = _entry(line)
        asked = entry.get("custom_id") if entry is not None else None
        if entry is None or not isinstance(asked, str):
            ignored["unreadable"] += 1
        elif "body" in entry and "response" not in entry and "error" not in entry:
            ignored["question"] += 1
        elif asked not in questions:
            ignored["unknown"] += 1
        elif asked in seen:
            ignored["repeated"] += 1
        else:
            answer = _answer(questions[asked], entry)
            if answer.content is not None:
                seen.add(asked)  # after a reply of no use, there may be one of use
            yield answer


def roomy(question: Question) -> Question:
    """The question with room for a model that reasons before it answers."""
    return replace(question, longest=question.longest + REASONING)


def _answer(question: Question, entry: Mapping[str, Any]) -> Answer:
    response, error = _mapping(entry.get("response")), _mapping(entry.get("error"))
    reply, status = response.get("body"), response.get("status_code")
    if error or status != 200:
        code = error.get("code") or _mapping(_mapping(reply).get("error")).get("code")
        kind = code if isinstance(code, str) and _WORD.fullmatch(code) else "unknown error"
        said = f"{status}, {kind}" if isinstance(status, int) else kind
        problem = f"The batch has no reply to this question ({said})."
        return Answer(question.id, None, None, (Call("", 0.0, 0, 0, "failed"),), problem)
    model = _mapping(reply).get("model")
    reading = chat_messages.read(roomy(question), reply)
    if reading.content is None and question.field:  # it may have been asked to state how sure it is
        stated = chat_messages.read(label_probabilities.stating(roomy(question)), reply)
        if stated.content is not None:
            reading = stated._replace(content=label_probabilities.unstated(question, stated.content))
    call = chat_completions.call(
        chat_messages.body(question, model if isinstance(model, str) else ""), 0.0, reply, reading.outcome
    )
    return Answer(question.id, reading.content, reading.shares, (call,), reading.problem)


def _entry(line: str) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, Mapping) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
