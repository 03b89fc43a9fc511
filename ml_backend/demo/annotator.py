"""The automatic annotator of the demo: it labels the tasks that Label Studio serves, and prints the held-out scores."""

from __future__ import annotations

import time
from collections.abc import Callable

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.demo.held_out import HeldOutEvaluator
from ml_backend.demo.score_table import ScoreTable
from ml_backend.demo.terminal import out, spinner
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.testing_client import next_task, submit_labels
from ml_backend.monitoring.status import read_status
from ml_backend.storage import Store

ROUND_SECONDS = 120.0  # longest wait for a round
TABLE_ROWS = 12  # of the printed table, which has up to twice as many rows


def annotate(
    client: LabelStudioClient, store: Store, project: int, evaluator: HeldOutEvaluator, table: ScoreTable, n: int
) -> None:
    """Annotates n tasks that Label Studio serves, each as soon as the served version counts the last annotation, and
    prints a table of the held-out scores."""
    n_before = read_status(store, project).labelled  # by an earlier demo
    with spinner("encoding the held-out tasks and those of the random-order control"):
        evaluator.prepare(n_before + n)
    table.print_header()
    table.print_first_row(n_before)
    waits: list[float] = []
    step = max(1, n // TABLE_ROWS)
    for n_labels in range(n_before + 1, n_before + n + 1):
        served = next_task(client, project, evaluator.schema)
        if served is None:
            out.print("nothing is left to label")
            return
        submit_labels(client, served.content, evaluator.true_values(served.text))
        submitted = time.monotonic()
        wait_until(lambda: _is_queue_of(store, project, n_labels), ROUND_SECONDS)  # noqa: B023
        waits.append(time.monotonic() - submitted)
        if n_labels % step == 0 or n_labels == n_before + n:
            table.print_row(n_labels, waits)
            waits.clear()


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
