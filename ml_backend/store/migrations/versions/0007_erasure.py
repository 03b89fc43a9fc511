"""Tasks by their content: whether another one has the text of one that is deleted."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index("task_key", "task", ["project", "key"], unique=False)


def downgrade() -> None:
    op.drop_index("task_key", table_name="task")
