"""Reads the tokens of a teacher's reply with their log-probabilities, and finds its labels in them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.teacher_types import LabelField

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPACE = re.compile(rb"\s*")


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reply from byte `start` to `stop`, and the probability of each token that was possible here."""

    start: int
    stop: int
    text: bytes
    alternatives: Mapping[bytes, float]


def read(logprobs: object) -> list[Token]:
    """Returns the tokens of a reply; none if `logprobs` does not have the format of log-probabilities."""
    tokens: list[Token] = []
    start = 0
    try:
        for entry in logprobs["content"]:  # type: ignore[index]
            text = _token_bytes(entry)
            alternatives = {
                _token_bytes(alternative): _probability(alternative) for alternative in entry.get("top_logprobs") or ()
            }
            tokens.append(Token(start, start + len(text), text, {text: _probability(entry)} | alternatives))
            start += len(text)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return []
    return tokens


def _token_bytes(entry: Mapping[str, Any]) -> bytes:
    """Returns a token as bytes: where a character is split between tokens, only the field `bytes` is right."""
    encoded = entry.get("bytes")
    return entry["token"].encode("utf-8", "replace") if encoded is None else bytes([*encoded])


def _probability(entry: Mapping[str, Any]) -> float:
    probability = math.exp(min(float(entry["logprob"]), 0.0))
    return probability if probability > 0 else 0.0  # NaN is not above zero


def spans(reply_bytes: bytes, field: LabelField, chosen: Sequence[str]) -> list[tuple[int, int]] | None:
    """Returns the span of each label of a field in the reply's tokens, from the end of the previous value to the end of
    the label. For several labels, the last span is the end of the list. The tokens may contain more than the reply
    shows, such as a code fence."""
    forms = {json.dumps(field.name, ensure_ascii=escaped).encode("utf-8", "replace") for escaped in (False, True)}
    key = rb"(?:" + rb"|".join(map(re.escape, forms)) + rb")\s*:"
    for match in reversed(list(re.finditer(key, reply_bytes))):
        start, label_spans, values = match.end(), [], []
        if field.multiple:
            start = _skip_space(reply_bytes, start) + 1
        for _ in chosen:
            comma = _skip_space(reply_bytes, start)
            value_start = _skip_space(reply_bytes, comma + 1) if reply_bytes[comma : comma + 1] == b"," else comma
            string = _STRING.match(reply_bytes, value_start)
            if string is None:
                break
            label_spans.append((start, string.end()))
            values.append(_decoded(string[0]))
            start = string.end()
        if values != list(chosen):
            continue
        if not field.multiple:
            return label_spans
        end = _skip_space(reply_bytes, start) + 1
        if reply_bytes[end - 1 : end] == b"]":
            return [*label_spans, (start, end)]
    return None


def _skip_space(reply_bytes: bytes, start: int) -> int:
    match = _SPACE.match(reply_bytes, start)
    return match.end() if match else start


def _decoded(string: bytes) -> str | None:
    try:
        value: str = json.loads(string.decode())
    except ValueError:
        return None
    return value
