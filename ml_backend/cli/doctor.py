"""`apprentice doctor`."""

from __future__ import annotations

import typer
from rich.markup import escape

from ml_backend.cli.common import AnyProject, DataDir, Key, Url, out, read_settings


def doctor(
    project: AnyProject = None, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None
) -> None:
    """Check everything from both sides and say what to do. Exit code 1 if something is wrong."""
    from ml_backend.monitoring.doctor import examine

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    wrong = 0
    for finding in examine(settings, project):
        wrong += finding.state == "wrong"
        mark = {"good": "[green]ok   [/]", "notice": "[yellow]note [/]", "wrong": "[red]wrong[/]"}[finding.state]
        out.print(f"{mark} [bold]{escape(finding.about)}[/]: {escape(finding.text)}", highlight=False)
    raise typer.Exit(1 if wrong else 0)
