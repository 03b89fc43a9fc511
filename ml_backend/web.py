"""The web process: waitress around the application."""

from __future__ import annotations

import threading

from ml_backend.app import create_app, warm
from ml_backend.settings import Settings

THREADS = 8  # a /predict that encodes must not keep a webhook waiting


def run_web(settings: Settings, stop: threading.Event) -> None:
    """Serves until `stop` is set."""
    from waitress.server import create_server

    app = create_app(settings)
    warm(app)
    server = create_server(app, host=settings.host, port=settings.port, threads=THREADS, ident=None)
    thread = threading.Thread(target=server.run, name="waitress", daemon=True)
    thread.start()
    stop.wait()
    server.close()
    thread.join(5)
    app.config["STORE"].close()
