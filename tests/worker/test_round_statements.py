"""What a round costs the database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio, fill
from projects import set_up
from statements import recorded
from workers import Bench

from ml_backend.core.settings import Settings
from ml_backend.worker import worker

CHANGES = ("INSERT", "UPDATE", "DELETE")


@pytest.fixture
def any_bench(
    any_settings: Settings, server: FakeLabelStudio, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    bench = Bench(
        any_settings.model_copy(update={"defaults": any_settings.defaults.model_copy(update={"audit_share": 0.0})}),
        server,
        monkeypatch,
    )
    monkeypatch.setattr(
        worker, "MAX_TEACHER_PAUSE_SECONDS", float("inf")
    )  # what goes by time has nothing to do with rows
    yield bench
    bench.store.close()


def statements_of(bench: Bench, rows: int) -> tuple[int, int, int]:
    """The changes, the reads of whole projects, and all statements of a round that publishes so many rows singly."""
    bench.worker._settings.defaults = bench.worker._settings.defaults.model_copy(update={"queue_size": rows})
    set_up(bench.store, 5, pace={"bulk": 9.0, "single": 0.01})
    unanswered = next(task for task, content in bench.server.tasks.items() if not content["annotations"])
    bench.tell(bench.server.annotate(unanswered, "fruit"))
    before = len(bench.server.predictions)
    with recorded() as statements:
        bench.step()
    assert len(bench.server.predictions) - before == rows
    texts = [statement for statement, _ in statements if not statement.startswith("BEGIN")]
    changes = sum(text.startswith(CHANGES) for text in texts)
    projects = sum("LEFT OUTER JOIN connection" in text for text in texts)
    return changes, projects, len(texts)


def test_a_round_that_publishes_more_rows_changes_no_more_in_the_store(any_bench: Bench) -> None:
    fill(any_bench.server, 120)
    any_bench.round()
    few, many = statements_of(any_bench, 10), statements_of(any_bench, 40)
    assert few[0] == many[0] <= 16
    assert few[1] == many[1] <= 5
    assert many[2] - few[2] <= 2 * 30, "one short read to publish, and one for what is newer, for each row"
