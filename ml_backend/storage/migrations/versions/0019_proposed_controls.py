"""The controls that a proposal for a second look is about; those of an earlier proposal are unknown."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    with op.batch_alter_table("review_proposal") as table:
        table.add_column(sa.Column("controls", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("review_proposal") as table:
        table.drop_column("controls")
