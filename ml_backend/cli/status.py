"""`apprentice status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ml_backend.cli.common import DataDir, OptionalProject, open_store, out, read_settings

if TYPE_CHECKING:
    from ml_backend.monitoring.status import Status

NAME_COLUMN_WIDTH = 16


def status(
    project: OptionalProject = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object (a list without --project)")] = False,
    control: Annotated[str, typer.Option(metavar="NAME", help="the details of this control; needs --project")] = "",
    data_dir: DataDir = None,
) -> None:
    """Show the labelled tasks, the accuracy of the learner, and the last round."""
    from ml_backend.monitoring.status import read_status

    if control and not project:
        raise typer.BadParameter("give --project, too", param_hint="--control")
    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    projects = [project] if project else [project_row.id for project_row in store.projects.connected()]
    statuses = [read_status(store, number, settings) for number in projects]
    if as_json:
        documents = [status.as_dict() for status in statuses]
        typer.echo(json.dumps(documents[0] if project else documents, indent=2))
    elif not statuses:
        out.print("No project is connected: `apprentice connect --project N`.")
    else:
        for status in statuses:
            if control and status.schema:
                status.schema.selected_controls(control)  # raises an error if the project does not learn it
            _print_status(status, control)


def _print_status(status: Status, control: str) -> None:
    from ml_backend.rendering.status_text import status_lines

    out.print(f"[bold]Project {status.project}[/]")
    lines = status_lines(status, control)
    width = max(NAME_COLUMN_WIDTH, *(len(name) + 1 for name, _ in lines))
    for name, sentence in lines:
        out.print(escape(f"  {name:<{width}}{sentence}"), highlight=False)
