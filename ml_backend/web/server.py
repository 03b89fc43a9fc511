"""The web process: runs the Flask application in a waitress server."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.storage import Store
from ml_backend.web.app import MAX_BODY_BYTES, create_app, warm

THREADS = 8  # a webhook must not wait for a /predict that encodes


def make_server(app: Flask, settings: Settings) -> Any:
    """Returns a waitress server that listens. Raises OSError if it cannot listen."""
    from waitress.server import create_server

    return create_server(
        app, host=settings.host, port=settings.port, threads=THREADS, ident=None, max_request_body_size=MAX_BODY_BYTES,
        clear_untrusted_proxy_headers=False,  # the application needs them: without a secret, it refuses proxies
    )  # fmt: skip


def run_web(settings: Settings, stop: threading.Event) -> None:
    """Serves until `stop` is set."""
    store = Store(settings)
    store.database.leave_checkpoints()  # the workers make checkpoints, so that no webhook waits for one
    app = create_app(settings, store)
    warm(app)
    try:
        server = make_server(app, settings)
    except OSError as error:
        raise ApprenticeError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): if another program uses the "
            "port, set APPRENTICE_PORT"
        ) from error
    thread = threading.Thread(target=server.run, name="waitress", daemon=True)
    thread.start()
    stop.wait()
    server.close()
    thread.join(5)
    store.close()
