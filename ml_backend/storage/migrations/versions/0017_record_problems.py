"""Problems of records as codes and values instead of one text; an earlier text becomes a remark of code "text"."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    with op.batch_alter_table("record_profile") as table:
        table.add_column(sa.Column("problems", sa.JSON(), nullable=False, server_default="[]"))
    profile = sa.table(
        "record_profile", sa.column("project", sa.Integer()), sa.column("odd"), sa.column("problems", sa.JSON())
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(profile).where(profile.c.odd != "")).mappings().all():
        problems = [{"code": "text", "values": {"text": row["odd"]}}]
        same = profile.c.project == row["project"]
        connection.execute(sa.update(profile).where(same).values(problems=problems))
    with op.batch_alter_table("record_profile") as table:
        table.drop_column("odd")


def downgrade() -> None:
    with op.batch_alter_table("record_profile") as table:
        table.add_column(sa.Column("odd", sa.Text(), nullable=False, server_default=""))
        table.drop_column("problems")
