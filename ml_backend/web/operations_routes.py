"""The routes for operators and their tools: readiness, metrics, rollback to an earlier model version."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import BadRequest

from ml_backend.core.types import storable_text
from ml_backend.loop.rollback import roll_back
from ml_backend.rendering.rollback_text import rollback_sentence
from ml_backend.web.app_state import app_state
from ml_backend.web.request_body import read_body, require_project_id

operations_routes = Blueprint("operations", __name__)


@operations_routes.get("/ready")
def ready() -> Any:
    workers = app_state().store.jobs.workers()
    return jsonify(status="READY" if workers else "NO WORKER", workers=len(workers)), 200 if workers else 503


@operations_routes.post("/versions")
def activate() -> Any:
    body = read_body()
    version = body.get("version")
    if not isinstance(version, str | int) or isinstance(version, bool):
        raise BadRequest("version must be a version's name or number, or 'latest'")
    control = body.get("control", "")
    if not isinstance(control, str):
        raise BadRequest("control must be the name of a control")
    project = require_project_id(body.get("project"))
    held = roll_back(app_state().store, project, storable_text(str(version)), control)
    return jsonify(rollback=rollback_sentence(project, held, control)), 202


@operations_routes.get("/metrics")
def scrape() -> Response:
    return Response(app_state().metrics.render(), mimetype="text/plain; version=0.0.4")
