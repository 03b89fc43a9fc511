"""What the prompts for a teacher have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ml_backend.core.teacher_types import MAX_TEXT_LENGTH, Purpose

PROMPT_VERSION = "1"
"""The version of all prompts: after a change of it, every question is asked anew."""


def question_id(teacher: str, purpose: Purpose, *parts: object) -> str:
    """The id of a question, which depends on the parts that make it another question."""
    identity = json.dumps([PROMPT_VERSION, teacher, purpose, *parts])
    return f"{purpose}-{blake2b(identity.encode(), digest_size=16).hexdigest()}"


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def list_schema(items: Mapping[str, Any], max_items: int, min_items: int = 0) -> dict[str, Any]:
    """A JSON schema of a list. Where the schema is enforced, small models write enough items and then stop; elsewhere,
    a reply may have more or fewer items."""
    least = {"minItems": min_items} if min_items else {}
    return {"type": "array", "items": dict(items), **least, "maxItems": max_items}


def string_schema(max_length: int | None) -> dict[str, Any]:
    """A JSON schema of a string, with at most so many characters where the schema is enforced."""
    return {"type": "string"} if max_length is None else {"type": "string", "maxLength": max_length}


def json_list(texts: Sequence[str]) -> str:
    """The texts, shortened, as a JSON list."""
    return json.dumps([shortened(text) for text in texts], ensure_ascii=False)


def shortened(text: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """The beginning of a text, as much of it as is sent."""
    return text if len(text) <= max_length else text[:max_length] + " …"
