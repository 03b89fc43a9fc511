"""Records SQL statements, and recognizes those that read all annotations of a project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa


@contextmanager
def recorded_statements() -> Iterator[list[tuple[str, Any]]]:
    """Yields a list of statements with parameters, in the order in which the engines of this process send them."""
    statements: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)


def read_all_annotations(statements: Iterable[str]) -> bool:
    """Whether one of the statements reads all annotations of a project, as `Annotations.of` does."""
    return any(
        "FROM annotation" in text and "ORDER BY annotation.id" in text and " IN " not in text for text in statements
    )
