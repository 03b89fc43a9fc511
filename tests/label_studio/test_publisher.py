"""Publishing: the first predictions, the switch, the other predictions, with the faster kind of write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks
from manual_clock import ManualClock
from schemas import by_control

from ml_backend.core.exceptions import ApprenticeError, RequestRefusedError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Draft, Prediction
from ml_backend.label_studio.publisher import HEAD_PREDICTIONS, Publisher, PublishTimings, delete_version_predictions

IMPORT = ("POST", "api/projects/5/import/predictions")
ROW = ("POST", "api/predictions/")
SWITCH = ("PATCH", "api/projects/5")

Publish = Callable[..., tuple[Publisher, FakeClient, list[Prediction]]]


@pytest.fixture
def publish(server: FakeLabelStudio, single: ProjectSchema, clock: ManualClock) -> Publish:
    def make(
        n: int, pace: PublishTimings, check_lease: Callable[[], None] = lambda: None
    ) -> tuple[Publisher, FakeClient, list[Prediction]]:
        tasks = list(add_labelled_tasks(server, n))
        client = FakeClient(server)
        queue = [
            Prediction(task, place / n, by_control(Draft(("fruit",), 0.9, "learner")))
            for place, task in enumerate(tasks)
        ]
        return Publisher(client, 5, single, "v1", check_lease, {}, pace, clock=clock), client, queue

    return make


def calls(client: FakeClient) -> list[tuple[str, str]]:
    return [(method, path) for method, path, _ in client.calls]


@pytest.mark.parametrize(
    ("bulk", "single", "rows", "kind"),
    [
        (None, None, HEAD_PREDICTIONS, "single"), (None, None, HEAD_PREDICTIONS + 1, "bulk"),
        (None, 0.1, 50, "bulk"), (None, 0.1, 2, "single"),
        (3.0, None, 50, "single"), (0.4, 0.1, 4, "bulk"), (0.41, 0.1, 4, "single"), (0.41, 0.1, 5, "bulk"),
        (4.0, 0.1, 40, "bulk"), (4.0, 0.1, 39, "single"),
    ],
)  # fmt: skip
def test_the_faster_kind_of_write_is_chosen_from_the_measurements(
    bulk: float | None, single: float | None, rows: int, kind: str
) -> None:
    assert PublishTimings(bulk, single).write_kind(rows) == kind


@pytest.mark.parametrize(
    ("import_seconds", "row_seconds", "kind"),
    [(0.6, 0.2, "single"), (0.9, 0.2, "bulk"), (3.0, 0.2, "single"), (0.1, 0.2, "bulk")],
)
def test_exploring_uses_the_slower_kind_of_write_unless_it_is_far_slower(
    publish: Publish, import_seconds: float, row_seconds: float, kind: str
) -> None:
    publisher, client, queue = publish(12, PublishTimings(import_seconds, row_seconds))
    publisher.explores = True
    publisher.publish_head(queue)
    assert calls(client)[0] == (IMPORT if kind == "bulk" else ROW)


def test_timings_are_smoothed() -> None:
    pace = PublishTimings()
    pace.add("bulk", 1.0)
    assert pace.bulk == 1.0
    pace.add("bulk", 2.0)
    assert pace.bulk == pytest.approx(1.3)
    assert pace.single is None


def test_without_measurements_the_head_is_written_row_by_row_and_the_rest_in_one_call(
    publish: Publish, server: FakeLabelStudio
) -> None:
    publisher, client, queue = publish(10, pace := PublishTimings())
    rest = publisher.publish_head(queue)
    assert calls(client) == [ROW] * HEAD_PREDICTIONS + [SWITCH]
    assert [prediction.task for prediction in rest] == [prediction.task for prediction in queue[HEAD_PREDICTIONS:]]
    publisher.publish_rest(rest, lambda _: False)
    assert calls(client)[HEAD_PREDICTIONS + 1 :] == [IMPORT]
    assert publisher.written == 10
    assert [row["task"] for row in server.predictions] == [prediction.task for prediction in queue]
    assert pace.bulk is not None
    assert pace.single is not None


def test_with_a_fast_bulk_import_all_rows_are_written_before_the_switch(publish: Publish) -> None:
    publisher, client, queue = publish(10, PublishTimings(0.001, 1.0))
    assert list(publisher.publish_head(queue)) == []
    assert calls(client) == [IMPORT, SWITCH]
    assert publisher.written == 10


def test_with_a_slow_bulk_import_the_rest_can_be_interrupted_after_every_row(publish: Publish) -> None:
    publisher, client, queue = publish(12, PublishTimings(60.0, 0.01))
    rest = publisher.publish_head(queue)
    checks = iter([False, False, True])
    publisher.publish_rest(rest, lambda _: next(checks))
    assert calls(client) == [ROW] * HEAD_PREDICTIONS + [SWITCH] + [ROW] * 2
    assert publisher.written == HEAD_PREDICTIONS + 2


def test_each_write_is_preceded_by_a_pause_as_long_as_the_previous_write(publish: Publish, clock: ManualClock) -> None:
    publisher, client, queue = publish(HEAD_PREDICTIONS + 3, PublishTimings(60.0, 0.01))
    client.before = lambda *_: clock.sleep(len(client.calls))
    pauses: list[float] = []
    rest = publisher.publish_head(queue)
    publisher.publish_rest(rest, lambda seconds: bool(pauses.append(seconds)))
    rows = [HEAD_PREDICTIONS + 2.0 + row for row in range(3)]
    assert pauses == [sum(range(1, HEAD_PREDICTIONS + 1)), *rows[:2]], "the first pause is as long as the head took"


def test_a_newer_queue_stops_the_rest_before_it_begins(publish: Publish) -> None:
    publisher, client, queue = publish(12, PublishTimings())
    publisher.publish_rest(publisher.publish_head(queue), lambda _: True)
    assert calls(client) == [ROW] * HEAD_PREDICTIONS + [SWITCH]


def test_a_short_queue_has_no_rest(publish: Publish) -> None:
    publisher, client, queue = publish(2, PublishTimings())
    publisher.publish_rest(publisher.publish_head(queue), lambda _: False)
    assert calls(client) == [ROW, ROW, SWITCH]


def test_a_dropped_prediction_prevents_the_switch(publish: Publish, server: FakeLabelStudio) -> None:
    publisher, client, queue = publish(10, PublishTimings(0.001, 1.0))
    server.drops_rows = True
    with pytest.raises(RequestRefusedError, match="kept 9 of 10"):
        publisher.publish_head(queue)
    assert SWITCH not in calls(client)
    assert server.settings["model_version"] == ""


@pytest.mark.parametrize("response", [None, [], {}, {"created": None}, {"created": "10"}, "ok"])
def test_a_response_without_the_number_of_kept_predictions_prevents_the_switch(
    publish: Publish,
    server: FakeLabelStudio,
    monkeypatch: pytest.MonkeyPatch,
    response: object,
) -> None:
    publisher, client, queue = publish(10, PublishTimings(0.001, 1.0))
    monkeypatch.setattr(server, "answer", lambda *_: response)
    with pytest.raises(RequestRefusedError):
        publisher.publish_head(queue)
    assert SWITCH not in calls(client)


class LostError(ApprenticeError):
    pass


@pytest.mark.parametrize("checks", range(HEAD_PREDICTIONS + 1))
def test_nothing_is_written_after_the_lease_is_lost(publish: Publish, checks: int) -> None:
    remaining = iter(range(checks))

    def check_lease() -> None:
        if next(remaining, None) is None:
            raise LostError

    publisher, client, queue = publish(10, PublishTimings(), check_lease)
    with pytest.raises(LostError):
        publisher.publish_head(queue)
    assert calls(client) == [ROW] * checks


def test_nothing_of_the_rest_is_written_after_the_lease_is_lost(publish: Publish) -> None:
    has_lease = [True]

    def check_lease() -> None:
        if not has_lease[0]:
            raise LostError

    publisher, client, queue = publish(10, PublishTimings(), check_lease)
    rest = publisher.publish_head(queue)
    has_lease[0] = False
    with pytest.raises(LostError):
        publisher.publish_rest(rest, lambda _: False)
    assert calls(client)[-1] == SWITCH


def test_deleting_the_predictions_of_a_version_leaves_other_versions(server: FakeLabelStudio) -> None:
    server.predictions = [{"task": 1, "model_version": name, "score": 0, "result": []} for name in ("a", "b", "a")]
    delete_version_predictions(FakeClient(server), 5, "a")
    assert [row["model_version"] for row in server.predictions] == ["b"]
