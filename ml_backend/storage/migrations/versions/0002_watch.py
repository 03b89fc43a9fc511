"""Results of the monitor, proposals to review annotations, and short fields of tasks, which may name groups."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("project", sa.Column("watch", sa.JSON(), nullable=True))
    op.add_column("project", sa.Column("proposals", sa.JSON(), nullable=True))
    op.add_column("task", sa.Column("fields", sa.JSON(), nullable=True))
    op.execute("UPDATE project SET read_under = ''")  # the tasks are read again, with their fields


def downgrade() -> None:
    op.drop_column("task", "fields")
    op.drop_column("project", "proposals")
    op.drop_column("project", "watch")
