"""Projects: what is known of each Label Studio project that this backend serves."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from ml_backend.store.database import Database, StoreError, now
from ml_backend.store.schema import project as table


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """One row of the table `project`; `store/schema.py` says what each column holds."""

    id: int
    label_config: str = ""
    extra_params: dict[str, Any] | None = None
    connection: dict[str, Any] | None = None
    made_at: str = ""
    published: str | None = None
    fingerprint: str = ""
    pinned: int | None = None
    counts: dict[str, int] | None = None
    tasks_revision: int = 0
    read_under: str = ""
    watermark: str = ""
    reconciled_at: float = 0.0
    pace: dict[str, float] | None = None
    progress: dict[str, Any] | None = None
    watch: dict[str, Any] | None = None
    proposals: dict[str, Any] | None = None
    teacher: dict[str, Any] | None = None
    cues: dict[str, Any] | None = None
    records: dict[str, Any] | None = None
    features: dict[str, Any] | None = None
    prior: dict[str, Any] | None = None
    evolution: dict[str, Any] | None = None

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
    """The table `project`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: int) -> ProjectRecord | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.id == project)).mappings().first()
        return ProjectRecord(**row) if row else None

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
            self.update(project)
            found = ProjectRecord(id=project)
        return found

    def update(self, project: int, **values: Any) -> None:
        """Sets columns of one project, which is made if it is new. Raises TypeError for an unknown column."""
        unknown = values.keys() - {field.name for field in fields(ProjectRecord)}
        if unknown:
            raise TypeError(f"no such column of project: {', '.join(sorted(unknown))}")
        change = sa.update(table).where(table.c.id == project).values(**values, id=project)
        with self._database.begin() as connection:
            if connection.execute(change).rowcount == 0:
                connection.execute(self._database.insert_or_ignore(table), [{**_EMPTY, "id": project}])
                connection.execute(change)

    def begin_look(self, project: int) -> None:
        """A look at Label Studio begins; whoever wants another one meanwhile sets `reconciled_at` to 0."""
        self.update(project, reconciled_at=_LOOKING)

    def end_look(self, project: int) -> None:
        """The look has seen everything, unless another one was wanted since it began."""
        undisturbed = sa.update(table).where(table.c.id == project, table.c.reconciled_at == _LOOKING)
        with self._database.begin() as connection:
            connection.execute(undisturbed.values(reconciled_at=now()))

    def all(self) -> list[ProjectRecord]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.id)).mappings().all()
        return [ProjectRecord(**row) for row in rows]

    def connected(self) -> list[ProjectRecord]:
        """The projects that `connect` set up."""
        return [record for record in self.all() if record.is_connected]


_LOOKING = -1.0  # in `reconciled_at`: a look that fails leaves it, and is repeated
_EMPTY: dict[str, Any] = {"extra_params": {}, "pace": {}, "progress": {}}
