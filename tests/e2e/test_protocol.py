"""The calls between a real Label Studio and a running backend."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from running_backend import Backend, Project

pytestmark = pytest.mark.e2e


def calls(backend: Backend, endpoint: str) -> float:
    """Returns the number of successful requests to an endpoint, from the backend's metrics."""
    lines = httpx.get(f"{backend.settings.address}/metrics", auth=("apprentice", backend.secret), timeout=60).text
    prefix = f'apprentice_request_seconds_count{{endpoint="{endpoint}",status="200"}} '
    return sum(float(line.removeprefix(prefix)) for line in lines.splitlines() if line.startswith(prefix))


def test_the_secret_opens_every_door_and_nothing_else_does(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(10)
    backend.connect(project)
    task = {"id": 1, "data": {"text": "Is there a night train to Lisbon?"}}
    event = {"action": "PROJECT_UPDATED", "project": {"id": project.number}}
    requests = [
        ("POST", "/setup", {"project": str(project.number), "schema": project.seen()["label_config"]}, 200),
        ("POST", "/predict", {"project": str(project.number), "tasks": [task]}, 200),
        ("POST", "/webhook", event, 200),
        ("GET", "/versions", None, 200),
        ("GET", f"/versions?project={project.number}", None, 200),
        ("POST", "/versions", {"project": project.number, "version": "latest"}, 202),
        ("GET", "/metrics", None, 200),
    ]
    keys: dict[str, httpx.Auth | Callable[[httpx.Request], httpx.Request]] = {
        "basic": httpx.BasicAuth("apprentice", backend.secret),
        "bearer": lambda request: _with_bearer(request, backend.secret),
    }
    with backend.held_queue(project) as version, httpx.Client(base_url=backend.settings.address, timeout=60) as outside:
        for path in ("/", "/health", "/ready"):
            assert outside.get(path).status_code == 200
        for method, path, body, expected in requests:
            for kind, key in keys.items():
                reply = outside.request(method, path, json=body, auth=key)
                assert reply.status_code == expected, (path, kind, reply.text)
            wrong = (None, httpx.BasicAuth("apprentice", "guess"), httpx.BasicAuth("admin", backend.secret))
            assert [
                outside.request(method, path, json=body, auth=credentials).status_code for credentials in wrong
            ] == [401] * 3
        (result,) = outside.post("/predict", json=requests[1][2], auth=keys["basic"]).json()["results"]
        assert result["model_version"] == version.name and result["result"][0]["value"]["choices"]


def _with_bearer(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def test_label_studio_itself_can_use_the_backend(backend: Backend, make_project: Callable[..., Project]) -> None:
    project = make_project(70)
    backend.connect(project)
    with backend.held_queue(project) as version:
        (connection,) = project.ml_backends()
        assert connection["state"] == "CO" and connection["readable_state"] == "Connected"

        versions = project.client.call("GET", f"api/ml/{connection['id']}/versions")
        assert version.name in versions["versions"]

        assert len(project.predictions(version.name)) == 50, "20 tasks lie behind the queue"
        calls_before = calls(backend, "predict")
        selected = {"selectedItems": {"all": True, "excluded": []}}
        project.client.call(
            "POST", "api/dm/actions", params={"id": "retrieve_tasks_predictions", "project": project.number},
            body=selected, timeout=120,
        )  # fmt: skip
        assert calls(backend, "predict") == calls_before + 1, "all of them in one call"
        rows = project.predictions(version.name)
    assert sorted(row["task"] for row in rows) == sorted(task["id"] for task in project.tasks())
    assert all(float(row["score"]) >= 0.5 for row in rows[50:]), "what is drafted on request stays behind the queue"
    blind = {row["task"] for row in rows if not row["result"]}
    assert blind <= set(backend.store.versions.audited(project.number)), "only audit tasks stand without a draft"

    calls_before = calls(backend, "webhook")
    project.client.call("POST", f"api/ml/{connection['id']}/train", body={})
    assert calls(backend, "webhook") > calls_before
    backend.wait_for_queue(project)
