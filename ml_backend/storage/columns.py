"""A column type, a default value, and the conversion of stored JSON."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Text, TypeDecorator

from ml_backend.core.types import LabelValue, storable_text


class PortableText(TypeDecorator[str]):
    """Text of any length, from people, teachers and errors. Characters that a database refuses are replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else storable_text(value)


def first_revision() -> int:
    """Returns the first revision of a project, in milliseconds since the epoch. It is higher than every revision that a
    reader may remember from a removed project with the same id."""
    return time.time_ns() // 1_000_000


def label_value(stored: list[Any]) -> LabelValue:
    """Returns the value of a control as it was before it was stored: JSON turns tuples into lists."""
    return tuple(label_value(item) if isinstance(item, list) else item for item in stored)
