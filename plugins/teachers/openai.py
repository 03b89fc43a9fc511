"""The teacher behind an OpenAI-style endpoint: OpenAI, Azure, vLLM, Ollama, llama.cpp and others.

It drafts labels with their probabilities: from the log-probabilities of the tokens, or, where a server gives none, from
how often five replies agree (self-consistency: Wang et al., arXiv 2203.11171). With `logprobs` or `stated` chosen, a
question is never asked more than once for its probabilities.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import SAMPLES, Answer, Call, Question, TeacherOptions, most_calls, most_replies
from plugins.teachers import chat_messages, label_probabilities
from plugins.teachers.async_bridge import iterate
from plugins.teachers.chat_completions import Endpoint, NoReplyError, RequestRejectedError, call
from plugins.teachers.chat_messages import Reading

BREAKER = 3  # questions in a row without a reply, after which no other is sent
COOL_DOWN = 60.0


class OpenAITeacher:
    """`backoff`: seconds of the first pause between two tries at the same request; each further one is twice as long.

    What the server refuses or does not give is found out once and remembered as long as the teacher lives.
    """

    def __init__(self, options: TeacherOptions, *, backoff: float = 0.5) -> None:
        self._options = options
        self._backoff = backoff
        self._without: frozenset[str] = frozenset()
        self._failures = 0  # in a row

    @property
    def name(self) -> str:
        """Without its address: nothing is asked again because it moved."""
        return f"openai:{self._options.model}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """A reply that is of no use is asked for once more, then the question has an answer without content. A question
        that got no reply has one, too, whose last call failed; one that the server does not take was refused, if that
        is because of its text: the server says so, or takes other questions that it is sent afterwards.
        """
        if not self._options.model:
            raise TeacherUnavailableError("The teacher has no model: set teacher_model.", fatal=True)
        if not self._options.url and not self._options.key:  # nobody has said that texts may go to OpenAI
            raise TeacherUnavailableError(
                "The teacher has no address: set APPRENTICE_TEACHER_URL, or APPRENTICE_TEACHER_KEY for OpenAI's own.",
                fatal=True,
            )
        yield from iterate(self._answers(list({question.id: question for question in questions}.values())))

    async def _answers(self, questions: Sequence[Question]) -> AsyncGenerator[Answer]:
        waiting = iter(questions)
        running: set[asyncio.Task[tuple[list[Answer], TeacherUnavailableError | None]]] = set()
        doubtful: dict[str, Answer] = {}  # refused, perhaps as all others would be
        unavailable: TeacherUnavailableError | None = None
        async with Endpoint(self._options, self._backoff) as endpoint:
            try:
                while True:
                    while len(running) < self._options.concurrency and (question := next(waiting, None)) is not None:
                        running.add(asyncio.create_task(self._ask(endpoint, question, doubtful)))
                    if not running:
                        break
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    results = [task.result() for task in done]
                    for answers, _ in results:
                        for answer in answers:
                            yield answer
                    unavailable = next((why for _, why in results if why is not None), unavailable)
                    if unavailable is not None:
                        waiting = iter(())  # what is under way is paid, so it is waited for
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        for answer in doubtful.values():
            yield answer
        if unavailable is not None:
            raise unavailable

    async def _ask(
        self, endpoint: Endpoint, question: Question, doubtful: dict[str, Answer]
    ) -> tuple[list[Answer], TeacherUnavailableError | None]:
        """What came of one question, and of those that were `doubtful` before it; why nobody should ask another one."""
        calls: list[Call] = []
        unavailable: TeacherUnavailableError | None = None
        earlier = list(doubtful)
        try:
            reading = await self._once(endpoint, question, calls, "")
            if reading.content is None:
                reading = await self._once(endpoint, question, calls, reading.problem)
            self._failures = 0
            refused = [_refused(doubtful.pop(each)) for each in earlier if each in doubtful]
            return [*refused, Answer(question.id, reading.content, reading.shares, tuple(calls), reading.problem)], None
        except (RequestRejectedError, NoReplyError) as error:
            problem, of_the_text = str(error), isinstance(error, RequestRejectedError) and error.of_the_text
            self._failures += not of_the_text
            if self._failures >= BREAKER:
                more = f"{problem} {self._failures} questions in a row got no reply."
                pause = error.retry_after if isinstance(error, NoReplyError) else None
                unavailable = TeacherUnavailableError(more, pause or COOL_DOWN)
            if isinstance(error, RequestRejectedError) and not of_the_text:
                doubtful[question.id] = Answer(question.id, None, None, tuple(calls), problem)
                return [], unavailable
        except TeacherUnavailableError as error:
            problem, unavailable = str(error), error
        return [Answer(question.id, None, None, tuple(calls), problem)], unavailable

    async def _once(self, endpoint: Endpoint, question: Question, calls: list[Call], problem: str) -> Reading:
        """One reply, or several where probabilities need them; `problem` is that of the one before."""
        source = self._options.probabilities if question.field else "none"
        if source == "samples" or (source == "auto" and "logprobs" in self._without):
            return await self._sampled(endpoint, question, calls, problem, [])
        if source == "stated":
            asked = label_probabilities.stating(question)
            _, readings = await self._send(endpoint, asked, calls, problem)
            reading = chat_messages.combine(asked, readings)
            return reading._replace(content=label_probabilities.unstated(question, reading.content))
        logprobs = source in ("auto", "logprobs")
        reply, readings = await self._send(endpoint, question, calls, problem, logprobs=logprobs)
        reading = chat_messages.combine(question, readings)
        if source == "auto" and reading.content is not None and not chat_messages.gives_logprobs(reply):
            self._without |= {"logprobs"}
            return await self._sampled(endpoint, question, calls, problem, readings)
        return reading

    async def _sampled(
        self, endpoint: Endpoint, question: Question, calls: list[Call], problem: str, readings: Sequence[Reading]
    ) -> Reading:
        """Several replies as one: from one request if the server takes that, else from a request each."""
        found, drawn = list(readings), 0
        while drawn < SAMPLES:
            _, more = await self._send(endpoint, question, calls, problem, samples=SAMPLES, number=drawn)
            found += more
            drawn += len(more)
            if all(reading.content is None for reading in found):
                break  # it has to be told what is wrong
            if len(more) < SAMPLES:
                self._without |= {"n"}
        return chat_messages.combine(question, found)

    async def _send(
        self,
        endpoint: Endpoint,
        question: Question,
        calls: list[Call],
        problem: str,
        *,
        logprobs: bool = False,
        samples: int = 1,
        number: int = 0,
    ) -> tuple[Any, list[Reading]]:
        """The reply and its readings. A parameter that the server refuses is left out, and remembered if that helps."""
        refused: frozenset[str] = frozenset()
        most = most_calls(most_replies(self._options.probabilities) if question.field else 1)
        while True:
            without = self._without | refused
            body = chat_messages.body(
                question, self._options.model, logprobs=logprobs, samples=samples, problem=problem, without=without
            )
            same = json.dumps([question.id, number, body])
            try:
                reply, seconds = await endpoint.post(
                    body, blake2b(same.encode(), digest_size=16).hexdigest(), calls, most
                )
            except RequestRejectedError as error:
                if not error.parameter:
                    raise
                of_bounds = error.parameter == "response_format" and chat_messages.has_bounds(body)
                refused |= {chat_messages.BOUNDS if of_bounds else error.parameter}
                continue
            self._without |= refused
            readings = chat_messages.readings(question, reply)
            outcome = chat_messages.combine(question, readings).outcome
            calls.append(call(body, seconds, reply, outcome))
            return reply, readings


def _refused(answer: Answer) -> Answer:
    """A question that was refused and not because of the server, which has taken another one since."""
    return replace(answer, calls=(*answer.calls[:-1], replace(answer.calls[-1], outcome="refused")))
