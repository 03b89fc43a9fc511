"""The Flask application: routes, access check, error responses and request metrics.

Importing this module loads no model and no torch. `warm` imports the libraries that the first request needs.
"""

from __future__ import annotations

import hmac
import time
from typing import Any, NoReturn
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from ml_backend.core.exceptions import ApprenticeError, InvalidEventError, UnknownVersionError
from ml_backend.core.settings import Settings, is_loopback
from ml_backend.label_studio.setup import BASIC_AUTH_USER
from ml_backend.monitoring.prometheus import Metrics
from ml_backend.storage import Store
from ml_backend.web.app_state import AppState, app_state, attach_state
from ml_backend.web.label_studio_routes import label_studio_routes
from ml_backend.web.operations_routes import operations_routes

OPEN_ENDPOINTS = {"label_studio.health", "operations.ready"}  # they need no secret
PROXY_HEADERS = ("Forwarded", "Via", "X-Real-Ip")
PROXY_HEADER_PREFIX = "X-Forwarded-"
MAX_BODY_BYTES = 64 * 2**20  # an import event of 100,000 tasks fits
REFUSAL_LOG_SECONDS = 60.0  # between two log lines about requests without the right secret

log = structlog.get_logger()


def create_app(settings: Settings, store: Store | None = None) -> Flask:
    """Builds the WSGI application of one installation."""
    store = store or Store(settings)
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES)
    metrics = Metrics(store)
    attach_state(app, AppState(settings, store, metrics))
    _check_access(app, settings.secret.get_secret_value())
    _answer_errors_with_json(app)
    _measure_requests(app, metrics)
    app.register_blueprint(label_studio_routes)
    app.register_blueprint(operations_routes)
    return app


def warm(app: Flask) -> None:
    """Imports label-studio-ml and the SDK, so that the first /setup does not wait for them. Loads no weights."""
    from ml_backend.label_studio.label_config import read_schema

    _ = app_state(app).backend_class
    read_schema(
        '<View><Text name="t" value="$t"/><Choices name="c" toName="t">'
        '<Choice value="a"/><Choice value="b"/></Choices></View>'
    )


def _check_access(app: Flask, secret: str) -> None:
    """Refuses requests without the secret. Without a configured secret, it refuses requests from other machines and
    requests that came through a proxy."""
    logged_at = 0.0

    def refuse() -> NoReturn:
        nonlocal logged_at
        if time.monotonic() - logged_at > REFUSAL_LOG_SECONDS:
            logged_at = time.monotonic()
            log.warning(
                "request refused: no secret or a wrong one; if Label Studio sent it, run `apprentice connect` again",
                path=request.path,
            )
        raise Unauthorized("present the secret, as Basic authentication (user apprentice) or as a Bearer token")

    @app.before_request
    def check() -> None:
        if request.endpoint in OPEN_ENDPOINTS:
            return
        if not secret:
            _check_local()
            return
        try:
            authorization = request.authorization
        except ValueError:  # Basic with characters that are not base64
            authorization = None
        user, password = BASIC_AUTH_USER, ""
        if authorization is not None and authorization.type == "basic":
            user, password = authorization.username or "", authorization.password or ""
        elif authorization is not None and authorization.type == "bearer":
            password = authorization.token or ""
        # user and password are compared together and in constant time, so that neither can be guessed separately
        if not hmac.compare_digest(f"{user}:{password}".encode(), f"{BASIC_AUTH_USER}:{secret}".encode()):
            refuse()


def _check_local() -> None:
    """Raises Forbidden unless a program on this machine sent the current request directly."""
    # a page in a browser on this machine uses loopback, too, but sends an Origin or another name of the host
    is_foreign = "Origin" in request.headers or not is_loopback(urlsplit(f"//{request.host}").hostname or "")
    if is_foreign or not is_loopback(request.remote_addr or ""):
        raise Forbidden("no secret is configured: only this machine is served")
    # a proxy on this machine uses loopback for the requests of all its clients
    if any(name in PROXY_HEADERS or name.startswith(PROXY_HEADER_PREFIX) for name, _ in request.headers):
        raise Forbidden(
            "no secret is configured, and this request came through a proxy: set APPRENTICE_SECRET, and run "
            "`apprentice connect` again"
        )


def _answer_errors_with_json(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Any:
        return jsonify(error=error.description), error.code or 500

    @app.errorhandler(InvalidEventError)
    def invalid_event(error: InvalidEventError) -> Any:
        return jsonify(error=str(error)), 400

    @app.errorhandler(UnknownVersionError)
    def unknown_version(error: UnknownVersionError) -> Any:
        return jsonify(error=str(error)), 404

    @app.errorhandler(ApprenticeError)
    def apprentice_error(error: ApprenticeError) -> Any:
        log.error("request failed", path=request.path, error=str(error))
        return jsonify(error=str(error)), 503

    @app.errorhandler(Exception)
    def unexpected_error(error: Exception) -> Any:
        # the trace and the message stay out of the answer and the log, because both may contain task text
        log.error("request failed", path=request.path, error=type(error).__name__)
        return jsonify(error="internal error, see the log"), 500


def _measure_requests(app: Flask, metrics: Metrics) -> None:
    @app.before_request
    def start_timer() -> None:
        request.environ["apprentice.begin"] = time.perf_counter()

    @app.after_request
    def observe_seconds(response: Response) -> Response:
        started_at = request.environ.get("apprentice.begin")
        if started_at is not None:
            endpoint = (request.endpoint or "none").rpartition(".")[2]  # without the name of the blueprint
            metrics.seconds.labels(endpoint, response.status_code).observe(time.perf_counter() - started_at)
        return response
