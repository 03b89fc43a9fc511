"""Shared by the commands: options, settings, store, client, and output to the terminal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from ml_backend.core.schema import ControlSchema
    from ml_backend.core.settings import Settings
    from ml_backend.label_studio.client import LabelStudioClient
    from ml_backend.storage import Store

T = TypeVar("T")

out = Console(soft_wrap=True, emoji=False)

Project = Annotated[int, typer.Option(min=1, max=2**31 - 1, help="the project's number in Label Studio")]
OptionalProject = Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="only this project")]
LabelStudioUrl = Annotated[str | None, typer.Option(help="Label Studio's address as this machine reaches it")]
ApiKey = Annotated[str | None, typer.Option(help="access token; better in APPRENTICE_LABEL_STUDIO_API_KEY")]
Control = Annotated[
    str, typer.Option(metavar="NAME", show_default="all", help="only this control of the labelling configuration")
]
Edit = Annotated[bool, typer.Option("--edit", help="change them in your editor ($EDITOR)")]
JsonFile = Annotated[Path | None, typer.Option(metavar="FILE", help="read them from a JSON file")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object, as --file reads it")]
DataDir = Annotated[Path | None, typer.Option(help="folder of the database, vectors and artifacts")]


def read_settings(**overrides: object) -> Settings:
    """Reads the settings of a command that a person calls, and warns of unknown settings on standard error."""
    from ml_backend.core.settings import Settings
    from ml_backend.core.unknown_settings import unknown_settings

    file = Settings.model_config.get("env_file")
    for sentence in unknown_settings(os.environ, Path(str(file)) if file else None):
        typer.echo(f"warning: {sentence}", err=True)
    return child_settings(**overrides)


def child_settings(**overrides: object) -> Settings:
    """Reads the settings of a process that another command started: that command has given the warnings."""
    from ml_backend.core.logs import set_up_logs
    from ml_backend.core.settings import load_settings

    settings = load_settings(**overrides)
    set_up_logs(settings.log_level)
    return settings


def open_store(settings: Settings) -> Store:
    from ml_backend.storage import Store

    return Store(settings, must_exist=True)


def make_client(settings: Settings) -> LabelStudioClient:
    from ml_backend.label_studio.client import LabelStudioClient
    from ml_backend.storage import read_credentials

    return LabelStudioClient(*read_credentials(settings), settings.timeout_seconds)


def print_control_name(control: ControlSchema, controls: Sequence[ControlSchema]) -> None:
    """Prints the name of a control as a heading, if it is one of several."""
    if len(controls) > 1:
        out.print(f"[bold]{escape(control.name)}[/]", highlight=False)


def require_one_control(controls: Sequence[ControlSchema]) -> None:
    """Raises BadParameter if a command that is about one control has several."""
    if len(controls) > 1:
        names = ", ".join(control.name for control in controls)
        raise typer.BadParameter(f"the project learns several controls: name one of {names} with --control")


def edit_options(control: ControlSchema, controls: Sequence[ControlSchema]) -> str:
    """The options with which a command changes what it shows of a control, one of the project's `controls`."""
    from ml_backend.rendering.formatting import control_option

    return f"{control_option(control.name, controls)} --edit".strip()


def print_indented(text: str) -> None:
    """Prints a sentence below the line that it belongs to."""
    out.print(f"  {escape(text)}", highlight=False)


def read_json_text(file: Path) -> str:
    from ml_backend.core.exceptions import ApprenticeError

    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ApprenticeError(f"{file} cannot be read ({error}): give a JSON file like the output of --json") from error


def edit_in_editor(text: str, parse: Callable[[str], T]) -> T | None:
    """Opens `text` in the user's editor and returns the parsed result, None if the text was not changed.

    If `parse` raises ApprenticeError, the user may edit the text again; a user who declines gets the error. Raises
    ApprenticeError if there is no editor.
    """
    import click

    from ml_backend.core.exceptions import ApprenticeError

    while True:
        try:
            changed = click.edit(text, extension=".json")
        except click.ClickException as error:
            raise ApprenticeError(f"{error.message}: set EDITOR, or use --json and --file") from None
        if changed is None or changed == text:
            return None
        try:
            return parse(changed)
        except ApprenticeError as error:
            print_indented(str(error))
            if not typer.confirm("Nothing is changed yet. Edit again?", default=True):
                raise
            text = changed


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    return stop


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Shows a progress bar; yields a function that updates it with a description, the number done and the total."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda description, done, total: bar.update(task, description=description, completed=done, total=total)


def cap_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
