"""The command `apprentice`: registers the commands and handles their errors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ml_backend import __version__
from ml_backend.cli.attribute import attribute
from ml_backend.cli.connect import connect, disconnect
from ml_backend.cli.demo import demo
from ml_backend.cli.doctor import doctor
from ml_backend.cli.features import features
from ml_backend.cli.forget import forget
from ml_backend.cli.serve import serve, web, worker
from ml_backend.cli.simulate import simulate
from ml_backend.cli.status import status
from ml_backend.cli.teacher import cues, evolve, ledger, report, teach
from ml_backend.cli.versions import rollback, versions

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    attribute, features, forget, report, evolve, teach, cues, ledger, serve, connect, disconnect, status, versions,
    rollback, doctor, simulate, demo,
)  # fmt: skip
"""Those that `apprentice --help` lists, in its order."""
for command in COMMANDS:
    app.command()(command)
for child in (web, worker):
    app.command(hidden=True)(child)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    """Active learning for Label Studio: annotate, and the queue reorders itself."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """The entry point. Prints an ApprenticeError as one sentence and exits with 1; prints one line at Ctrl-C and exits
    with 130."""
    try:
        from ml_backend.core.exceptions import ApprenticeError  # takes time, in which Ctrl-C may come

        try:
            app()
        except ApprenticeError as error:
            Console(stderr=True, soft_wrap=True, emoji=False).print(
                f"[bold red]error:[/] {escape(str(error))}", highlight=False
            )
            sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(130)
