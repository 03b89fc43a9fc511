"""The web process: waitress around the application."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.storage import Store
from ml_backend.web.app import MAX_BODY, create_app, warm

THREADS = 8  # a /predict that encodes must not keep a webhook waiting


def make_server(app: Flask, settings: Settings) -> Any:
    """A waitress server that listens already. Raises OSError if it cannot."""
    from waitress.server import create_server

    return create_server(
        app, host=settings.host, port=settings.port, threads=THREADS, ident=None, max_request_body_size=MAX_BODY,
        clear_untrusted_proxy_headers=False,  # without a secret, the application refuses what came through a proxy
    )  # fmt: skip


def run_web(settings: Settings, stop: threading.Event) -> None:
    """Serves until `stop` is set."""
    store = Store(settings)
    store.database.leave_checkpoints()  # a webhook must not wait for one: the workers are there for that
    app = create_app(settings, store)
    warm(app)
    try:
        server = make_server(app, settings)
    except OSError as error:
        raise ApprenticeError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): is it taken? Set APPRENTICE_PORT"
        ) from error
    thread = threading.Thread(target=server.run, name="waitress", daemon=True)
    thread.start()
    stop.wait()
    server.close()
    thread.join(5)
    store.close()
