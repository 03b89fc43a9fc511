"""The rounds of `apprentice evolve`, as one document for each project."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("project", sa.Column("evolution", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("project", "evolution")
