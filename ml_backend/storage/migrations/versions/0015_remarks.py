"""Remarks of versions as codes and values instead of sentences; an earlier sentence becomes a remark of code "text"."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

KEYS = (sa.column("project", sa.Integer()), sa.column("number", sa.Integer()))


def upgrade() -> None:
    with op.batch_alter_table("version") as table:
        table.add_column(sa.Column("remarks", sa.JSON(), nullable=False, server_default="[]"))
    version = sa.table("version", *KEYS, sa.column("note", sa.Text()), sa.column("remarks", sa.JSON()))
    connection = op.get_bind()
    for row in connection.execute(sa.select(version).where(version.c.note != "")).mappings().all():
        remarks = [{"code": "text", "values": {"text": row["note"]}}]
        same = sa.and_(version.c.project == row["project"], version.c.number == row["number"])
        connection.execute(sa.update(version).where(same).values(remarks=remarks))
    with op.batch_alter_table("version") as table:
        table.drop_column("note")


def downgrade() -> None:
    with op.batch_alter_table("version") as table:
        table.add_column(sa.Column("note", sa.Text(), nullable=False, server_default=""))
        table.drop_column("remarks")
