"""Projects: what is known of each Label Studio project that this backend serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend.core.exceptions import StoreError
from ml_backend.storage import connections, schema
from ml_backend.storage.database import Database

table = schema.project
_CONCERNS = (
    schema.connection, schema.publication, schema.synchronisation, schema.progress, schema.monitor,
    schema.teacher_state, schema.label_description, schema.record_profile, schema.feature_score, schema.distillation,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """A project at one moment, over all tables that have one row for it; `store/schema.py` says what they hold.

    Each concern is changed by methods of its own: `Store.connections`, `Store.publications` and so on.
    """

    id: int
    label_config: str = ""
    extra_params: dict[str, Any] | None = None
    connection: dict[str, Any] | None = None
    made_at: str = ""
    published: str | None = None
    fingerprint: str = ""
    republish: int = 0
    pinned: int | None = None
    counts: dict[str, int] | None = None
    tasks_revision: int = 0
    read_under: str = ""
    watermark: str = ""
    reconciled_at: float = 0.0
    pace: dict[str, float] | None = None
    progress: dict[str, Any] | None = None
    watch: dict[str, Any] | None = None
    teacher: dict[str, Any] | None = None
    cues: dict[str, Any] | None = None
    records: dict[str, Any] | None = None
    features: dict[str, Any] | None = None
    prior: dict[str, Any] | None = None

    @property
    def choices(self) -> str:
        """The name of the <Choices> that is to be learnt, "" if the configuration decides."""
        name = (self.extra_params or {}).get("choices")
        return name if isinstance(name, str) else ""

    @property
    def is_connected(self) -> bool:
        """Whether `connect` came to its end. `connection` is kept from its beginning on, for `disconnect` to undo."""
        return bool(self.connection) and not (self.connection or {}).get("unfinished")


class Projects:
    """The table `project`: which project it is, and how it is configured."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: int) -> ProjectRecord | None:
        found = self._select(table.c.id == project)
        return found[0] if found else None

    def known(self, project: int) -> ProjectRecord:
        """Raises StoreError if this backend has never heard of it."""
        found = self.get(project)
        if found is None:
            raise StoreError(f"Project {project} is not known here: run `apprentice connect --project {project}`")
        return found

    def choices(self, project: int) -> str:
        """See `ProjectRecord.choices`; one column is read."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(table.c.extra_params).where(table.c.id == project)).scalar()
        return ProjectRecord(project, extra_params=found).choices

    def ensure(self, project: int) -> ProjectRecord:
        """The project's record, made if it is new."""
        found = self.get(project)
        if found is None:
            self._database.write(self._database.insert_or_ignore(table).values(id=project))
            found = self.known(project)
        return found

    def all(self) -> list[ProjectRecord]:
        return self._select(sa.true())

    def connected(self) -> list[ProjectRecord]:
        """The projects that `connect` set up."""
        return [record for record in self._select(schema.connection.c.complete) if record.is_connected]

    def set_label_config(self, project: int, label_config: str) -> None:
        self._set(project, label_config=label_config)

    def set_extra_params(self, project: int, extra_params: dict[str, Any]) -> None:
        self._set(project, extra_params=extra_params)

    def identify(self, project: int, made_at: str) -> None:
        """Notes when Label Studio made the project: another time is another project."""
        self._set(project, made_at=made_at)

    def pin(self, project: int, number: int | None) -> None:
        """Holds the project at the learner of a version; None ends that."""
        self._set(project, pinned=number)

    def _set(self, project: int, **values: Any) -> None:
        self._database.write(self._database.put(table, {"id": project, **values}))

    def _select(self, condition: sa.ColumnElement[bool]) -> list[ProjectRecord]:
        source: sa.FromClause = table
        for concern in _CONCERNS:
            source = source.outerjoin(concern, concern.c.project == table.c.id)
        query = sa.select(table, *_CONCERNS).select_from(source).where(condition).order_by(table.c.id)
        query = query.set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]


def _record(row: sa.RowMapping) -> ProjectRecord:
    def part(of: sa.Table) -> dict[str, Any]:
        """The row of one table, {} if it has none for the project."""
        values = {column.name: row[f"{of.name}_{column.name}"] for column in of.columns}
        return values if values.get("project", values.get("id")) is not None else {}

    def some(of: sa.Table, *names: str) -> dict[str, Any]:
        """Those of some columns that have a value."""
        values = part(of)
        return {name: values[name] for name in names if values.get(name) is not None}

    made, published, known = part(schema.connection), part(schema.publication), part(schema.synchronisation)
    counts = some(schema.synchronisation, "tasks", "annotations", "skips")
    pace = some(schema.publication, "bulk_seconds", "single_seconds")
    profile, prior = part(schema.record_profile), part(schema.distillation)
    return ProjectRecord(
        **part(table),
        connection=connections.compose(made) if made else None,
        **{name: published[name] for name in ("published", "fingerprint", "republish") if published},
        **{name: known[name] for name in ("read_under", "watermark", "reconciled_at") if known},
        counts=counts or None,
        pace={name.removesuffix("_seconds"): seconds for name, seconds in pace.items()},
        progress=some(schema.progress, "worker", "encoded", "tasks", "read"),
        watch=part(schema.monitor).get("results"),
        teacher=some(schema.teacher_state, "name", "model", "problem", "until") or None,
        cues=part(schema.label_description).get("descriptions"),
        records=_without_project(profile) or None,
        features=part(schema.feature_score).get("scores"),
        prior=_without_project(prior) or None,
    )


def _without_project(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "project"}
