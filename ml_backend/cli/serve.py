"""`apprentice serve` and the two commands of its child processes."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ml_backend.cli.common import DataDir, cap_threads, read_settings, settings_of_child, stop_on_signals

Parent = Annotated[int, typer.Option(help="the process that ends this one with it")]
WORKER_NICE = 5  # Label Studio waits for the web process, and an annotator for Label Studio: they come first


def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=32, help="worker processes")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the backend: one web process and its workers, until Ctrl-C or SIGTERM."""
    from ml_backend.worker.supervisor import serve as supervise

    settings = read_settings(host=host, port=port, workers=workers, data_dir=data_dir)
    supervise(settings, stop_on_signals())


def web(parent: Parent) -> None:
    """The web process of `serve`."""
    from ml_backend.worker.supervisor import stop_with_parent

    stop = stop_on_signals()
    stop_with_parent(stop, parent)
    from ml_backend.web.server import run_web

    run_web(settings_of_child(), stop)


def worker(parent: Parent) -> None:
    """A worker process of `serve`."""
    from ml_backend.worker.supervisor import stop_with_parent

    settings, stop = settings_of_child(), stop_on_signals()
    stop_with_parent(stop, parent)
    from ml_backend.worker.worker import Worker

    os.nice(WORKER_NICE)
    cap_threads(settings.threads)
    Worker(settings, stop).run()
