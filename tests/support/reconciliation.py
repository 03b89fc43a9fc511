"""Reconciles project 5 with a fake Label Studio, and compares the store with it."""

from __future__ import annotations

from fake_label_studio import FakeClient, FakeLabelStudio

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Annotation
from ml_backend.label_studio.client import PAGE_TASKS
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_annotation
from ml_backend.label_studio.sync import reconcile
from ml_backend.storage import Store


def settle(server: FakeLabelStudio, store: Store, page_tasks: int = PAGE_TASKS) -> FakeClient:
    client = FakeClient(server, page_tasks)
    reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
    return client


def server_annotations(server: FakeLabelStudio, schema: ProjectSchema) -> list[Annotation]:
    """The annotations of the server, in the order of their ids."""
    annotations = (read_annotation(body, schema, {}) for body in server.annotations())
    return sorted((annotation for annotation in annotations if annotation), key=lambda annotation: annotation.id)


def assert_agree(server: FakeLabelStudio, store: Store) -> None:
    tasks, _ = store.tasks.index(5)
    assert tasks.tolist() == sorted(server.tasks)
    assert store.tasks.texts(5, tasks.tolist()) == [server.tasks[task]["data"]["text"] for task in tasks.tolist()]
    schema = read_schema(server.label_config)
    assert store.annotations.of(5) == server_annotations(server, schema)
    assert store.projects.ensure(5).label_config == server.label_config


def task_queries(client: FakeClient) -> list[str]:
    """The queries of all requests for lists of tasks."""
    calls = zip(client.calls, client.params, strict=True)
    return [str(params.get("query")) for (_, path, _), params in calls if path == "api/tasks"]
