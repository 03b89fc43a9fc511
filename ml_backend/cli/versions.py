"""`apprentice versions` and `apprentice rollback`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from ml_backend.cli.common import DataDir, Project, open_store, out, read_settings


def versions(project: Project, data_dir: DataDir = None) -> None:
    """The model versions of a project, newest first."""
    from ml_backend.monitoring.status import read_status

    store = open_store(read_settings(data_dir=data_dir))
    read_status(store, project)  # says so if the project is unknown
    active, kept = store.versions.active(project), set(store.versions.learners(project))
    table = Table(Column("version", no_wrap=True), "learner", "labels", "accuracy", "made", "note", box=None)
    found = store.versions.all(project)
    learnt = {version.number: str(version.labelled) for version in found}
    for version in found:
        name = f"[green]{version.name} active[/]" if active and version.number == active.number else version.name
        own = "kept" if version.number in kept else (f"of {version.learner}" if version.learner else "none yet")
        labels = learnt.get(version.learner or version.number, "-")  # what its learner was trained on
        accuracy = f"{version.accuracy.value:.3f}" if version.accuracy else "-"
        made = datetime.fromtimestamp(version.created_at, UTC).astimezone().strftime("%d %b %H:%M")
        table.add_row(name, own, labels, accuracy, made, escape(version.note))
    out.print(table)


def rollback(
    project: Project,
    to: Annotated[str | None, typer.Option(help="version name or number; `latest` ends a rollback")] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve an earlier learner again, at once, and hold it there."""
    from ml_backend.loop.rollback import roll_back

    said = roll_back(open_store(read_settings(data_dir=data_dir)), project, to)
    out.print(f"Project {project}: {said}.")
