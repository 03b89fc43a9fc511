"""Projects: the configuration and the state of each Label Studio project that this backend serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ml_backend.core.exceptions import StoreError
from ml_backend.storage import connections, schema
from ml_backend.storage.database import Database
from ml_backend.storage.rows_by_control import RowsByControl

table = schema.project
_PROJECT_TABLES = (
    schema.connection, schema.publication, schema.synchronisation, schema.progress, schema.teacher_state,
    schema.record_profile, schema.field_override,
)  # fmt: skip
_CONTROL_TABLES = {
    "pinned": schema.pinned_version,
    "monitor_results": schema.monitor,
    "label_descriptions": schema.label_description,
    "feature_scores": schema.feature_score,
    "distillations": schema.distillation,
}
"""The attributes of `ProjectRow` that have a row for each control, with their tables."""


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project at one moment: its row in each of the tables that have one row for each project, and its rows in the
    tables that have one for each control, by the name of the control.

    `schema` describes the columns. Each table is changed through another attribute of `Store`, such as `connections`.
    """

    id: int
    label_config: str = ""
    extra_params: dict[str, Any] | None = None
    connection: dict[str, Any] | None = None
    made_at: str = ""
    published: str | None = None
    fingerprint: str = ""
    republish: int = 0
    counts: dict[str, int] | None = None
    tasks_revision: int = 0
    read_under: str = ""
    watermark: str = ""
    reconciled_at: float = 0.0
    publish_timings: dict[str, float] | None = None
    progress: dict[str, Any] | None = None
    teacher: dict[str, Any] | None = None
    record_profile: dict[str, Any] | None = None
    field_overrides: Mapping[str, Any] = field(default_factory=dict)
    pinned: Mapping[str, int] = field(default_factory=dict)
    monitor_results: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    label_descriptions: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    feature_scores: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    distillations: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def choices(self) -> str:
        """The name of the only control that is learnt, "" to learn all that can be."""
        name = (self.extra_params or {}).get("choices")
        return name if isinstance(name, str) else ""

    @property
    def is_connected(self) -> bool:
        """Whether `connect` has ended. `connection` is set from its beginning on, so that `disconnect` can undo it."""
        return bool(self.connection) and not (self.connection or {}).get("unfinished")


class Projects:
    """The table `project`: the identity and the configuration of each project."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: int) -> ProjectRow | None:
        projects = self._select(table.c.id == project)
        return projects[0] if projects else None

    def require(self, project: int) -> ProjectRow:
        """Returns a project. Raises StoreError if it is not in the store."""
        row = self.get(project)
        if row is None:
            raise StoreError(f"Project {project} is not known here: run `apprentice connect --project {project}`")
        return row

    def choices(self, project: int) -> str:
        """Returns `ProjectRow.choices`; reads one column only."""
        with self._database.read() as connection:
            extra_params = connection.execute(sa.select(table.c.extra_params).where(table.c.id == project)).scalar()
        return ProjectRow(project, extra_params=extra_params).choices

    def ensure(self, project: int) -> ProjectRow:
        """Returns a project, and adds it to the store if it is new."""
        row = self.get(project)
        if row is None:
            self._database.write(self._database.insert_or_ignore(table).values(id=project))
            row = self.require(project)
        return row

    def all(self) -> list[ProjectRow]:
        return self._select(sa.true())

    def connected(self) -> list[ProjectRow]:
        """Returns the projects that `connect` set up."""
        return [project for project in self._select(schema.connection.c.complete) if project.is_connected]

    def set_label_config(self, project: int, label_config: str) -> None:
        self._set(project, label_config=label_config)

    def set_extra_params(self, project: int, extra_params: dict[str, Any]) -> None:
        self._set(project, extra_params=extra_params)

    def identify(self, project: int, made_at: str) -> None:
        """Stores the time at which the project was created in Label Studio. A project with another time is another
        project, although it has the same id."""
        self._set(project, made_at=made_at)

    def pin(self, project: int, versions: Mapping[str, int]) -> None:
        """Makes each of these controls serve its learner in a version, as a rollback does. `versions`: the numbers of
        the versions by control"""
        with self._database.begin() as connection:
            for control, number in versions.items():
                row = {"project": project, "control": control, "version": number}
                connection.execute(self._database.put(schema.pinned_version, row))

    def unpin(self, project: int, controls: Collection[str] | None = None) -> None:
        """Ends the rollback of these controls; None: of all controls."""
        pinned = schema.pinned_version
        of_controls = sa.true() if controls is None else pinned.c.control.in_(controls)
        self._database.write(sa.delete(pinned).where(pinned.c.project == project, of_controls))

    def _set(self, project: int, **values: Any) -> None:
        self._database.write(self._database.put(table, {"id": project, **values}))

    def _select(self, condition: sa.ColumnElement[bool]) -> list[ProjectRow]:
        source: sa.FromClause = table
        for other in _PROJECT_TABLES:
            source = source.outerjoin(other, other.c.project == table.c.id)
        by_control = (_rows_by_control(of_controls).label(name) for name, of_controls in _CONTROL_TABLES.items())
        query = sa.select(table, *_PROJECT_TABLES, *by_control).select_from(source).where(condition)
        query = query.order_by(table.c.id).set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
        with self._database.read() as connection:
            return [_project_row(row) for row in connection.execute(query).mappings()]


def _rows_by_control(source: sa.Table) -> sa.ScalarSelect[Any]:
    """Selects the rows of a table for the project of the enclosing statement, by control."""
    columns = (column for column in source.columns if column.name != "project")
    return sa.select(RowsByControl(*columns)).where(source.c.project == table.c.id).correlate(table).scalar_subquery()


def _project_row(row: sa.RowMapping) -> ProjectRow:
    def row_of(source: sa.Table) -> dict[str, Any]:
        """Returns the row of one table, or {} if the table has none for the project."""
        values = {column.name: row[f"{source.name}_{column.name}"] for column in source.columns}
        return values if values.get("project", values.get("id")) is not None else {}

    def values_of(source: sa.Table, *names: str) -> dict[str, Any]:
        """Returns those of the columns that are not NULL."""
        values = row_of(source)
        return {name: values[name] for name in names if values.get(name) is not None}

    connection, publication = row_of(schema.connection), row_of(schema.publication)
    synchronisation = row_of(schema.synchronisation)
    counts = values_of(schema.synchronisation, "tasks", "annotations", "skips")
    timings = values_of(schema.publication, "bulk_seconds", "single_seconds")
    profile = row_of(schema.record_profile)
    by_control: dict[str, Any] = {name: row[name] or {} for name in _CONTROL_TABLES}
    return ProjectRow(
        **row_of(table),
        connection=connections.compose(connection) if connection else None,
        **{name: publication[name] for name in ("published", "fingerprint", "republish") if publication},
        **{name: synchronisation[name] for name in ("read_under", "watermark", "reconciled_at") if synchronisation},
        counts=counts or None,
        publish_timings={name.removesuffix("_seconds"): seconds for name, seconds in timings.items()},
        progress=values_of(schema.progress, "worker", "encoded", "tasks", "read"),
        teacher=values_of(schema.teacher_state, "name", "model", "problem", "until") or None,
        record_profile={name: value for name, value in profile.items() if name != "project"} or None,
        field_overrides=row_of(schema.field_override).get("fields", {}),
        **by_control,
    )
