"""The state of each project's teacher: its problem, if it has one, and the time until which it is not asked."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import teacher_state as table


class TeacherStates:
    """The table `teacher_state`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_teacher(self, project: int, name: str, model: str) -> None:
        """Sets the teacher of a project, without a problem."""
        row = {"project": project, "name": name, "model": model, "problem": "", "until": 0.0}
        self._database.write(self._database.put(table, row))

    def set_problem(self, project: int, name: str, problem: str, until: float = 0.0) -> None:
        """Stores a problem of the teacher with this name ("": none), and the time at which it is asked again (seconds
        since the epoch). Does nothing if the project has another teacher by now."""
        change = sa.update(table).where(table.c.project == project, table.c.name == name)
        self._database.write(change.values(problem=problem, until=until))

    def forget(self, project: int) -> None:
        self._database.write(sa.delete(table).where(table.c.project == project))
