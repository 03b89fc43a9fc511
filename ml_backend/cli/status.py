"""`apprentice status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ml_backend.cli.common import AnyProject, DataDir, open_store, out, read_settings

if TYPE_CHECKING:
    from ml_backend.monitoring.status import Status


def status(
    project: AnyProject = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object (a list without --project)")] = False,
    data_dir: DataDir = None,
) -> None:
    """What is labelled, how good the learner is, and what the last round did."""
    from ml_backend.monitoring.status import read_status

    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    numbers = [project] if project else [record.id for record in store.projects.connected()]
    found = [read_status(store, number, settings) for number in numbers]
    if as_json:
        dumped = [each.as_dict() for each in found]
        typer.echo(json.dumps(dumped[0] if project else dumped, indent=2))
    elif not found:
        out.print("No project is connected: `apprentice connect --project N`.")
    for each in found if not as_json else ():
        _print_status(each)


def _print_status(each: Status) -> None:
    from ml_backend.monitoring.status import lines

    out.print(f"[bold]Project {each.project}[/]")
    for name, text in lines(each):
        out.print(f"  {name:<16}{escape(text)}", highlight=False)
