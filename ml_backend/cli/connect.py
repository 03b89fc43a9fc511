"""`apprentice connect` and `apprentice disconnect`."""

from __future__ import annotations

from ml_backend.cli.common import DataDir, Key, Project, Url, make_client, open_store, out, read_settings, say


def connect(project: Project, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None) -> None:
    """Connect a project: webhook, ML backend, sampling, a tab in queue order, and the first round."""
    from ml_backend.label_studio.setup import connect as set_up
    from ml_backend.monitoring.health_check import wait_for_backend
    from ml_backend.monitoring.text_sample import question_and_text_sentences
    from ml_backend.storage import Store, credentials, remember_credentials

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    wait_for_backend(settings)  # before anything is changed: a project that works would be cut off
    client, store = make_client(settings), Store(settings)
    client.version()
    client.project(project)  # the key is right: now the worker of the first round may have it
    remember_credentials(settings.data_dir, *credentials(settings))
    schema = set_up(client, store, settings, project, say)
    for sentence in question_and_text_sentences(client, project, schema):
        say(sentence)
    out.print(f"Project {project} is connected. `apprentice status --project {project}` shows the first round.")


def disconnect(project: Project, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None) -> None:
    """Undo `connect` and restore the project's earlier settings. What was learnt is kept: `forget` removes it."""
    from ml_backend.label_studio.setup import disconnect as take_apart

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    store = open_store(settings)
    done = take_apart(make_client(settings), store, project, say)
    out.print(f"Project {project} is {'disconnected' if done else 'not connected: nothing to do'}.")
