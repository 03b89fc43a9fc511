"""`apprentice connect` and `apprentice disconnect`."""

from __future__ import annotations

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


def connect(
    project: Project, label_studio_url: LabelStudioUrl = None, api_key: ApiKey = None, data_dir: DataDir = None
) -> None:
    """Connect a project: webhook, ML backend, sampling, a tab in queue order, and the first round."""
    from ml_backend.label_studio.setup import connect as connect_project
    from ml_backend.monitoring.health_check import wait_for_backend
    from ml_backend.monitoring.text_sample import check_first_tasks
    from ml_backend.rendering.project_text import question_and_text_sentences
    from ml_backend.storage import Store, read_credentials, save_credentials

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    wait_for_backend(settings)  # first: without a backend, the changes would stop a project that works
    client, store = make_client(settings), Store(settings)
    client.version()
    client.project(project)  # raises an error unless the key is valid; only a valid key is stored for the worker
    save_credentials(settings.data_dir, *read_credentials(settings))
    schema = connect_project(client, store, settings, project, print_indented)
    for sentence in question_and_text_sentences(schema, check_first_tasks(client, project, schema)):
        print_indented(sentence)
    out.print(f"Project {project} is connected. `apprentice status --project {project}` shows the first round.")


def disconnect(
    project: Project, label_studio_url: LabelStudioUrl = None, api_key: ApiKey = None, data_dir: DataDir = None
) -> None:
    """Undo `connect` and restore the project's earlier settings. Labels and models are kept: `forget` removes them."""
    from ml_backend.label_studio.setup import disconnect as disconnect_project

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    store = open_store(settings)
    was_connected = disconnect_project(make_client(settings), store, project, print_indented)
    out.print(f"Project {project} is {'disconnected' if was_connected else 'not connected: nothing to do'}.")
