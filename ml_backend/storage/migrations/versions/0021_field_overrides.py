"""The field types and descriptions that people have given, by project.

Until now, they were stored with the scores of the control under which they were edited.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

DEFAULT_CONTROL = "label"
FEATURE_SCORE = sa.table(
    "feature_score", sa.column("project"), sa.column("control"), sa.column("scores", sa.JSON())
)  # fmt: skip
FIELD_OVERRIDE = sa.table("field_override", sa.column("project"), sa.column("fields", sa.JSON()))
VERSION = sa.table("version", sa.column("project"), sa.column("active"), sa.column("controls", sa.JSON()))


def upgrade() -> None:
    """Merges the fields of all controls, as they counted until now."""
    op.create_table(
        "field_override",
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("fields", sa.JSON(), nullable=False),
    )
    connection = op.get_bind()
    fields: dict[int, dict[str, Any]] = {}
    stored = sa.select(FEATURE_SCORE).order_by(FEATURE_SCORE.c.project, FEATURE_SCORE.c.control)
    for project, control, scores in connection.execute(stored).all():
        if "fields" in scores:
            fields.setdefault(project, {}).update(scores.pop("fields"))
            _set_scores(connection, project, control, scores)
    rows = [{"project": project, "fields": of_project} for project, of_project in fields.items() if of_project]
    if rows:
        connection.execute(sa.insert(FIELD_OVERRIDE), rows)


def downgrade() -> None:
    """Stores the fields with the scores of each control; without scores, with the controls of the active version."""
    connection = op.get_bind()
    fields = {row.project: row.fields for row in connection.execute(sa.select(FIELD_OVERRIDE))}
    active = sa.select(VERSION.c.project, VERSION.c.controls).where(VERSION.c.active)
    controls = {row.project: row.controls for row in connection.execute(active)}
    with_scores = set()
    for project, control, scores in connection.execute(sa.select(FEATURE_SCORE)).all():
        with_scores.add(project)
        if project in fields:
            _set_scores(connection, project, control, {**scores, "fields": fields[project]})
    rows = [
        {"project": project, "control": control, "scores": {"fields": of_project}}
        for project, of_project in fields.items()
        if project not in with_scores
        for control in controls.get(project) or (DEFAULT_CONTROL,)
    ]
    if rows:
        connection.execute(sa.insert(FEATURE_SCORE), rows)
    op.drop_table("field_override")


def _set_scores(connection: sa.Connection, project: int, control: str, scores: dict[str, Any]) -> None:
    of_control = sa.and_(FEATURE_SCORE.c.project == project, FEATURE_SCORE.c.control == control)
    connection.execute(sa.update(FEATURE_SCORE).where(of_control).values(scores=scores))
