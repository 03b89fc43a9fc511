"""A teacher that is asked by file: the requests of many questions, and the replies to them, in the format of OpenAI's
Batch API and its imitators. It is slower, at half the price."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ml_backend.core.teacher_types import REASONING_TOKENS, SAMPLES_PER_LABEL, Answer, Call, Question, TeacherOptions
from plugins.teachers import chat_completions, chat_messages, stated_confidence

URL = "/v1/chat/completions"


class BatchTeacher:
    """Answers no question itself: questions wait until they are exported to a file."""

    def __init__(self, options: TeacherOptions) -> None:
        self._model = options.model

    @property
    def name(self) -> str:
        return f"batch:{self._model}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        return iter(())

    @staticmethod
    def write(questions: Iterable[Question], options: TeacherOptions) -> Iterator[str]:
        """Yields one line for each question, without the line break. No server can reject a parameter here and be
        asked again, so `options.probabilities` decides which parameters are sent: `stated`, the default, leaves out all
        that a model may reject, `samples` leaves out log-probabilities and temperature. A reply may be longer than the
        question says by REASONING_TOKENS tokens."""
        source = "stated" if options.probabilities == "auto" else options.probabilities
        rejected = {"stated": {"temperature", "max_tokens"}, "samples": {"temperature"}}.get(source, set())
        for question in {question.id: with_reasoning_tokens(question) for question in questions}.values():
            source_of_question = source if question.fields else "none"
            body = chat_messages.body(
                stated_confidence.with_confidence(question) if source_of_question == "stated" else question,
                options.model,
                logprobs=source_of_question == "logprobs",
                samples=SAMPLES_PER_LABEL if source_of_question == "samples" else 1,
                rejected=rejected,
            )
            yield json.dumps({"custom_id": question.id, "method": "POST", "url": URL, "body": body})

    @staticmethod
    def read(lines: Iterable[str], questions: Mapping[str, Question], ignored: Counter[str]) -> Iterator[Answer]:
        """Yields the answers in the lines to these questions, by their ids. Other lines are counted in `ignored`, each
        under one reason: `unreadable`, such as half a line at the end of a file; `question`, a request; `unknown`, a
        reply to another question; or `repeated`, a further reply after a usable one."""
        answered: set[str] = set()
        for line in lines:
            if not line.strip():
                continue
            entry = _entry(line)
            question_id = entry.get("custom_id") if entry is not None else None
            if entry is None or not isinstance(question_id, str):
                ignored["unreadable"] += 1
            elif "body" in entry and "response" not in entry and "error" not in entry:
                ignored["question"] += 1
            elif question_id not in questions:
                ignored["unknown"] += 1
            elif question_id in answered:
                ignored["repeated"] += 1
            else:
                answer = _answer(questions[question_id], entry)
                if answer.content is not None:
                    answered.add(question_id)  # after an unusable reply, a usable one may follow
                yield answer


def with_reasoning_tokens(question: Question) -> Question:
    """Returns the question with more tokens for a model that reasons before it answers."""
    return replace(question, longest=question.longest + REASONING_TOKENS)


def _answer(question: Question, entry: Mapping[str, Any]) -> Answer:
    response, error = _mapping(entry.get("response")), _mapping(entry.get("error"))
    reply, status = response.get("body"), response.get("status_code")
    if error or status != 200:
        code = error.get("code") or _mapping(_mapping(reply).get("error")).get("code")
        kind = code if isinstance(code, str) and chat_completions.ERROR_CODE.fullmatch(code) else "unknown error"
        reason = f"{status}, {kind}" if isinstance(status, int) else kind
        problem = f"The batch has no reply to this question ({reason})."
        return Answer(question.id, None, None, (Call("", 0.0, 0, 0, "failed"),), problem)
    model = _mapping(reply).get("model")
    reading = chat_messages.read(with_reasoning_tokens(question), reply)
    if reading.content is None and question.fields:  # the question may have asked for stated probabilities
        stated = chat_messages.read(stated_confidence.with_confidence(with_reasoning_tokens(question)), reply)
        if stated.content is not None:
            reading = stated._replace(content=stated_confidence.without_confidence(question, stated.content))
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
