"""The command `apprentice`: its commands, each from the module of its group."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ml_backend import __version__
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
    features, forget, report, evolve, teach, cues, ledger, serve, connect, disconnect, status, versions, rollback,
    doctor, simulate, demo,
)  # fmt: skip
"""In the order in which `apprentice --help` lists them."""
for command in COMMANDS:
    app.command()(command)
for child in (web, worker):
    app.command(hidden=True)(child)


@app.callback(invoke_without_command=True)
def version(
    asked: Annotated[bool, typer.Option("--version", help="print the version and end")] = False,
) -> None:
    """Active learning for Label Studio: annotate, and the queue reorders itself."""
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: an error that is the user's to mend is one sentence and exit code 1; Ctrl-C is one line and 130."""
    try:
        from ml_backend.core.exceptions import (
            ApprenticeError,  # here, as all that takes its time: Ctrl-C may come at once
        )

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
