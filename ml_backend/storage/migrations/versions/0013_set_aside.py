"""Tasks that cannot be encoded, each with a code that says why."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "set_aside",
        sa.Column("project", sa.Integer(), primary_key=True),
        sa.Column("task", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary(16), nullable=False),
        sa.Column("space", sa.String(200), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("set_aside")
