"""A SQL aggregate that puts the rows of several controls into one value, so that one statement reads a project."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class RowsByControl(FunctionElement[Any]):
    """A JSON object with the content of each row by the name of its control, from the columns that are given: the name
    of the control, and the content. The content of several columns is an object of their values by their names."""

    name = "rows_by_control"
    type = sa.JSON()
    inherit_cache = True


@compiles(RowsByControl, "sqlite")
def _for_sqlite(aggregate: RowsByControl, compiler: Any, **_: Any) -> str:
    control, *content = [
        # `json` reads a text as JSON, which would else be a string in the object
        (column.name, f"json({compiler.process(column)})" if _is_json(column) else compiler.process(column))
        for column in aggregate.clauses
    ]
    return f"json_group_object({control[1]}, {_one_value(content, 'json_object')})"


@compiles(RowsByControl, "postgresql")
def _for_postgresql(aggregate: RowsByControl, compiler: Any, **_: Any) -> str:
    control, *content = [(column.name, compiler.process(column)) for column in aggregate.clauses]
    return f"json_object_agg({control[1]}, {_one_value(content, 'json_build_object')})"


def _is_json(column: Any) -> bool:
    return isinstance(column.type, sa.JSON)


def _one_value(content: list[tuple[str, str]], function: str) -> str:
    """The SQL of the content of a row. `content`: its columns, as pairs of a name and its SQL"""
    if len(content) == 1:
        return content[0][1]
    arguments = ", ".join(f"'{name}', {text}" for name, text in content)
    return f"{function}({arguments})"
