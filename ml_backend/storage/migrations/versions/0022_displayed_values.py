"""The values that the object tags of a task display, for the kinds of labels whose regions have positions in them."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Adds an empty column, which the next reading of a project fills if one of its controls needs it."""
    op.add_column("task", sa.Column("displayed_values", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Removes the column. The tasks of the projects that used it are read again from Label Studio."""
    op.execute(
        "UPDATE synchronisation SET read_under = '' "
        "WHERE project IN (SELECT DISTINCT project FROM task WHERE displayed_values IS NOT NULL)"
    )
    op.drop_column("task", "displayed_values")
