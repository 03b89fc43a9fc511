"""A chat-completions endpoint: sends a request, retries where that helps, and classifies the failures."""

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
from ml_backend.core.teacher_types import BYTES_PER_TOKEN, MAX_FAILED_CALLS, Call, TeacherOptions

if TYPE_CHECKING:
    from openai import APIStatusError

OPENAI_URL = "https://api.openai.com/v1"
MAX_TRIES = 1 + MAX_FAILED_CALLS
MAX_PAUSE_SECONDS = 60.0  # a server that asks for more counts as unavailable
ERROR_CODE = re.compile(r"[a-z_]{3,60}")
"""The form of an error code that may be shown. Other messages of a server may quote a text."""
_VALID_KEY = re.compile(r"[!-~]*")
_TEMPORARY_STATUSES = {408, 409, 425, 429}
_TIMEOUT_STATUSES = {408, 504, 524}  # the model behind the proxy may still be at work
_NOT_SENT_ERRORS = {"ConnectError", "ConnectTimeout", "PoolTimeout"}  # classes of httpx, which the library wraps
_NO_CREDIT_CODES = {"insufficient_quota", "insufficient_balance", "billing_hard_limit_reached", "billing_not_active"}
_TEXT_REJECTION = re.compile(
    r"content[ _](?:filter|polic|management)|moderation|context[ _](?:length|size|window)|(?:prompt|input) is too long",
    re.I,
)
_PARAMETER_PATTERNS = {
    "logprobs": r"logprobs",
    "response_format": r"response_format|schema|grammar",
    "max_tokens": r"max_tokens",
    "temperature": r"temperature",
    "n": r"(?:\A|['\"`])n(?:\Z|['\"`])",
}


class NoReplyError(Exception):
    """No try brought a reply. `retry_after`: seconds that the server asked for, if it did."""

    def __init__(self, problem: str, retry_after: float | None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class RequestRejectedError(Exception):
    """The server rejects this request: because of the `parameter` that it names, if any; because of its text, which is
    filtered or too long (`is_about_text`); or for a reason that may concern all requests."""

    def __init__(self, problem: str, parameter: str, *, is_about_text: bool) -> None:
        super().__init__(problem)
        self.parameter = parameter
        self.is_about_text = is_about_text


class Endpoint:
    """Created and used inside one event loop. `backoff`: upper limit in seconds of the first random pause between two
    tries."""

    def __init__(self, options: TeacherOptions, backoff: float) -> None:
        from openai import AsyncOpenAI

        self._options = options
        self._backoff = backoff
        self._paused_until = 0.0
        self._server = f"The teacher's server at {host(options.url)}"
        if not _VALID_KEY.fullmatch(options.key):
            raise TeacherUnavailableError(
                "APPRENTICE_TEACHER_KEY contains a space, a line break or a character outside ASCII: set it to the key "
                "alone.",
                fatal=True,
            )
        self._client = AsyncOpenAI(
            base_url=options.url or OPENAI_URL,
            api_key=options.key or "none",  # never the key in the library's own variable: it may be for another server
            timeout=options.timeout,
            max_retries=0,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._client.close()

    async def post(self, body: Mapping[str, Any], key: str, calls: list[Call], max_calls: int) -> tuple[Any, float]:
        """Returns the reply, None if it is no JSON, and the seconds it took. Appends each failed call to `calls`, which
        may have `max_calls` entries. A failed call that may have been paid for has the expected tokens. `key` lets the
        server recognise a repeated request. Raises NoReplyError, RequestRejectedError, TeacherUnavailableError."""
        import openai

        problem, pause = f"{self._server} was called {max_calls} times without a usable reply.", None
        for attempt in range(min(MAX_TRIES, max_calls - len(calls))):
            await asyncio.sleep(max(0.0, self._paused_until - time.monotonic()))
            start, rejection, pause, tokens = time.monotonic(), None, None, (0, 0)
            try:
                async with asyncio.timeout(self._options.timeout):
                    response = await self._client.chat.completions.with_raw_response.create(
                        **body, extra_headers={"Idempotency-Key": key}
                    )
                return _parsed(response.content), time.monotonic() - start
            except (openai.APIConnectionError, TimeoutError) as error:
                is_late = isinstance(error, openai.APITimeoutError | TimeoutError)
                failure = f"did not reply within {self._options.timeout:g} s" if is_late else "cannot be reached"
                problem = f"{self._server} {failure}."
                if type(error.__cause__).__name__ not in _NOT_SENT_ERRORS:
                    tokens = expected_tokens(body)
            except openai.APIStatusError as error:
                problem = f"{self._server} replied with status {error.status_code}."
                rejection = self._rejection(error, body)
                pause = retry_after(error.response.headers.get("retry-after", ""), datetime.now(UTC))
                if error.status_code in _TIMEOUT_STATUSES:
                    tokens = expected_tokens(body)
            is_final = isinstance(rejection, RequestRejectedError) and rejection.is_about_text
            outcome: Literal["refused", "failed"] = "refused" if is_final else "failed"
            calls.append(Call(self._options.model, time.monotonic() - start, *tokens, outcome))
            if rejection is not None:
                raise rejection  # raised outside the handler, so that the server's message is not chained
            if pause is not None:
                if pause > MAX_PAUSE_SECONDS:
                    raise TeacherUnavailableError(problem, pause)
                self._paused_until = max(self._paused_until, time.monotonic() + pause)  # holds for all questions
            elif attempt < MAX_TRIES - 1:
                await asyncio.sleep(random.uniform(0, self._backoff * 2**attempt))  # noqa: S311 not a secret
        raise NoReplyError(problem, pause)

    def _rejection(
        self, error: APIStatusError, body: Mapping[str, Any]
    ) -> TeacherUnavailableError | RequestRejectedError | None:
        """Returns the error to raise; None if the same request may succeed later."""
        status, codes = error.status_code, [str(error.code), str(error.type)]
        if status == 402 or _NO_CREDIT_CODES.intersection(codes):
            fault = "reports that no credit is left", "top up the account, or set APPRENTICE_TEACHER_KEY", "server"
        elif status in (401, 403):
            fault = "refuses the key", "set APPRENTICE_TEACHER_KEY", "server"
        elif status == 404:
            fault = f'has no model "{self._options.model}"', "set teacher_model", "address"
        elif status in _TEMPORARY_STATUSES or status >= 500:
            return None
        else:
            code = next((f", {name}" for name in codes if ERROR_CODE.fullmatch(name)), "")
            problem = f"{self._server} refuses the request ({status}{code})."
            if _TEXT_REJECTION.search(" ".join((*codes, error.message))):
                return RequestRejectedError(problem, "", is_about_text=True)
            message = error.param or error.message
            parameters = (
                name for name, pattern in _PARAMETER_PATTERNS.items() if name in body and re.search(pattern, message)
            )
            return RequestRejectedError(problem, next(parameters, ""), is_about_text=False)
        complaint, remedy, wrong_setting = fault
        advice = f"{remedy}, or APPRENTICE_TEACHER_URL if that is the wrong {wrong_setting}"
        return TeacherUnavailableError(f"{self._server} {complaint} ({status}): {advice}.", fatal=True)


def expected_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """Returns the estimated number of tokens of a request and the maximum number of tokens of the replies to it, for
    use where the server reports no counts."""
    texts = [message["content"] for message in body["messages"]]
    prompt = "".join([*texts, json.dumps(body.get("response_format", ""), ensure_ascii=False)])
    max_reply_tokens = body.get("max_tokens", body.get("max_completion_tokens", 0))
    return len(prompt.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1, max_reply_tokens * body.get("n", 1)


def call(
    body: Mapping[str, Any], seconds: float, reply: object, outcome: Literal["answered", "malformed", "refused"]
) -> Call:
    """Returns the call that brought this reply, with the tokens that the server reports, else with the expected
    ones."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    keys = "prompt_tokens", "completion_tokens"
    usage_counts = [usage.get(name) for name in keys] if isinstance(usage, Mapping) else []
    valid_counts = [count for count in usage_counts if isinstance(count, int) and count >= 0]
    input_tokens, output_tokens = valid_counts if len(valid_counts) == 2 and valid_counts[0] else expected_tokens(body)
    return Call(body["model"], seconds, input_tokens, output_tokens, outcome)


def host(url: str) -> str:
    """Returns host and port of an endpoint, without secret parts of its address."""
    parts = urlsplit(url or OPENAI_URL)
    return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")


def retry_after(header: str, now: datetime) -> float | None:
    """Returns the seconds that a Retry-After header asks for, as a number or as a date; None if it has neither."""
    with suppress(ValueError):
        seconds = float(header)
        return max(seconds, 0.0) if seconds < float("inf") else None
    with suppress(ValueError):
        date = parsedate_to_datetime(header)
        return max((date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds(), 0.0)
    return None


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
