"""Reads and checks the data of requests. Each function raises BadRequest if the value is not usable."""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest

from ml_backend.label_studio.serialization import read_project_id


def read_body() -> dict[str, Any]:
    """Returns the JSON object in the body of the current request."""
    try:
        body = request.get_json(silent=True, force=True)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def require_project_id(value: Any) -> int:
    """Returns a project's number, read from the value that a client sent for it."""
    project = read_project_id(value)
    if project is None:
        raise BadRequest("project must be a project's number")
    return project
