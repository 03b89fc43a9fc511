"""The routes that Label Studio calls: health, setup, predict, webhook, and the list of model versions."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request
from werkzeug.exceptions import BadRequest

from ml_backend.core.types import storable_text
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.web.app_state import app_state
from ml_backend.web.request_body import read_body, require_project_id

MAX_VERSIONS_LISTED = 1000  # per project, newest first
ACTIONS = {
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED",
    "TASKS_DELETED", "PROJECT_CREATED", "PROJECT_UPDATED", "PROJECT_DELETED", "START_TRAINING",
}  # fmt: skip

label_studio_routes = Blueprint("label_studio", __name__)


@label_studio_routes.get("/")
@label_studio_routes.get("/health")
def health() -> Any:
    return jsonify(status="UP", model_class="ActiveLearningBackend")


@label_studio_routes.post("/setup")
def setup() -> Any:
    body = read_body()
    backend = _backend(body.get("project"), body.get("schema"))
    return jsonify(backend.setup(body.get("extra_params")))


@label_studio_routes.post("/predict")
def predict() -> Any:
    body = read_body()
    tasks = body.get("tasks")
    if not isinstance(tasks, list):
        raise BadRequest("tasks must be a list")
    params = body.get("params")
    context = params.get("context") if isinstance(params, dict) else None
    backend = _backend(body.get("project"), body.get("label_config"))
    return jsonify(results=backend.predict(tasks, context=context))


@label_studio_routes.post("/webhook")
def webhook() -> Any:
    state = app_state()
    event = read_event(read_body(), state.store.projects.choices)
    round_requested = store_event(state.store, event)
    state.metrics.events.labels(_metric_label(event.action)).inc()
    return jsonify(status="taken", round=round_requested)


@label_studio_routes.get("/versions")
def versions() -> Any:
    store = app_state().store
    project_argument = request.args.get("project")
    if project_argument is None:
        names = [
            version.name for project_row in store.projects.all() if (version := store.versions.active(project_row.id))
        ]
        return jsonify(versions=names)
    project = require_project_id(project_argument)
    active = store.versions.active(project)
    return jsonify(
        versions=[version.name for version in store.versions.all(project, MAX_VERSIONS_LISTED)],
        active=active.name if active else None,
    )


def _backend(project: Any, label_config: Any) -> Any:
    config = storable_text(label_config) if isinstance(label_config, str) else None
    return app_state().backend_class(project_id=require_project_id(project), label_config=config)


def _metric_label(action: str) -> str:
    """Returns a webhook action as the label of a metric. Unknown actions share one label, so that a client cannot
    create time series at will."""
    return action if action in ACTIONS else "other"
