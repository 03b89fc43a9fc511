"""An index of tasks by content key, and the texts of deleted tasks until no row quotes them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index("task_key", "task", ["project", "key"], unique=False)
    op.create_table(
        "deleted_text",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "key"),
    )


def downgrade() -> None:
    op.drop_table("deleted_text")
    op.drop_index("task_key", table_name="task")
