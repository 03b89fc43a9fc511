"""`apprentice forget`: a project leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ml_backend.cli.common import DataDir, Key, Project, Url, make_client, open_store, out, read_settings, say

if TYPE_CHECKING:
    from ml_backend.core.settings import Settings
    from ml_backend.label_studio.client import LabelStudioClient
    from ml_backend.storage import ProjectRecord

SHOWN = {"task": "tasks", "annotation": "annotations", "version": "versions", "question": "questions to the teacher"}


def forget(
    project: Project,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    label_studio_url: Url = None,
    api_key: Key = None,
    data_dir: DataDir = None,
) -> None:
    """Remove a project whole: its drafts in Label Studio and all that is known of it here. Annotations stay there.

    What `connect` made is removed first, as `disconnect` does. Connected again, the project begins anew.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.label_studio.removal import forget as remove

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    store = open_store(settings)
    rows = store.rows(project)
    if not rows:
        raise ApprenticeError(f"Project {project} is not known here: there is nothing to forget")
    counted = ", ".join(f"{rows.get(table, 0):,} {name}" for table, name in SHOWN.items())
    out.print(f"Project {project} has {counted} here. What is annotated in Label Studio stays there.", highlight=False)
    if not yes:
        typer.confirm("Forget it? This cannot be undone", abort=True)
    client = _reach(settings, store.projects.ensure(project), ask=not yes)
    removed = remove(client, store, project, say)
    told = ", ".join(f"{name} {count:,}" for name, count in removed.items())
    out.print(f"Project {project} is forgotten. Removed, by table: {told}.", highlight=False)


def _reach(settings: Settings, record: ProjectRecord, *, ask: bool) -> LabelStudioClient | None:
    """The way to the project in Label Studio; None if it is gone from there, or if whoever is asked goes on without
    it. Raises LabelStudioError if nobody is asked."""
    from ml_backend.core.exceptions import LabelStudioError
    from ml_backend.label_studio.removal import is_in_label_studio

    try:
        client = make_client(settings)
        return client if is_in_label_studio(client, record, say) else None
    except LabelStudioError as error:
        if not ask:
            raise
        say(str(error))
        typer.confirm("Forget it here all the same, with its drafts and webhook left in Label Studio", abort=True)
        return None
