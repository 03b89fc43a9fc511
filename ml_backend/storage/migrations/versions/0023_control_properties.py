"""The properties of a control on which a prior and a teacher's reliability depend, as one document for any kind.

Until now, they were the labels of choices, whether several may hold, and whether they are the sides of a pair; and a
reliability was a matrix with a row for each label, stored row by row. Now it has a shape of its own.
"""

from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op
from safetensors.numpy import load, save

revision = "0023"
down_revision = "0022"

OF_CHOICES = {"labels": (), "multiple": None, "antisymmetric": False}
"""The properties of choices with what they were if an earlier release did not store them."""
DISTILLATION = sa.table(
    "distillation", sa.column("project"), sa.column("control"), sa.column("made_of", sa.JSON(none_as_null=True))
)
CONFUSION = sa.table(
    "confusion", sa.column("project"), sa.column("control"), sa.column("labels", sa.JSON()), sa.column("multiple"),
    sa.column("properties", sa.JSON()), sa.column("matrix", sa.LargeBinary()),
)  # fmt: skip


def upgrade() -> None:
    op.add_column("confusion", sa.Column("properties", sa.JSON(), nullable=False, server_default="{}"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(CONFUSION)).all():
        # a <Choices> with these labels is taken for a comparison; its reliability is not used until the next round
        is_pair = not row.multiple and row.labels == ["left", "right"]
        properties = {"labels": row.labels, "multiple": bool(row.multiple), "antisymmetric": is_pair}
        values = np.frombuffer(row.matrix, "<f8").reshape(len(row.labels) or 1, -1)
        _set(
            connection,
            CONFUSION,
            row,
            properties={"kind": "choices", **properties} if row.labels else {},
            matrix=save({"values": values}),
        )
    for row in connection.execute(sa.select(DISTILLATION)).all():
        if row.made_of and "labels" in row.made_of:
            properties = {name: row.made_of.pop(name, default) for name, default in OF_CHOICES.items()}
            _set(
                connection, DISTILLATION, row, made_of={**row.made_of, "properties": {"kind": "choices", **properties}}
            )
    with op.batch_alter_table("confusion") as table:
        table.drop_column("labels")
        table.drop_column("multiple")
        table.alter_column("properties", server_default=None)


def downgrade() -> None:
    op.add_column("confusion", sa.Column("labels", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("confusion", sa.Column("multiple", sa.Boolean(), nullable=False, server_default=sa.false()))
    connection = op.get_bind()
    for row in connection.execute(sa.select(CONFUSION)).all():
        labels, multiple = row.properties.get("labels", ()), row.properties.get("multiple", False)
        matrix = load(row.matrix)["values"].astype("<f8").tobytes()
        _set(connection, CONFUSION, row, labels=list(labels), multiple=multiple, matrix=matrix)
    for row in connection.execute(sa.select(DISTILLATION)).all():
        if row.made_of and "properties" in row.made_of:
            properties = row.made_of.pop("properties")
            properties = {name: properties.get(name, default) for name, default in OF_CHOICES.items()}
            _set(connection, DISTILLATION, row, made_of={**row.made_of, **properties})
    with op.batch_alter_table("confusion") as table:
        table.drop_column("properties")
        table.alter_column("labels", server_default=None)
        table.alter_column("multiple", server_default=None)


def _set(connection: sa.Connection, table: sa.TableClause, row: Any, **values: Any) -> None:
    of_row = sa.and_(table.c.project == row.project, table.c.control == row.control)
    connection.execute(sa.update(table).where(of_row).values(values))
