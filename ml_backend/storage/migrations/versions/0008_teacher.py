"""Rounds of evolution as rows, running totals of the ledger, and whether a question has no examples, as a column."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SECONDS_A_DAY = 86_400
_COLUMNS = ("number", "way", "teacher", "done")
_project = sa.table("project", sa.column("id", sa.Integer), sa.column("evolution", sa.JSON))
_question = sa.table(
    "question", sa.column("purpose", sa.String), sa.column("body", sa.JSON), sa.column("alone", sa.Boolean)
)
_round = sa.table(
    "evolution_round", sa.column("project", sa.Integer), sa.column("number", sa.Integer), sa.column("way", sa.String),
    sa.column("teacher", sa.Text), sa.column("done", sa.Boolean), sa.column("body", sa.JSON),
)  # fmt: skip
_SUMS = ("input_tokens", "output_tokens", "cost", "seconds")
_call = sa.table(
    "call", sa.column("project", sa.Integer), sa.column("purpose", sa.String), sa.column("outcome", sa.String),
    sa.column("made_at", sa.Float), *(sa.column(name, sa.Float) for name in _SUMS),
)  # fmt: skip


def upgrade() -> None:
    op.add_column("question", sa.Column("alone", sa.Boolean(), nullable=False, server_default=sa.true()))
    shown = _question.c.body[("examples", 0)].as_string().is_not(None)
    op.execute(sa.update(_question).where(_question.c.purpose == "label", shown).values(alone=False))
    op.create_index("question_replies", "question", ["project", "teacher", "purpose", "state", "answered_at"])
    op.create_index("call_question", "call", ["project", "question"])
    _make_totals()
    _make_rounds()


def _make_totals() -> None:
    op.create_table(
        "ledger_total",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project", "day", "purpose", "outcome"),
    )
    days = _call.c.made_at / _SECONDS_A_DAY
    if op.get_bind().dialect.name == "postgresql":  # a cast of PostgreSQL rounds, one of SQLite truncates
        days = sa.func.floor(days)
    groups = [_call.c.project, sa.cast(days, sa.Integer), _call.c.purpose, _call.c.outcome]
    sums = [sa.func.count(), *(sa.func.sum(_call.c[name]) for name in _SUMS)]
    names = ["project", "day", "purpose", "outcome", "calls", *_SUMS]
    totals = sa.table("ledger_total", *map(sa.column, names))
    op.execute(sa.insert(totals).from_select(names, sa.select(*groups, *sums).group_by(*groups)))


def _make_rounds() -> None:
    op.create_table(
        "evolution_round",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("way", sa.String(length=10), nullable=False),
        sa.Column("teacher", sa.Text(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("project", "number"),
    )
    connection = op.get_bind()
    for project, document in connection.execute(sa.select(_project.c.id, _project.c.evolution)).all():
        for each in (document or {}).get("rounds", []):
            row = {name: each[name] for name in _COLUMNS}
            body = {name: value for name, value in each.items() if name not in _COLUMNS}
            connection.execute(sa.insert(_round).values(**row, project=project, body=body))
    op.drop_column("project", "evolution")


def downgrade() -> None:
    op.add_column("project", sa.Column("evolution", sa.JSON(), nullable=True))
    connection = op.get_bind()
    documents: dict[int, list[dict[str, object]]] = {}
    for row in connection.execute(sa.select(_round).order_by(_round.c.number)).mappings():
        each = {**row["body"], **{name: row[name] for name in _COLUMNS}}
        documents.setdefault(row["project"], []).append(each)
    for project, rounds in documents.items():
        change = sa.update(_project).where(_project.c.id == project)
        connection.execute(change.values(evolution={"rounds": rounds}))
    op.drop_table("evolution_round")
    op.drop_table("ledger_total")
    op.drop_index("call_question", table_name="call")
    op.drop_index("question_replies", table_name="question")
    op.drop_column("question", "alone")
