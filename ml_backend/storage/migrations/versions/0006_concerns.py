"""Splits the table `project`: one table for each concern, so that no process overwrites the changes of another one."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

MOVED: dict[str, Any] = {
    "connection": sa.JSON(), "published": sa.String(length=100), "fingerprint": sa.String(length=64),
    "counts": sa.JSON(), "read_under": sa.Text(), "watermark": sa.String(length=40), "reconciled_at": sa.Float(),
    "pace": sa.JSON(), "progress": sa.JSON(), "watch": sa.JSON(), "proposals": sa.JSON(), "teacher": sa.JSON(),
    "cues": sa.JSON(), "records": sa.JSON(), "features": sa.JSON(), "prior": sa.JSON(),
}  # fmt: skip
EMPTY = {"fingerprint": "", "read_under": "", "watermark": "", "reconciled_at": "0", "pace": "{}", "progress": "{}"}


def upgrade() -> None:
    tables = {name: _create(name, *columns) for name, columns in _columns().items()}
    tables |= {
        "review_proposal": _create_keyed(
            "review_proposal",
            sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("prediction", sa.BigInteger(), nullable=False),
            sa.Column("annotation", sa.BigInteger(), nullable=False),
            sa.Column("updated_at", sa.String(length=40), nullable=False),
            sa.Column("proposed_at", sa.Float(), nullable=False),
        ),
        "reviewed_annotation": _create_keyed(
            "reviewed_annotation",
            sa.Column("annotation", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("updated_at", sa.String(length=40), nullable=False),
        ),
    }
    connection = op.get_bind()
    old = sa.table("project", sa.column("id"), *(sa.column(name, kind) for name, kind in MOVED.items()))
    for project in connection.execute(sa.select(old)).mappings().all():
        for name, rows in _split(dict(project)).items():
            if rows:
                connection.execute(sa.insert(tables[name]), [{"project": project["id"], **row} for row in rows])
    for name in MOVED:
        op.drop_column("project", name)


def downgrade() -> None:
    """Removes the new tables with their rows: the projects must be connected again."""
    for name, kind in MOVED.items():
        op.add_column("project", sa.Column(name, kind, nullable=name not in EMPTY, server_default=EMPTY.get(name)))
    for name in [*_columns(), "review_proposal", "reviewed_annotation"]:
        op.drop_table(name)


def _create(name: str, *columns: Any) -> sa.Table:
    key = sa.Column("project", sa.Integer(), autoincrement=False, nullable=False)
    return op.create_table(name, key, *columns, sa.PrimaryKeyConstraint("project"))


def _create_keyed(name: str, key: Any, *columns: Any) -> sa.Table:
    project = sa.Column("project", sa.Integer(), nullable=False)
    return op.create_table(name, project, key, *columns, sa.PrimaryKeyConstraint("project", key.name))


def _columns() -> dict[str, list[Any]]:
    def optional(kind: Any, *names: str) -> list[Any]:
        return [sa.Column(name, kind, nullable=True) for name in names]

    def given(kind: Any, *names: str) -> list[Any]:
        return [sa.Column(name, kind, nullable=False) for name in names]

    return {
        "connection": [
            *optional(sa.Integer(), "webhook", "ml_backend", "tab", "second_look_tab"),
            *optional(sa.JSON(none_as_null=True), "earlier"),
            *given(sa.Boolean(), "complete"),
        ],
        "publication": [
            *optional(sa.Text(), "published"),
            *given(sa.String(length=64), "fingerprint"),
            *given(sa.Integer(), "republish"),
            *optional(sa.Float(), "bulk_seconds", "single_seconds"),
        ],
        "synchronisation": [
            *optional(sa.Integer(), "tasks", "annotations", "skips"),
            *given(sa.Text(), "read_under"),
            *given(sa.String(length=40), "watermark"),
            *given(sa.Float(), "reconciled_at"),
        ],
        "progress": [*optional(sa.String(length=100), "worker"), *optional(sa.Integer(), "encoded", "tasks", "read")],
        "monitor": given(sa.JSON(), "results"),
        "teacher_state": [*given(sa.Text(), "name", "model", "problem"), *given(sa.Float(), "until")],
        "label_description": given(sa.JSON(), "descriptions"),
        "record_profile": [
            *given(sa.Text(), "profile"),
            *optional(sa.Text(), "before"),
            *given(sa.Text(), "odd"),
            *given(sa.Integer(), "tasks"),
            *given(sa.JSON(), "made_of"),
            *given(sa.BigInteger(), "seen"),
        ],
        "feature_score": given(sa.JSON(), "scores"),
        "distillation": [
            *given(sa.String(length=200), "file"),
            *given(sa.String(length=64), "sha256"),
            *given(sa.Integer(), "number"),
            *optional(sa.JSON(none_as_null=True), "made_of"),
        ],
    }


def _split(project: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each new table that one row of `project` becomes."""
    made, counts, pace = project["connection"], project["counts"] or {}, project["pace"] or {}
    progress, teacher, records, prior = (project[name] for name in ("progress", "teacher", "records", "prior"))
    proposals = project["proposals"] or {}
    return {
        "connection": [
            {
                "webhook": made.get("webhook"), "ml_backend": made.get("ml"), "tab": made.get("view"),
                "second_look_tab": made.get("second look"), "earlier": made.get("earlier"),
                "complete": not made.get("unfinished"),
            }
        ] if made else [],
        "publication": [
            {
                "published": project["published"], "fingerprint": project["fingerprint"], "republish": 0,
                "bulk_seconds": pace.get("bulk"), "single_seconds": pace.get("single"),
            }
        ],
        "synchronisation": [
            {
                "tasks": counts.get("tasks"), "annotations": counts.get("annotations"), "skips": counts.get("skips"),
                "read_under": project["read_under"], "watermark": project["watermark"],
                "reconciled_at": project["reconciled_at"],
            }
        ],
        "progress": [
            {name: progress.get(name) for name in ("worker", "encoded", "tasks", "read")}
        ] if progress else [],
        "monitor": [{"results": project["watch"]}] if project["watch"] else [],
        "review_proposal": [
            {
                "task": int(task), "prediction": each["row"], "annotation": each["answer"][0],
                "updated_at": each["answer"][1], "proposed_at": each["at"],
            }
            for task, each in proposals.get("standing", {}).items()
        ],
        "reviewed_annotation": [
            {"annotation": int(number), "updated_at": moment}
            for number, moment in proposals.get("settled", {}).items()
        ],
        "teacher_state": [
            {
                "name": teacher.get("name") or "", "model": teacher.get("model") or "",
                "problem": teacher.get("problem") or "", "until": teacher.get("until") or 0.0,
            }
        ] if teacher else [],
        "label_description": [{"descriptions": project["cues"]}] if project["cues"] is not None else [],
        "record_profile": [
            {name: records.get(name) for name in ("profile", "before", "odd", "tasks", "made_of", "seen")}
        ] if records else [],
        "feature_score": [{"scores": project["features"]}] if project["features"] is not None else [],
        "distillation": [
            {
                "file": prior["file"], "sha256": prior["sha256"], "number": prior.get("number", 0),
                "made_of": prior.get("made_of"),
            }
        ] if prior else [],
    }  # fmt: skip
