"""`apprentice demo`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer


def demo(
    annotations: Annotated[
        int, typer.Option(min=0, max=5000, help="number of tasks to annotate automatically before the demo stops")
    ] = 0,
    folder: Annotated[Path, typer.Option(help="folder of the demo's data")] = Path(".demo"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of Label Studio")] = 8080,
    teacher: Annotated[
        str, typer.Option(help="`similarity`, or `smollm2`: a small language model on this machine")
    ] = "similarity",
    kind: Annotated[
        str,
        typer.Option(
            help="`text`: 4,880 questions; `table`: 400 records of tumours; `controls`: 3,403 questions, two controls; "
            "`spans`: 4,104 sentences with names; `rewrite`: 200 sentences to be rewritten in plain language"
        ),
    ] = "text",
) -> None:
    """Start Label Studio, this backend and real texts or records to label, on this machine."""
    from ml_backend.core.logs import set_up_logs
    from ml_backend.demo.run import run_demo

    set_up_logs("warning")
    for signal_number in (signal.SIGTERM, signal.SIGINT):  # SIGINT, too: shells let background jobs ignore it
        signal.signal(signal_number, signal.default_int_handler)
    run_demo(folder, annotations, port, teacher, kind)
