"""One chat-completions endpoint: sends a request, tries again where that helps, and says whose fault it is if not."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import BYTES_A_TOKEN, IN_VAIN, Call, TeacherOptions

if TYPE_CHECKING:
    from openai import APIStatusError

OPENAI = "https://api.openai.com/v1"
TRIES = 1 + IN_VAIN
LONGEST_PAUSE = 60.0  # seconds: a server that wants more is not there
_WORD = re.compile(r"[a-z_]{3,60}")
_KEY = re.compile(r"[!-~]*")
_LATER = {408, 409, 425, 429}
_TOO_LATE = {408, 504, 524}  # who is behind the one that says so may be at work
_NOT_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}  # of httpx, which the library has under several names
_NO_CREDIT = {"insufficient_quota", "insufficient_balance", "billing_hard_limit_reached", "billing_not_active"}
_OF_THE_TEXT = re.compile(
    r"content[ _](?:filter|polic|management)|moderation|context[ _](?:length|size|window)|(?:prompt|input) is too long",
    re.I,
)
_PARAMETERS = {
    "logprobs": r"logprobs",
    "response_format": r"response_format|schema|grammar",
    "max_tokens": r"max_tokens",
    "temperature": r"temperature",
    "n": r"(?:\A|['\"`])n(?:\Z|['\"`])",
}


class NoReplyError(Exception):
    """No try brought a reply. `retry_after`: what the server asked for, if it did."""

    def __init__(self, problem: str, retry_after: float | None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class RequestRejectedError(Exception):
    """The server does not take this request: for the `parameter` that it names, if any; or because of its text, which
    is filtered or too long; or for a reason that may be of all requests.
    """

    def __init__(self, problem: str, parameter: str, *, of_the_text: bool) -> None:
        super().__init__(problem)
        self.parameter = parameter
        self.of_the_text = of_the_text


class Endpoint:
    """Made and used inside one event loop. `backoff`: seconds of the first pause between two tries, on average half."""

    def __init__(self, options: TeacherOptions, backoff: float) -> None:
        from openai import AsyncOpenAI

        self._options = options
        self._backoff = backoff
        self._quiet_until = 0.0
        self._server = f"The teacher's server at {host(options.url)}"
        if not _KEY.fullmatch(options.key):
            raise TeacherUnavailableError("APPRENTICE_TEACHER_KEY has characters that no key has.", fatal=True)
        self._client = AsyncOpenAI(
            base_url=options.url or OPENAI,
            api_key=options.key or "none",  # not that of the library's own variable: it may be for another server
            timeout=options.timeout,
            max_retries=0,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._client.close()

    async def post(self, body: Mapping[str, Any], key: str, calls: list[Call], most: int) -> tuple[Any, float]:
        """The reply, None if it is no JSON, and the seconds it took. Notes each call in vain, if there are not as many
        as there may be; what has cost something, as far as one can tell, has the tokens that are expected. `key` tells
        the server whether it has had this request. Raises NoReplyError, RequestRejectedError, TeacherUnavailableError.
        """
        import openai

        problem, wait = f"{self._server} was asked {most} times.", None
        for attempt in range(min(TRIES, most - len(calls))):
            await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
            began, verdict, wait, tokens = time.monotonic(), None, None, (0, 0)
            try:
                async with asyncio.timeout(self._options.timeout):
                    raw = await self._client.chat.completions.with_raw_response.create(
                        **body, extra_headers={"Idempotency-Key": key}
                    )
                return _parsed(raw.content), time.monotonic() - began
            except (openai.APIConnectionError, TimeoutError) as error:
                late = isinstance(error, openai.APITimeoutError | TimeoutError)
                said = f"did not reply within {self._options.timeout:g} s" if late else "cannot be reached"
                problem = f"{self._server} {said}."
                if type(error.__cause__).__name__ not in _NOT_SENT:
                    tokens = expected(body)
            except openai.APIStatusError as error:
                problem = f"{self._server} said {error.status_code}."
                verdict = self._verdict(error, body)
                wait = retry_after(error.response.headers.get("retry-after", ""), datetime.now(UTC))
                if error.status_code in _TOO_LATE:
                    tokens = expected(body)
            final = isinstance(verdict, RequestRejectedError) and verdict.of_the_text
            outcome: Literal["refused", "failed"] = "refused" if final else "failed"
            calls.append(Call(self._options.model, time.monotonic() - began, *tokens, outcome))
            if verdict is not None:
                raise verdict  # here, where it does not drag along what the server said
            if wait is not None:
                if wait > LONGEST_PAUSE:
                    raise TeacherUnavailableError(problem, wait)
                self._quiet_until = max(self._quiet_until, time.monotonic() + wait)  # for all questions
            elif attempt < TRIES - 1:
                await asyncio.sleep(random.uniform(0, self._backoff * 2**attempt))  # noqa: S311 no secret
        raise NoReplyError(problem, wait)

    def _verdict(
        self, error: APIStatusError, body: Mapping[str, Any]
    ) -> TeacherUnavailableError | RequestRejectedError | None:
        """What to raise; None if the same request may do better later."""
        status, kinds = error.status_code, [str(error.code), str(error.type)]
        if status == 402 or _NO_CREDIT.intersection(kinds):
            what = "says that there is no credit left", "top up the account, or set APPRENTICE_TEACHER_KEY", "server"
        elif status in (401, 403):
            what = "refuses the key", "set APPRENTICE_TEACHER_KEY", "server"
        elif status == 404:
            what = f'knows no model "{self._options.model}"', "set teacher_model", "address"
        elif status in _LATER or status >= 500:
            return None
        else:
            kind = next((f", {name}" for name in kinds if _WORD.fullmatch(name)), "")
            problem = f"{self._server} refuses the request ({status}{kind})."
            if _OF_THE_TEXT.search(" ".join((*kinds, error.message))):
                return RequestRejectedError(problem, "", of_the_text=True)
            said = error.param or error.message
            named = (name for name, pattern in _PARAMETERS.items() if name in body and re.search(pattern, said))
            return RequestRejectedError(problem, next(named, ""), of_the_text=False)
        found, remedy, other = what
        advice = f"{remedy}, or APPRENTICE_TEACHER_URL if that is the wrong {other}"
        return TeacherUnavailableError(f"{self._server} {found} ({status}): {advice}.", fatal=True)


def expected(body: Mapping[str, Any]) -> tuple[int, int]:
    """The tokens of a request, and at most of the replies to it, where nobody has counted them."""
    said = [message["content"] for message in body["messages"]]
    told = "".join([*said, json.dumps(body.get("response_format", ""), ensure_ascii=False)])
    longest = body.get("max_tokens", body.get("max_completion_tokens", 0))
    return len(told.encode("utf-8", "replace")) // BYTES_A_TOKEN + 1, longest * body.get("n", 1)


def call(
    body: Mapping[str, Any], seconds: float, reply: object, outcome: Literal["answered", "malformed", "refused"]
) -> Call:
    """The call that brought this reply, with the tokens that the server counted, else those that are expected."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    names = "prompt_tokens", "completion_tokens"
    counts = [usage.get(name) for name in names] if isinstance(usage, Mapping) else []
    counted = [count for count in counts if isinstance(count, int) and count >= 0]
    sent, received = counted if len(counted) == 2 and counted[0] else expected(body)
    return Call(body["model"], seconds, sent, received, outcome)


def host(url: str) -> str:
    """Host and port of an endpoint, without what may be secret in its address."""
    parts = urlsplit(url or OPENAI)
    return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")


def retry_after(header: str, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date; None if it says nothing."""
    with suppress(ValueError):
        seconds = float(header)
        return max(seconds, 0.0) if seconds < float("inf") else None
    with suppress(ValueError):
        until = parsedate_to_datetime(header)
        return max((until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds(), 0.0)
    return None


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
