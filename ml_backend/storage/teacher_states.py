"""How it goes with each project's teacher: what is wrong, and until when it is left alone."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import teacher_state as table


class TeacherStates:
    """The table `teacher_state`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def meet(self, project: int, name: str, model: str) -> None:
        """A project has this teacher from now on, of which nothing bad is known."""
        row = {"project": project, "name": name, "model": model, "problem": "", "until": 0.0}
        self._database.write(self._database.put(table, row))

    def report(self, project: int, name: str, problem: str, until: float = 0.0) -> None:
        """What is wrong with the teacher of this name, and when it is asked again (seconds since the epoch); nothing
        if the project has another one by now."""
        mine = sa.update(table).where(table.c.project == project, table.c.name == name)
        self._database.write(mine.values(problem=problem, until=until))

    def forget(self, project: int) -> None:
        self._database.write(sa.delete(table).where(table.c.project == project))
