"""The terminal output of the demo."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

out = Console(soft_wrap=True, emoji=False)


def print_indented(sentence: str) -> None:
    out.print(f"  {sentence}", highlight=False)


@contextmanager
def spinner(description: str) -> Iterator[None]:
    """Shows a spinner inside the `with` block, and prints the seconds that the block took."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        progress.add_task(description)
        begin = time.monotonic()
        yield
    out.print(f"{description}: {time.monotonic() - begin:.1f} s", highlight=False)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar inside the `with` block; yields a function that takes the number of finished items."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=out) as progress:
        task = progress.add_task(description, total=total)

        def update(n_done: int) -> None:
            progress.update(task, completed=n_done)

        yield update
