"""The tokens of a teacher's reply, as a server gives them with their log-probabilities, and where its labels are."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.teacher_types import Question

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPACE = re.compile(rb"\s*")


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reply from byte `start` to `stop`, and the probability of each that could have stood here."""

    start: int
    stop: int
    text: bytes
    likely: Mapping[bytes, float]


def read(logprobs: object) -> list[Token]:
    """The tokens of a reply, none if this is not what a server gives as log-probabilities."""
    found: list[Token] = []
    start = 0
    try:
        for entry in logprobs["content"]:  # type: ignore[index]
            text = _bytes(entry)
            likely = {_bytes(other): _probability(other) for other in entry.get("top_logprobs") or ()}
            found.append(Token(start, start + len(text), text, {text: _probability(entry)} | likely))
            start += len(text)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return []
    return found


def _bytes(entry: Mapping[str, Any]) -> bytes:
    """A token as bytes: of a character that is cut in two, only these are right."""
    given = entry.get("bytes")
    return entry["token"].encode("utf-8", "replace") if given is None else bytes([*given])


def _probability(entry: Mapping[str, Any]) -> float:
    probability = math.exp(min(float(entry["logprob"]), 0.0))
    return probability if probability > 0 else 0.0  # not a number is not above zero


def spans(spelled: bytes, question: Question, chosen: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where the labels stand in the reply's tokens: from the end of what is before to the end of each. Of several, the
    last one is the end of the list. There may be more in the tokens than the reply shows, such as a code fence.
    """
    key = re.escape(json.dumps(question.field).encode()) + rb"\s*:"
    for match in reversed(list(re.finditer(key, spelled))):
        start, found, values = match.end(), [], []
        if question.multiple:
            start = _skip(spelled, start) + 1
        for _ in chosen:
            comma = _skip(spelled, start)
            begin = _skip(spelled, comma + 1) if spelled[comma : comma + 1] == b"," else comma
            string = _STRING.match(spelled, begin)
            if string is None:
                break
            found.append((start, string.end()))
            values.append(_value(string[0]))
            start = string.end()
        if values != list(chosen):
            continue
        if not question.multiple:
            return found
        end = _skip(spelled, start) + 1
        if spelled[end - 1 : end] == b"]":
            return [*found, (start, end)]
    return None


def _skip(spelled: bytes, start: int) -> int:
    match = _SPACE.match(spelled, start)
    return match.end() if match else start


def _value(string: bytes) -> str | None:
    try:
        value: str = json.loads(string.decode())
    except ValueError:
        return None
    return value
