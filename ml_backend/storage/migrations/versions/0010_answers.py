"""Why annotations cannot be learnt from; Label Studio's settings for skipped tasks and for the overlap."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("annotation", sa.Column("unread", sa.String(20), nullable=False, server_default=""))
    op.create_index("annotation_unread", "annotation", ["project", "unread"])
    op.create_table(
        "labelling_rules",
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("skip_queue", sa.String(100), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("labelling_rules")
    op.drop_index("annotation_unread", "annotation")
    op.drop_column("annotation", "unread")
