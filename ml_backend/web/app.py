"""The web application: what Label Studio calls, and nothing that takes long.

Importing this module loads no model and no torch; `warm` does, before the first request.
"""

from __future__ import annotations

import hmac
import time
from typing import Any, NoReturn
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, Unauthorized

from ml_backend.core.exceptions import ApprenticeError, InvalidEventError, UnknownVersionError
from ml_backend.core.settings import Settings, is_loopback
from ml_backend.core.types import storable
from ml_backend.label_studio.serialization import read_project_id
from ml_backend.label_studio.setup import USER
from ml_backend.label_studio.webhooks import read_event
from ml_backend.loop.rollback import roll_back
from ml_backend.monitoring.prometheus import Metrics
from ml_backend.storage import Store
from ml_backend.web.webhook_handler import take

OPEN = {"health", "ready"}  # endpoints that need no secret
BY_PROXY = ("Forwarded", "Via", "X-Real-Ip")  # headers that a proxy adds; besides, all that begin so:
BY_PROXY_PREFIX = "X-Forwarded-"
MAX_BODY = 64 * 2**20  # bytes: an import event of 100,000 tasks fits
VERSIONS_LISTED = 1000  # newest first, of a project: more would be of no use to anybody
TOLD_SECONDS = 60.0  # between two lines in the log about requests that were turned away

ACTIONS = {
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED",
    "TASKS_DELETED", "PROJECT_CREATED", "PROJECT_UPDATED", "PROJECT_DELETED", "START_TRAINING",
}  # fmt: skip

log = structlog.get_logger()


def create_app(settings: Settings, store: Store | None = None) -> Flask:
    """The WSGI application of one installation."""
    store = store or Store(settings)
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, SETTINGS=settings, STORE=store)
    metrics = Metrics(store)
    _protect(app, settings.secret.get_secret_value())
    _answer_errors_with_json(app)
    _measure(app, metrics)

    @app.get("/")
    @app.get("/health")
    def health() -> Any:
        return jsonify(status="UP", model_class="ActiveLearningBackend")

    @app.get("/ready")
    def ready() -> Any:
        workers = store.jobs.workers()
        return jsonify(status="READY" if workers else "NO WORKER", workers=len(workers)), 200 if workers else 503

    @app.post("/setup")
    def setup() -> Any:
        body = _body()
        backend = _backend(app, body.get("project"), body.get("schema"))
        return jsonify(backend.setup(body.get("extra_params")))

    @app.post("/predict")
    def predict() -> Any:
        body = _body()
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise BadRequest("tasks must be a list")
        params = body.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        backend = _backend(app, body.get("project"), body.get("label_config"))
        return jsonify(results=backend.predict(tasks, context=context))

    @app.post("/webhook")
    def webhook() -> Any:
        event = read_event(_body(), store.projects.choices)
        wanted = take(store, event)
        metrics.events.labels(_known(event.action)).inc()
        return jsonify(status="taken", round=wanted)

    @app.get("/versions")
    def versions() -> Any:
        asked = request.args.get("project")
        if asked is None:
            names = [version.name for record in store.projects.all() if (version := store.versions.active(record.id))]
            return jsonify(versions=names)
        project = _project(asked)
        active = store.versions.active(project)
        return jsonify(
            versions=[version.name for version in store.versions.all(project, VERSIONS_LISTED)],
            active=active.name if active else None,
        )

    @app.post("/versions")
    def activate() -> Any:
        body = _body()
        wanted = body.get("version")
        if not isinstance(wanted, str | int) or isinstance(wanted, bool):
            raise BadRequest("version must be a version's name or number, or 'latest'")
        return jsonify(rollback=roll_back(store, _project(body.get("project")), storable(str(wanted)))), 202

    @app.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.render(), mimetype="text/plain; version=0.0.4")

    return app


def warm(app: Flask) -> None:
    """Loads what the first /setup would otherwise wait for (label-studio-ml, the SDK), but no weights."""
    from ml_backend.label_studio.label_config import read_schema

    _shared(app)
    read_schema(
        '<View><Text name="t" value="$t"/><Choices name="c" toName="t">'
        '<Choice value="a"/><Choice value="b"/></Choices></View>'
    )


def _shared(app: Flask) -> Any:
    from ml_backend.web.backend import ActiveLearningBackend

    if getattr(ActiveLearningBackend, "store", None) is not app.config["STORE"]:
        ActiveLearningBackend.share(app.config["SETTINGS"], app.config["STORE"])
    return ActiveLearningBackend


def _backend(app: Flask, project: Any, label_config: Any) -> Any:
    config = storable(label_config) if isinstance(label_config, str) else None
    return _shared(app)(project_id=_project(project), label_config=config)


def _project(value: Any) -> int:
    found = read_project_id(value)
    if found is None:
        raise BadRequest("project must be a project's number")
    return found


def _body() -> dict[str, Any]:
    try:
        body = request.get_json(silent=True, force=True)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _known(action: str) -> str:
    """Actions as a metric's label: a stranger's words must not make new time series."""
    return action if action in ACTIONS else "other"


def _protect(app: Flask, secret: str) -> None:
    told = 0.0

    def turn_away() -> NoReturn:
        nonlocal told
        if time.monotonic() - told > TOLD_SECONDS:
            told = time.monotonic()
            log.warning("turned away without the right secret: `apprentice connect` again?", path=request.path)
        raise Unauthorized("present the secret, as Basic authentication (user apprentice) or as a Bearer token")

    @app.before_request
    def check() -> None:
        if request.endpoint in OPEN:
            return
        if not secret:
            # a page in a browser on this machine comes from loopback, too: it shows by its origin, or by a foreign host
            foreign = "Origin" in request.headers or not is_loopback(urlsplit(f"//{request.host}").hostname or "")
            if foreign or not is_loopback(request.remote_addr or ""):
                raise Forbidden("no secret is configured: only this machine is served")
            if any(name in BY_PROXY or name.startswith(BY_PROXY_PREFIX) for name, _ in request.headers):
                # a proxy on this machine comes from loopback, whoever it speaks for
                raise Forbidden(
                    "no secret is configured, and this request came through a proxy: set APPRENTICE_SECRET, and run "
                    "`apprentice connect` again"
                )
            return
        try:
            given = request.authorization
        except ValueError:  # Basic with characters that are no base64
            given = None
        if given is not None and given.type == "basic":
            user, presented = given.username or "", given.password or ""
        else:
            user, presented = USER, (given.token or "") if given is not None and given.type == "bearer" else ""
        # compared as a whole and in constant time, so that neither half can be guessed by itself
        if not hmac.compare_digest(f"{user}:{presented}".encode(), f"{USER}:{secret}".encode()):
            turn_away()


def _answer_errors_with_json(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def known(error: HTTPException) -> Any:
        return jsonify(error=error.description), error.code or 500

    @app.errorhandler(InvalidEventError)
    def bad_event(error: InvalidEventError) -> Any:
        return jsonify(error=str(error)), 400

    @app.errorhandler(UnknownVersionError)
    def unknown_version(error: UnknownVersionError) -> Any:
        return jsonify(error=str(error)), 404

    @app.errorhandler(ApprenticeError)
    def ours(error: ApprenticeError) -> Any:
        log.error("request failed", path=request.path, error=str(error))
        return jsonify(error=str(error)), 503

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Any:
        # neither the trace nor the message goes out or to the log: both may hold task text
        log.error("request failed", path=request.path, error=type(error).__name__)
        return jsonify(error="internal error, see the log"), 500


def _measure(app: Flask, metrics: Metrics) -> None:
    @app.before_request
    def begin() -> None:
        request.environ["apprentice.begin"] = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        begun = request.environ.get("apprentice.begin")
        if begun is not None:
            metrics.seconds.labels(request.endpoint or "none", response.status_code).observe(
                time.perf_counter() - begun
            )
        return response
