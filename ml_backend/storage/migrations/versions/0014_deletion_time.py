"""The time of a text's last deletion: a text that is deleted again is searched for again."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    with op.batch_alter_table("deleted_text") as table:
        table.add_column(sa.Column("deleted_at", sa.Float(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("deleted_text") as table:
        table.drop_column("deleted_at")
