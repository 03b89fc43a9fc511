"""`apprentice serve` and the two commands of its child processes."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ml_backend.cli.common import DataDir, cap_threads, child_settings, read_settings, stop_on_signals

ParentProcess = Annotated[int, typer.Option(help="id of the process whose end stops this one")]
WORKER_NICENESS = 5  # annotators wait for Label Studio and the web process, which have a higher priority


def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=32, help="worker processes")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the backend: one web process and its workers, until Ctrl-C or SIGTERM."""
    from ml_backend.worker.supervisor import serve as run_supervisor

    settings = read_settings(host=host, port=port, workers=workers, data_dir=data_dir)
    run_supervisor(settings, stop_on_signals())


def web(parent: ParentProcess) -> None:
    """The web process of `serve`."""
    from ml_backend.worker.supervisor import stop_with_parent

    stop = stop_on_signals()
    stop_with_parent(stop, parent)
    from ml_backend.web.server import run_web

    run_web(child_settings(), stop)


def worker(parent: ParentProcess) -> None:
    """A worker process of `serve`."""
    from ml_backend.worker.supervisor import stop_with_parent

    settings, stop = child_settings(), stop_on_signals()
    stop_with_parent(stop, parent)
    from ml_backend.storage import Store
    from ml_backend.worker.worker import Worker

    os.nice(WORKER_NICENESS)
    cap_threads(settings.threads)
    Worker(settings, Store(settings), stop).run()
