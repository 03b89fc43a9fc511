"""Publishing: the head, the switch, the rest, in the way that is faster here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, fill

from ml_backend.core.exceptions import ApprenticeError, RequestRefusedError
from ml_backend.core.types import Draft, Prediction, TaskSchema
from ml_backend.label_studio import publisher as module
from ml_backend.label_studio.publisher import HEAD, Publisher, PublishTimings, prune

IMPORT = ("POST", "api/projects/5/import/predictions")
ROW = ("POST", "api/predictions/")
SWITCH = ("PATCH", "api/projects/5")

Publish = Callable[..., tuple[Publisher, FakeClient, list[Prediction]]]


@pytest.fixture
def publish(server: FakeLabelStudio, single: TaskSchema) -> Publish:
    def make(
        n: int, pace: PublishTimings, guard: Callable[[], None] = lambda: None
    ) -> tuple[Publisher, FakeClient, list[Prediction]]:
        tasks = list(fill(server, n))
        client = FakeClient(server)
        queue = [Prediction(task, place / n, Draft(("fruit",), 0.9, "learner")) for place, task in enumerate(tasks)]
        return Publisher(client, 5, single, "v1", guard, pace), client, queue

    return make


def calls(client: FakeClient) -> list[tuple[str, str]]:
    return [(method, path) for method, path, _ in client.calls]


@pytest.mark.parametrize(
    ("bulk", "single", "rows", "path"),
    [
        (None, None, HEAD, "single"), (None, None, HEAD + 1, "bulk"), (None, 0.1, 50, "bulk"), (None, 0.1, 2, "single"),
        (3.0, None, 50, "single"), (0.4, 0.1, 4, "bulk"), (0.41, 0.1, 4, "single"), (0.41, 0.1, 5, "bulk"),
        (4.0, 0.1, 40, "bulk"), (4.0, 0.1, 39, "single"),
    ],
)  # fmt: skip
def test_the_faster_way_is_chosen_as_far_as_it_is_known(
    bulk: float | None, single: float | None, rows: int, path: str
) -> None:
    assert PublishTimings(bulk, single).path(rows) == path


@pytest.mark.parametrize(
    ("import_seconds", "row_seconds", "path"),
    [(0.6, 0.2, "single"), (0.9, 0.2, "bulk"), (3.0, 0.2, "single"), (0.1, 0.2, "bulk")],
)
def test_now_and_then_the_way_that_seems_slower_is_tried_unless_it_is_so_by_far(
    publish: Publish, import_seconds: float, row_seconds: float, path: str
) -> None:
    publisher, client, queue = publish(12, PublishTimings(import_seconds, row_seconds))
    publisher.explores = True
    publisher.head(queue)
    assert calls(client)[0] == (IMPORT if path == "bulk" else ROW)


def test_the_pace_follows_what_is_measured_smoothly() -> None:
    pace = PublishTimings()
    pace.note("bulk", 1.0)
    assert pace.bulk == 1.0
    pace.note("bulk", 2.0)
    assert pace.bulk == pytest.approx(1.3)
    assert pace.single is None


def test_where_nothing_is_known_the_head_goes_row_by_row_and_the_rest_in_one_call(
    publish: Publish, server: FakeLabelStudio
) -> None:
    publisher, client, queue = publish(10, pace := PublishTimings())
    rest = publisher.head(queue)
    assert calls(client) == [ROW] * HEAD + [SWITCH]
    assert [each.task for each in rest] == [each.task for each in queue[HEAD:]]
    publisher.rest(rest, lambda _: False)
    assert calls(client)[HEAD + 1 :] == [IMPORT]
    assert publisher.written == 10
    assert [row["task"] for row in server.predictions] == [each.task for each in queue]
    assert pace.bulk is not None
    assert pace.single is not None


def test_where_bulk_is_fast_all_rows_stand_before_the_switch(publish: Publish) -> None:
    publisher, client, queue = publish(10, PublishTimings(0.001, 1.0))
    assert list(publisher.head(queue)) == []
    assert calls(client) == [IMPORT, SWITCH]
    assert publisher.written == 10


def test_where_bulk_is_slow_the_rest_can_be_interrupted_after_every_row(publish: Publish) -> None:
    publisher, client, queue = publish(12, PublishTimings(60.0, 0.01))
    rest = publisher.head(queue)
    looks = iter([False, False, True])
    publisher.rest(rest, lambda _: next(looks))
    assert calls(client) == [ROW] * HEAD + [SWITCH] + [ROW] * 2
    assert publisher.written == HEAD + 2


def test_label_studio_is_left_to_the_annotators_for_as_long_as_each_write_took(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, client, queue = publish(HEAD + 3, PublishTimings(60.0, 0.01))
    clock, pauses = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    call = client.call

    def take_time(method: str, path: str, **values: Any) -> Any:
        clock[0] += len(client.calls) + 1.0
        return call(method, path, **values)

    monkeypatch.setattr(client, "call", take_time)
    rest = publisher.head(queue)
    publisher.rest(rest, lambda seconds: bool(pauses.append(seconds)))
    rows = [HEAD + 2.0 + row for row in range(3)]
    assert pauses == [sum(range(1, HEAD + 1)), *rows[:2]], "first as long as the head took, then each row"


def test_a_newer_queue_stops_the_rest_before_it_begins(publish: Publish) -> None:
    publisher, client, queue = publish(12, PublishTimings())
    publisher.rest(publisher.head(queue), lambda _: True)
    assert calls(client) == [ROW] * HEAD + [SWITCH]


def test_a_short_queue_has_no_rest(publish: Publish) -> None:
    publisher, client, queue = publish(2, PublishTimings())
    publisher.rest(publisher.head(queue), lambda _: False)
    assert calls(client) == [ROW, ROW, SWITCH]


def test_a_dropped_row_means_no_switch(publish: Publish, server: FakeLabelStudio) -> None:
    publisher, client, queue = publish(10, PublishTimings(0.001, 1.0))
    server.drops_rows = True
    with pytest.raises(RequestRefusedError, match="kept 9 of 10"):
        publisher.head(queue)
    assert SWITCH not in calls(client)
    assert server.settings["model_version"] == ""


@pytest.mark.parametrize("answer", [None, [], {}, {"created": None}, {"created": "10"}, "ok"])
def test_an_answer_that_does_not_say_how_many_were_kept_means_no_switch(
    publish: Publish,
    server: FakeLabelStudio,
    monkeypatch: pytest.MonkeyPatch,
    answer: object,
) -> None:
    publisher, client, queue = publish(10, PublishTimings(0.001, 1.0))
    monkeypatch.setattr(server, "answer", lambda *_: answer)
    with pytest.raises(RequestRefusedError):
        publisher.head(queue)
    assert SWITCH not in calls(client)


class LostError(ApprenticeError):
    pass


@pytest.mark.parametrize("good", range(HEAD + 1))
def test_nothing_is_written_after_the_right_to_publish_is_lost(publish: Publish, good: int) -> None:
    left = iter(range(good))

    def guard() -> None:
        if next(left, None) is None:
            raise LostError

    publisher, client, queue = publish(10, PublishTimings(), guard)
    with pytest.raises(LostError):
        publisher.head(queue)
    assert calls(client) == [ROW] * good


def test_the_rest_asks_the_guard_too(publish: Publish) -> None:
    allowed = [True]

    def guard() -> None:
        if not allowed[0]:
            raise LostError

    publisher, client, queue = publish(10, PublishTimings(), guard)
    rest = publisher.head(queue)
    allowed[0] = False
    with pytest.raises(LostError):
        publisher.rest(rest, lambda _: False)
    assert calls(client)[-1] == SWITCH


def test_pruning_removes_one_version_only(server: FakeLabelStudio) -> None:
    server.predictions = [{"task": 1, "model_version": name, "score": 0, "result": []} for name in ("a", "b", "a")]
    prune(FakeClient(server), 5, "a")
    assert [row["model_version"] for row in server.predictions] == ["b"]
