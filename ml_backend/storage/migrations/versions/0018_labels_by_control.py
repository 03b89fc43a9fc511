"""Labels, drafts, learners, priors, descriptions and results of the monitor by control.

Until now one control was learnt: a visible one before one that may stay hidden, then a required one, then one with a
single choice, then the one with the most labels, or the one that the setting `choices` names.
"""

from typing import Any
from xml.etree import ElementTree

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

DEFAULT_CONTROL = "label"
CONVERTED = {
    "annotation": ("labels", "'value', choices, 'unread', unread", "NOT cancelled"),
    "shown": ("drafts", "'value', choices, 'confidence', confidence, 'author', author", "author IS NOT NULL"),
    "version": ("controls", "'learner', learner, 'labelled', labelled, 'accuracy', accuracy", "true"),
}
"""The new column of each table, the contents of its JSON for the control, and the condition for the rows."""
CONTROL_TABLES: dict[str, tuple[sa.Column[Any], ...]] = {
    "monitor": (sa.Column("results", sa.JSON(), nullable=False),),
    "label_description": (sa.Column("descriptions", sa.JSON(), nullable=False),),
    "feature_score": (sa.Column("scores", sa.JSON(), nullable=False),),
    "distillation": (
        sa.Column("file", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("made_of", sa.JSON(), nullable=True),
    ),
    "confusion": (
        sa.Column("teacher", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("multiple", sa.Boolean(), nullable=False),
        sa.Column("matrix", sa.LargeBinary(), nullable=False),
    ),
}
"""The tables that get a column for the name of the control, with their other columns."""
HIDING = ("choice-selected", "choice-unselected", "region-selected")


def upgrade() -> None:
    with op.batch_alter_table("annotation") as table:
        table.add_column(sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("shown") as table:
        table.add_column(sa.Column("drafts", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("version") as table:
        table.add_column(sa.Column("controls", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("evolution_round") as table:
        table.add_column(sa.Column("control", sa.String(), nullable=False, server_default=""))
    connection = op.get_bind()
    controls = _learnt_controls(connection)
    for project, control in controls.items():
        for table_name in CONVERTED:
            _convert(connection, table_name, project, control)
        of_project = sa.text("UPDATE evolution_round SET control = :control WHERE project = :project")
        connection.execute(of_project, {"control": control, "project": project})
    op.drop_index("annotation_unread", "annotation")
    with op.batch_alter_table("annotation") as table:
        table.drop_column("choices")
        table.drop_column("unread")
    with op.batch_alter_table("shown") as table:
        table.drop_column("author")
        table.drop_column("choices")
        table.drop_column("confidence")
    with op.batch_alter_table("version") as table:
        table.drop_column("accuracy")
    for table_name, columns in CONTROL_TABLES.items():
        _add_control(connection, table_name, columns, controls)


def _add_control(
    connection: sa.Connection, name: str, columns: tuple[sa.Column[Any], ...], controls: dict[int, str]
) -> None:
    """Makes a table with one row for each project one with a row for each control."""
    op.rename_table(name, f"{name}_old")
    new = op.create_table(
        name,
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("control", sa.String(), primary_key=True),
        *(column._copy() for column in columns),
    )
    old = sa.table(f"{name}_old", sa.column("project"), *(sa.column(c.name, c.type) for c in columns))
    rows = [
        {**row, "control": controls.get(row["project"], DEFAULT_CONTROL)}
        for row in connection.execute(sa.select(old)).mappings()
    ]
    if rows:
        connection.execute(sa.insert(new), rows)
    op.drop_table(f"{name}_old")


def _drop_control(
    connection: sa.Connection, name: str, columns: tuple[sa.Column[Any], ...], controls: dict[int, str]
) -> None:
    """Makes a table with a row for each control one with a row for each project, that of the control that was
    learnt."""
    old = sa.table(name, sa.column("project"), sa.column("control"), *(sa.column(c.name, c.type) for c in columns))
    rows = [
        {column: value for column, value in row.items() if column != "control"}
        for row in connection.execute(sa.select(old)).mappings()
        if row["control"] == controls.get(row["project"], DEFAULT_CONTROL)
    ]
    op.drop_table(name)
    new = op.create_table(
        name,
        sa.Column("project", sa.Integer(), primary_key=True, autoincrement=False),
        *(column._copy() for column in columns),
    )
    if rows:
        connection.execute(sa.insert(new), rows)


def _convert(connection: sa.Connection, table: str, project: int, control: str) -> None:
    """Fills the new column of a project's rows, in the database, because a project may have 100,000 of them."""
    column, value, condition = CONVERTED[table]
    is_postgresql = connection.dialect.name == "postgresql"
    function = "json_build_object" if is_postgresql else "json_object"
    name = "CAST(:control AS text)" if is_postgresql else ":control"
    for stored in ("choices", "accuracy"):
        value = value if is_postgresql else value.replace(f", {stored}", f", json({stored})")
    statement = (
        f"UPDATE {table} SET {column} = {function}({name}, {function}({value})) "  # noqa: S608 - constants only
        f"WHERE project = :project AND {condition}"
    )
    connection.execute(sa.text(statement), {"control": control, "project": project})


def _learnt_controls(connection: sa.Connection) -> dict[int, str]:
    """The name of the control that each project has learnt."""
    project = sa.table("project", sa.column("id"), sa.column("label_config"), sa.column("extra_params", sa.JSON()))
    return {
        row.id: _learnt_control(row.label_config, (row.extra_params or {}).get("choices"))
        for row in connection.execute(sa.select(project))
    }


def _learnt_control(label_config: str, wanted: object) -> str:
    if isinstance(wanted, str) and wanted:
        return wanted
    try:
        tree = ElementTree.fromstring(label_config)  # noqa: S314 - expat limits the expansion of entities
    except ElementTree.ParseError:
        return DEFAULT_CONTROL
    texts = {tag.get("name") for tag in tree.iter() if tag.tag in ("Text", "HyperText", "Table")}
    keys: dict[str, tuple[Any, ...]] = {}
    hidden_parents = {
        child for parent in tree.iter() if parent.get("visibleWhen") in HIDING for child in parent.iter("Choices")
    }
    for choices in tree.iter("Choices"):
        per_region = choices.get("perRegion", "false").lower() != "false"
        if per_region or choices.get("value") or not texts & set((choices.get("toName") or "").split(",")):
            continue
        keys[choices.get("name") or ""] = (
            choices in hidden_parents,
            (choices.get("required") or "").lower() != "true",
            choices.get("choice") == "multiple",
            -len(list(choices.iter("Choice"))),
        )
    return min(keys, key=keys.__getitem__) if keys else DEFAULT_CONTROL


def downgrade() -> None:
    """Keeps of each project what belongs to the control that was learnt: the labels, the drafts and the rows of
    `CONTROL_TABLES`."""
    connection = op.get_bind()
    controls = _learnt_controls(connection)
    with op.batch_alter_table("annotation") as table:
        table.add_column(sa.Column("choices", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("unread", sa.String(20), nullable=False, server_default=""))
    with op.batch_alter_table("shown") as table:
        table.add_column(sa.Column("author", sa.String(10), nullable=True))
        table.add_column(sa.Column("choices", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("confidence", sa.Float(), nullable=True))
    for name, key, column in (("annotation", "id", "labels"), ("shown", "task", "drafts")):
        json_columns: list[Any] = [sa.column(column, sa.JSON()), sa.column("choices", sa.JSON())]
        others: Any = map(sa.column, ("project", key, "unread", "author", "confidence"))
        rows = sa.table(name, *json_columns, *others)
        for row in connection.execute(sa.select(rows.c.project, rows.c[key], rows.c[column])).all():
            if learnt := row[2].get(controls.get(row[0], DEFAULT_CONTROL)):
                values = {"choices": learnt["value"], **{name: learnt[name] for name in learnt if name != "value"}}
                same = sa.and_(rows.c.project == row[0], rows.c[key] == row[1])
                connection.execute(sa.update(rows).where(same).values(values))
    with op.batch_alter_table("version") as table:
        table.add_column(sa.Column("accuracy", sa.JSON(), nullable=True))
        table.drop_column("controls")
    with op.batch_alter_table("evolution_round") as table:
        table.drop_column("control")
    for table_name, columns in CONTROL_TABLES.items():
        _drop_control(connection, table_name, columns, controls)
    with op.batch_alter_table("annotation") as table:
        table.drop_column("labels")
    with op.batch_alter_table("shown") as table:
        table.drop_column("drafts")
    op.create_index("annotation_unread", "annotation", ["project", "unread"])
