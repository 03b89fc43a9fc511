"""Projects of records: the profile of the pool, and the scores of the fields."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("project", sa.Column("records", sa.JSON(), nullable=True))
    op.add_column("project", sa.Column("features", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("project", "features")
    op.drop_column("project", "records")
