"""The number of SQL statements of a round."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from projects import set_up
from statements import recorded_statements
from worker_harness import WorkerHarness

from ml_backend.core.settings import Settings
from ml_backend.worker import worker

CHANGES = ("INSERT", "UPDATE", "DELETE")


@pytest.fixture
def any_harness(
    any_settings: Settings, server: FakeLabelStudio, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkerHarness]:
    harness = WorkerHarness(
        any_settings.model_copy(update={"defaults": any_settings.defaults.model_copy(update={"audit_share": 0.0})}),
        server,
    )
    monkeypatch.setattr(
        worker, "MAX_TEACHER_PAUSE_SECONDS", float("inf")
    )  # what goes by time has nothing to do with rows
    yield harness
    harness.store.close()


def statements_of(harness: WorkerHarness, rows: int) -> tuple[int, int, int]:
    """Returns the number of changes, of reads of whole projects, and of all statements of a round with single rows."""
    harness.settings.defaults = harness.settings.defaults.model_copy(update={"queue_size": rows})
    set_up(harness.store, 5, publish_timings={"bulk": 9.0, "single": 0.01})
    unanswered = next(task for task, content in harness.server.tasks.items() if not content["annotations"])
    harness.receive_event(harness.server.annotate(unanswered, "fruit"))
    predictions_before = len(harness.server.predictions)
    with recorded_statements() as statements:
        harness.step()
    assert len(harness.server.predictions) - predictions_before == rows
    texts = [statement for statement, _ in statements if not statement.startswith("BEGIN")]
    changes = sum(text.startswith(CHANGES) for text in texts)
    projects = sum("LEFT OUTER JOIN connection" in text for text in texts)
    return changes, projects, len(texts)


def test_a_round_that_publishes_more_predictions_writes_no_more_to_the_store(any_harness: WorkerHarness) -> None:
    add_labelled_tasks(any_harness.server, 120)
    any_harness.round()
    small_round, large_round = statements_of(any_harness, 10), statements_of(any_harness, 40)
    assert small_round[0] == large_round[0] <= 16
    assert small_round[1] == large_round[1] <= 5
    assert large_round[2] - small_round[2] <= 2 * 30, (
        "one short read to publish, and one for what is newer, for each row"
    )
