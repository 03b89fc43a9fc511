"""What the object tags of a task display, for the kinds of labels that locate regions in it."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Adds an empty column, which the next reading of a project fills if one of its controls needs it."""
    op.add_column("task", sa.Column("sources", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Removes the column. The tasks are read again from Label Studio."""
    op.drop_column("task", "sources")
