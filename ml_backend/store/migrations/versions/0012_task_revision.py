"""When each task was last changed: who has read the list before reads what has changed since."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("task", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("task_revision", "task", ["project", "revision"])


def downgrade() -> None:
    op.drop_index("task_revision", "task")
    op.drop_column("task", "revision")
