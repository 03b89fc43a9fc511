"""The teacher behind an OpenAI-style endpoint: OpenAI, Azure, vLLM, Ollama, llama.cpp and others.

The probabilities of labels come from the log-probabilities of the tokens or, where a server gives none, from the
frequency among five replies (self-consistency: Wang et al., arXiv 2203.11171). With the setting `logprobs` or `stated`,
no additional reply is requested for probabilities.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import (
    SAMPLES_PER_LABEL,
    Answer,
    Call,
    Question,
    TeacherOptions,
    max_calls,
    max_replies,
)
from plugins.teachers import chat_messages, stated_confidence
from plugins.teachers.async_bridge import iterate
from plugins.teachers.chat_completions import Endpoint, NoReplyError, RequestRejectedError, call
from plugins.teachers.chat_messages import Reading

MAX_FAILURES_IN_A_ROW = 3  # after as many questions in a row without a reply, no other is sent
COOL_DOWN_SECONDS = 60.0  # until the next attempt after that, unless the server asks for another pause


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for replies to one question.

    problem   what was wrong with the previous reply, "" for none
    logprobs  whether log-probabilities are wanted
    samples   the number of replies
    number    number of samples before this request; the key that marks repeated requests depends on it
    """

    question: Question
    problem: str
    logprobs: bool = False
    samples: int = 1
    number: int = 0


class OpenAITeacher:
    """`backoff`: upper limit in seconds of the first random pause between two tries of a request; it doubles with each
    try.

    A parameter that the server rejects, or log-probabilities that it does not return, are remembered for the life of
    the instance.
    """

    def __init__(self, options: TeacherOptions, *, backoff: float = 0.5) -> None:
        self._options = options
        self._backoff = backoff
        self._rejected: frozenset[str] = frozenset()
        self._failures_in_a_row = 0

    @property
    def name(self) -> str:
        """The name has no address, so that no question is asked again after the server has moved."""
        return f"openai:{self._options.model}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """After an unusable reply, the question is asked once more; after another, its answer has no content. A
        question without a reply has an answer without content, whose last call failed. The last call of a question that
        the server rejects because of its text is `refused` instead: the server says so, or accepts a question that is
        sent afterwards."""
        if not self._options.model:
            raise TeacherUnavailableError("The teacher has no model: set teacher_model.", fatal=True)
        if not self._options.url and not self._options.key:  # without a setting, no text goes to OpenAI
            raise TeacherUnavailableError(
                "The teacher has no address: set APPRENTICE_TEACHER_URL, or APPRENTICE_TEACHER_KEY for OpenAI's own.",
                fatal=True,
            )
        yield from iterate(self._answers(list({question.id: question for question in questions}.values())))

    async def _answers(self, questions: Sequence[Question]) -> AsyncGenerator[Answer]:
        waiting = iter(questions)
        running: set[asyncio.Task[tuple[list[Answer], TeacherUnavailableError | None]]] = set()
        rejected: dict[str, Answer] = {}  # by question id; the server may reject all other questions, too
        unavailable: TeacherUnavailableError | None = None
        async with Endpoint(self._options, self._backoff) as endpoint:
            try:
                while True:
                    while len(running) < self._options.concurrency and (question := next(waiting, None)) is not None:
                        running.add(asyncio.create_task(self._ask(endpoint, question, rejected)))
                    if not running:
                        break
                    finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    results = [task.result() for task in finished]
                    for answers, _ in results:
                        for answer in answers:
                            yield answer
                    unavailable = next((error for _, error in results if error is not None), unavailable)
                    if unavailable is not None:
                        waiting = iter(())  # requests under way are paid for, so their replies are awaited
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        for answer in rejected.values():
            yield answer
        if unavailable is not None:
            raise unavailable

    async def _ask(
        self, endpoint: Endpoint, question: Question, rejected: dict[str, Answer]
    ) -> tuple[list[Answer], TeacherUnavailableError | None]:
        """Returns the answer to one question, after those to the questions that were `rejected` before it and are
        refused now that the server has accepted one, and the error if no further question should be asked. A question
        that is rejected gets no answer yet, and is added to `rejected`."""
        calls: list[Call] = []
        unavailable: TeacherUnavailableError | None = None
        earlier_rejected = list(rejected)
        try:
            reading = await self._read_once(endpoint, question, calls, "")
            if reading.content is None:
                reading = await self._read_once(endpoint, question, calls, reading.problem)
            self._failures_in_a_row = 0
            refused = [
                _with_refused_call(rejected.pop(question_id))
                for question_id in earlier_rejected
                if question_id in rejected
            ]
            return [*refused, Answer(question.id, reading.content, reading.shares, tuple(calls), reading.problem)], None
        except (RequestRejectedError, NoReplyError) as error:
            problem, is_about_text = str(error), isinstance(error, RequestRejectedError) and error.is_about_text
            self._failures_in_a_row += not is_about_text
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                message = f"{problem} {self._failures_in_a_row} questions in a row got no reply."
                pause = error.retry_after if isinstance(error, NoReplyError) else None
                unavailable = TeacherUnavailableError(message, pause or COOL_DOWN_SECONDS)
            if isinstance(error, RequestRejectedError) and not is_about_text:
                rejected[question.id] = Answer(question.id, None, None, tuple(calls), problem)
                return [], unavailable
        except TeacherUnavailableError as error:
            problem, unavailable = str(error), error
        return [Answer(question.id, None, None, tuple(calls), problem)], unavailable

    async def _read_once(self, endpoint: Endpoint, question: Question, calls: list[Call], problem: str) -> Reading:
        """Returns the reading of one reply, or of several where probabilities need them. `problem`: that of the
        previous reply, "" if there is none."""
        source = self._options.probabilities if question.fields else "none"
        if source == "samples" or (source == "auto" and "logprobs" in self._rejected):
            return await self._sampled(endpoint, question, calls, problem, [])
        if source == "stated":
            with_confidence = stated_confidence.with_confidence(question)
            _, readings = await self._send(endpoint, _Request(with_confidence, problem), calls)
            reading = chat_messages.combine(with_confidence, readings)
            return reading._replace(content=stated_confidence.without_confidence(question, reading.content))
        wants_logprobs = source in ("auto", "logprobs")
        reply, readings = await self._send(endpoint, _Request(question, problem, logprobs=wants_logprobs), calls)
        reading = chat_messages.combine(question, readings)
        if source == "auto" and reading.content is not None and not chat_messages.gives_logprobs(reply):
            self._rejected |= {"logprobs"}
            return await self._sampled(endpoint, question, calls, problem, readings)
        return reading

    async def _sampled(
        self, endpoint: Endpoint, question: Question, calls: list[Call], problem: str, readings: Sequence[Reading]
    ) -> Reading:
        """Combines several replies: from one request if the server accepts that, else from one request each."""
        readings_so_far, sample_count = list(readings), 0
        while sample_count < SAMPLES_PER_LABEL:
            request = _Request(question, problem, samples=SAMPLES_PER_LABEL, number=sample_count)
            _, new_readings = await self._send(endpoint, request, calls)
            readings_so_far += new_readings
            sample_count += len(new_readings)
            if all(reading.content is None for reading in readings_so_far):
                break  # the next request has to say what is wrong
            if len(new_readings) < SAMPLES_PER_LABEL:
                self._rejected |= {"n"}
        return chat_messages.combine(question, readings_so_far)

    async def _send(self, endpoint: Endpoint, request: _Request, calls: list[Call]) -> tuple[Any, list[Reading]]:
        """Returns the reply and its readings. A parameter that the server rejects is left out, and remembered if that
        helps."""
        question = request.question
        newly_rejected: frozenset[str] = frozenset()
        call_limit = max_calls(max_replies(self._options.probabilities) if question.fields else 1)
        while True:
            rejected = self._rejected | newly_rejected
            body = chat_messages.body(
                question,
                self._options.model,
                logprobs=request.logprobs,
                samples=request.samples,
                problem=request.problem,
                rejected=rejected,
            )
            identity = json.dumps([question.id, request.number, body])
            try:
                reply, seconds = await endpoint.post(
                    body, blake2b(identity.encode(), digest_size=16).hexdigest(), calls, call_limit
                )
            except RequestRejectedError as error:
                if not error.parameter:
                    raise
                is_about_bounds = error.parameter == "response_format" and chat_messages.has_bounds(body)
                newly_rejected |= {chat_messages.BOUNDS if is_about_bounds else error.parameter}
                continue
            self._rejected |= newly_rejected
            readings = chat_messages.readings(question, reply)
            outcome = chat_messages.combine(question, readings).outcome
            calls.append(call(body, seconds, reply, outcome))
            return reply, readings


def _with_refused_call(answer: Answer) -> Answer:
    """Returns the answer with its last call as refused."""
    return replace(answer, calls=(*answer.calls[:-1], replace(answer.calls[-1], outcome="refused")))
