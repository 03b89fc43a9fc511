"""The revision of each task's last change: a reader that has read all tasks then reads only those that changed."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("task", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("task_revision", "task", ["project", "revision"])
    with op.batch_alter_table("project") as batch:
        batch.alter_column("tasks_revision", type_=sa.BigInteger())
    op.create_index("question_about", "question", ["project", "key"])


def downgrade() -> None:
    op.drop_index("question_about", "question")
    op.execute("UPDATE project SET tasks_revision = 0")  # milliseconds since the epoch do not fit into an Integer
    with op.batch_alter_table("project") as batch:
        batch.alter_column("tasks_revision", type_=sa.Integer())
    op.drop_index("task_revision", "task")
    op.drop_column("task", "revision")
