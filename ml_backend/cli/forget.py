"""`apprentice forget`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ml_backend.cli.common import (
    ApiKey,
    DataDir,
    LabelStudioUrl,
    Project,
    make_client,
    open_store,
    out,
    print_indented,
    read_settings,
)

if TYPE_CHECKING:
    from ml_backend.core.settings import Settings
    from ml_backend.label_studio.client import LabelStudioClient
    from ml_backend.storage import ProjectRow

COUNTED_TABLES = {
    "task": "tasks",
    "annotation": "annotations",
    "version": "versions",
    "question": "questions to the teacher",
}


def forget(
    project: Project,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    label_studio_url: LabelStudioUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Remove a project: its drafts in Label Studio and all its data here. The annotations stay in Label Studio.

    The project is disconnected first, as by `disconnect`. If it is connected again, it starts from nothing.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.label_studio.removal import forget as remove_project

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    store = open_store(settings)
    rows = store.count_rows(project)
    if not rows:
        raise ApprenticeError(f"Project {project} is not known here: there is nothing to forget")
    counts = ", ".join(f"{rows.get(table, 0):,} {name}" for table, name in COUNTED_TABLES.items())
    out.print(f"Project {project} has {counts} here. The annotations in Label Studio stay there.", highlight=False)
    if not yes:
        typer.confirm("Forget it? This cannot be undone", abort=True)
    client = _client_of_project(settings, store.projects.ensure(project), ask=not yes)
    removed = remove_project(client, store, project, print_indented)
    counts = ", ".join(f"{table} {count:,}" for table, count in removed.items())
    out.print(f"Project {project} is forgotten. Removed, by table: {counts}.", highlight=False)


def _client_of_project(settings: Settings, project_row: ProjectRow, *, ask: bool) -> LabelStudioClient | None:
    """A client for the project. None if the project is gone from Label Studio, or if Label Studio cannot be reached and
    the user decides to continue without it. If `ask` is false, that raises LabelStudioError."""
    from ml_backend.core.exceptions import LabelStudioError
    from ml_backend.label_studio.removal import is_in_label_studio

    try:
        client = make_client(settings)
        return client if is_in_label_studio(client, project_row, print_indented) else None
    except LabelStudioError as error:
        if not ask:
            raise
        print_indented(str(error))
        typer.confirm("Forget it here, and leave its drafts and webhook in Label Studio", abort=True)
        return None
