"""`apprentice doctor`."""

from __future__ import annotations

import typer
from rich.markup import escape

from ml_backend.cli.common import ApiKey, DataDir, LabelStudioUrl, OptionalProject, out, read_settings


def doctor(
    project: OptionalProject = None,
    label_studio_url: LabelStudioUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Check backend, Label Studio and projects, and say what to do. Exit code 1 if something is wrong."""
    from ml_backend.monitoring.doctor import examine
    from ml_backend.rendering.doctor_text import finding_sentences, subject_name

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    has_problem = False
    for finding in examine(settings, project):
        has_problem = has_problem or finding.state == "wrong"
        mark = {"good": "[green]ok   [/]", "notice": "[yellow]note [/]", "wrong": "[red]wrong[/]"}[finding.state]
        for sentence in finding_sentences(finding):
            out.print(f"{mark} [bold]{escape(subject_name(finding))}[/]: {escape(sentence)}", highlight=False)
    raise typer.Exit(1 if has_problem else 0)
