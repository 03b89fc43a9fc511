"""Names of any length where people or teachers choose them; indexes of versions, of which there may be many."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

WIDENED = {
    "version": {"name": 100, "acquisition": 100},
    "round": {"version": 100},
    "question": {"teacher": 200},
    "call": {"teacher": 200, "model": 200},
    "shown": {"version": 100},
}


def upgrade() -> None:
    _change({table: dict.fromkeys(columns, sa.Text()) for table, columns in WIDENED.items()})
    version = sa.table("version", sa.column("active", sa.Boolean()), sa.column("artifact"), sa.column("rows"))
    stale = sa.and_(~version.c.active, version.c.rows > sa.literal_column("0"))
    op.create_index("version_name", "version", ["project", "name"])
    for name, condition in (
        ("version_active", version.c.active == sa.true()), ("version_own_fit", version.c.artifact.is_not(None)),
        ("version_stale", stale),
    ):  # fmt: skip
        op.create_index(name, "version", ["project", "number"], sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for name in ("version_stale", "version_own_fit", "version_active", "version_name"):
        op.drop_index(name, table_name="version")
    _change(
        {
            table: {name: sa.String(length=length) for name, length in columns.items()}
            for table, columns in WIDENED.items()
        }
    )


def _change(columns: dict[str, dict[str, sa.types.TypeEngine[str]]]) -> None:
    for table, kinds in columns.items():
        with op.batch_alter_table(table) as batch:
            for name, kind in kinds.items():
                batch.alter_column(name, type_=kind)
