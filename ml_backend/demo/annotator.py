"""The automatic annotator of the demo: it labels the tasks that Label Studio serves, and prints the held-out scores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.demo.held_out import HeldOutEvaluator
from ml_backend.demo.terminal import out, spinner
from ml_backend.kinds.base import ACCURACY
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.testing_client import next_task, submit_labels
from ml_backend.monitoring.status import read_status
from ml_backend.storage import Store

ROUND_SECONDS = 120.0  # longest wait for a round
TABLE_ROWS = 12  # of the printed table, which has up to twice as many rows
VERSION_WIDTH = 24  # letters of the column with the version
MIN_SCORE_WIDTH = 6  # letters of a column with a score
WORD_COLUMNS = ["words read", "in random order"]


def annotate(client: LabelStudioClient, store: Store, project: int, evaluator: HeldOutEvaluator, n: int) -> None:
    """Annotates n tasks that Label Studio serves, each as soon as the served version counts the last annotation, and
    prints a table of the held-out scores."""
    n_before = read_status(store, project).labelled  # by an earlier demo
    with spinner("encoding the held-out tasks and those of the random-order control"):
        evaluator.prepare(n_before + n)
    schema = evaluator.schema
    header = _header(schema)
    widths = [max(len(name), MIN_SCORE_WIDTH) for name in header]
    widths[1] = VERSION_WIDTH
    if len(schema.controls) > 1:
        metrics = dict.fromkeys(_main_metric(control) for control in schema.controls)
        out.print(f"held-out {' or '.join(metrics)} for each control, and in random order:", highlight=False)
    out.print(_row(header, widths), style="bold")
    waits: list[float] = []
    step = max(1, n // TABLE_ROWS)
    for n_labels in range(n_before + 1, n_before + n + 1):
        served = next_task(client, project, schema)
        if served is None:
            out.print("nothing is left to label")
            return
        submit_labels(client, served.content, evaluator.true_values(served.text))
        submitted = time.monotonic()
        wait_until(lambda: _is_queue_of(store, project, n_labels), ROUND_SECONDS)  # noqa: B023
        waits.append(time.monotonic() - submitted)
        if n_labels % step == 0 or n_labels == n_before + n:
            active = store.versions.active(project)
            serving, at_random = evaluator.active_scores(), evaluator.random_order_scores(n_labels)
            cells = [_percent(score) for name in serving for score in (serving[name], at_random[name])]
            if _reads_words(schema):
                cells += [f"{evaluator.words_read():,}", f"{evaluator.random_order_words(n_labels):,.0f}"]
            row = (str(n_labels), active.name if active else "", *cells, f"{statistics.median(waits):.2f}")
            out.print(_row(row, widths), highlight=False)
            waits.clear()


def _header(schema: ProjectSchema) -> list[str]:
    """The names of the columns. If there are several controls, each has a column with its name."""
    if len(schema.controls) == 1:
        scores = [f"held-out {_main_metric(schema.controls[0])}", "random order"]
    else:
        scores = [column for control in schema.controls for column in (_score_column(control), "random order")]
    words = WORD_COLUMNS if _reads_words(schema) else []
    return ["annotations", "active version", *scores, *words, "submit to queue (median s)"]


def _score_column(control: ControlSchema) -> str:
    """The name of a control, with its metric unless this is the accuracy."""
    metric = _main_metric(control)
    return control.name if metric == ACCURACY else f"{control.name} ({metric})"


def _main_metric(control: ControlSchema) -> str:
    return kind_of(control).main_metric(control)


def _reads_words(schema: ProjectSchema) -> bool:
    """Whether annotators read each word, because they look for regions in the texts."""
    return any(kind_of(control).locates_regions for control in schema.controls)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _is_queue_of(store: Store, project: int, n_labels: int) -> bool:
    """Whether the served queue comes from a version with at least so many labels."""
    project_row, active = store.projects.get(project), store.versions.active(project)
    return bool(project_row and active and active.name == project_row.published and active.labelled >= n_labels)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits until the condition holds. Raises ApprenticeError if it does not hold after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ApprenticeError("The backend did not publish a queue in time: `apprentice status` says why")
        time.sleep(0.01)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
