"""Leases, taken questions and pauses use the clock of the database, and not the clocks of the machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import LabelField, Question
from ml_backend.storage import Store

HOUR = 3600.0


@pytest.fixture
def shared(new_postgresql: str, make_settings: Callable[..., Settings]) -> Iterator[Store]:
    store = Store(make_settings(store_url=new_postgresql))
    yield store
    store.close()


@pytest.fixture(params=[-HOUR, HOUR])
def go_wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sets the clock of this machine an hour back or forward."""
    right = time.time
    return lambda: monkeypatch.setattr(time, "time", lambda: right() + request.param)


@pytest.mark.slow
def test_a_machine_whose_clock_is_wrong_takes_over_no_lease(shared: Store, go_wrong: Callable[[], None]) -> None:
    shared.jobs.request(5)
    lease = shared.jobs.claim("one")
    assert lease is not None
    go_wrong()
    shared.jobs.request(5)
    assert shared.jobs.claim("two") is None
    assert shared.jobs.state(5).running
    assert shared.jobs.renew(lease) and shared.jobs.finish(lease)
    assert shared.jobs.claim("two") is not None


@pytest.mark.slow
def test_a_pause_after_a_failure_is_as_long_for_a_machine_whose_clock_is_wrong(
    shared: Store, go_wrong: Callable[[], None]
) -> None:
    shared.jobs.request(5)
    for _ in range(3):
        lease = shared.jobs.claim("one")
        assert lease is not None
        shared.jobs.fail(lease)
        shared.jobs.request(5, retry=True)
    lease = shared.jobs.claim("one")
    assert lease is not None
    shared.jobs.fail(lease)  # a pause of eight seconds
    go_wrong()
    assert shared.jobs.claim("two") is None


@pytest.mark.slow
def test_a_machine_whose_clock_is_wrong_takes_no_question_that_is_being_asked(
    shared: Store, go_wrong: Callable[[], None]
) -> None:
    question = Question("q1", "label", "Label it.", "text", {}, (), (LabelField("label", ("a", "b")),))
    shared.questions.add(5, "t", [(question, None)])
    assert shared.questions.take(5, "t", ["q1"]) == ["q1"]
    go_wrong()
    assert shared.questions.take(5, "t", ["q1"]) == []
