"""The version that a rollback holds by control.

Until now, a rollback held the learners of all controls at one version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

PROJECT = sa.table("project", sa.column("id"), sa.column("pinned"))
VERSION = sa.table(
    "version", *map(sa.column, ("project", "number", "active")), sa.column("controls", sa.JSON())
)  # fmt: skip
PINNED_VERSION = sa.table("pinned_version", *map(sa.column, ("project", "control", "version")))


def upgrade() -> None:
    """Holds the controls that the version has. A rollback to a version that is not stored any more ends."""
    op.create_table(
        "pinned_version",
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("control", sa.String(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    connection = op.get_bind()
    is_held = sa.and_(VERSION.c.project == PROJECT.c.id, VERSION.c.number == PROJECT.c.pinned)
    held = sa.select(PROJECT.c.id, PROJECT.c.pinned, VERSION.c.controls).where(is_held)
    for project, number, controls in connection.execute(held).all():
        rows = [{"project": project, "control": control, "version": number} for control in controls]
        if rows:
            connection.execute(sa.insert(PINNED_VERSION), rows)
    with op.batch_alter_table("project") as table:
        table.drop_column("pinned")


def downgrade() -> None:
    """Keeps a rollback that holds all controls of the active version at one version, and ends the others."""
    with op.batch_alter_table("project") as table:
        table.add_column(sa.Column("pinned", sa.Integer(), nullable=True))
    connection = op.get_bind()
    held: dict[int, dict[str, int]] = {}
    for project, control, number in connection.execute(sa.select(PINNED_VERSION)).all():
        held.setdefault(project, {})[control] = number
    active = sa.select(VERSION.c.project, VERSION.c.controls).where(VERSION.c.active)
    for project, controls in connection.execute(active).all():
        numbers = {held.get(project, {}).get(control) for control in controls}
        if len(numbers) == 1 and (number := numbers.pop()) is not None:
            connection.execute(sa.update(PROJECT).where(PROJECT.c.id == project).values(pinned=number))
    op.drop_table("pinned_version")
