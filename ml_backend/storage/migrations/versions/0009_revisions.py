"""Revisions of annotations and published drafts; stats and the confusion matrix, which each round stores."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for table in ("annotation", "shown"):
        op.add_column(table, sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
        op.create_index(f"{table}_changed", table, ["project", "revision"])
    op.create_index("annotation_task", "annotation", ["project", "task"])
    op.create_index("shown_version", "shown", ["project", "version"])
    op.create_index("question_key", "question", ["project", "teacher", "purpose", "state", "key"])
    op.create_table(
        "annotation_revision",
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.BigInteger(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("skips", sa.Integer(), nullable=False),
    )
    # every project with an annotation or a published draft gets a counter; the present rows have revision 0
    op.execute(
        """
        INSERT INTO annotation_revision (project, number, complete, answers, skips)
        SELECT project, 1, 1, SUM(answers), SUM(skips) FROM (
            SELECT project,
                   CASE WHEN deleted OR cancelled THEN 0 ELSE 1 END AS answers,
                   CASE WHEN cancelled AND NOT deleted THEN 1 ELSE 0 END AS skips
            FROM annotation
            UNION ALL SELECT project, 0, 0 FROM shown
        ) AS counted GROUP BY project
        """
    )
    op.create_table(
        "stats",
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("basis", sa.String(64), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_table(
        "confusion",
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("teacher", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("multiple", sa.Boolean(), nullable=False),
        sa.Column("matrix", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    for name in ("confusion", "stats", "annotation_revision"):
        op.drop_table(name)
    op.drop_index("question_key", "question")
    op.drop_index("shown_version", "shown")
    op.drop_index("annotation_task", "annotation")
    for table in ("annotation", "shown"):
        op.drop_index(f"{table}_changed", table)
        op.drop_column(table, "revision")
