"""Answers that look wrong, as proposals in Label Studio."""

from __future__ import annotations

from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio
from projects import set_up

from ml_backend.core.exceptions import RequestRefusedError
from ml_backend.core.types import Annotation, Example, TaskSchema, content_key
from ml_backend.label_studio import label_review as module
from ml_backend.label_studio.label_review import VERSION, open_to_doubt, propose, withdraw
from ml_backend.storage import Store


class TeacherClient:
    """Project 5 with three answered tasks, and what of Label Studio a proposal touches."""

    def __init__(self, store: Store, server: FakeLabelStudio, schema: TaskSchema) -> None:
        self.store, self.schema = store, schema
        self.client = FakeClient(server)
        self.calls: list[tuple[str, str]] = []
        self.rows: dict[int, dict[str, Any]] = {}
        self.client.call = self.call  # type: ignore[method-assign]
        set_up(store, 5, connection={"ml": 1})
        store.tasks.put(5, [Example(task, "text", content_key("text")) for task in (1, 2, 3)])
        for task in (1, 2, 3):
            self.answer(task, "a")

    def answer(self, task: int, moment: str, *, number: int | None = None, ground_truth: bool = False) -> None:
        label = self.schema.labels[0]
        given = Annotation(number or task, task, 1, (label,), ground_truth=ground_truth, updated_at=moment)
        self.store.labels.put(5, [given])

    def call(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        self.calls.append((method, path))
        if path.startswith("api/dm/views"):
            return {"id": 77}
        if method == "POST":
            number = 100 + len(self.calls)
            self.rows[number] = body
            return {"id": number}
        if path.startswith("api/predictions/"):
            del self.rows[int(path.split("/")[2])]
        return {"deleted_predictions": 1}

    def found(self, *tasks: int) -> None:
        other = self.schema.labels[1]
        doubts = [{"task": task, "instead": [other], "confidence": 0.9} for task in tasks]
        set_up(self.store, 5, watch={"second_look": doubts})

    def propose(self, budget: int = 5) -> list[int]:
        self.calls.clear()
        propose(self.client, self.store, self.schema, self.store.projects.ensure(5), budget)
        return sorted(row["task"] for row in self.rows.values())

    def open(self) -> set[int]:
        return open_to_doubt(self.store.reviews.reviewed(5), self.store.labels.of(5))


@pytest.fixture
def desk(store: Store, server: FakeLabelStudio, single: TaskSchema) -> TeacherClient:
    return TeacherClient(store, server, single)


def test_each_doubtful_answer_gets_one_row_with_the_other_label_and_its_probability(desk: TeacherClient) -> None:
    desk.found(1, 3)
    assert desk.propose() == [1, 3]
    row = next(iter(desk.rows.values()))
    assert (row["model_version"], row["score"]) == (VERSION, 0.9)
    assert row["result"][0]["value"]["choices"] == [desk.schema.labels[1]]
    assert "meta" not in row["result"][0], "it would be copied into an annotation"


def test_nothing_is_written_when_nothing_has_changed(desk: TeacherClient) -> None:
    desk.found(1)
    desk.propose()
    desk.propose()
    assert desk.calls == []


def test_the_tab_is_made_once_with_the_first_proposal(desk: TeacherClient) -> None:
    desk.propose()
    assert desk.calls == []
    desk.found(1)
    desk.propose()
    assert ("POST", "api/dm/views/") in desk.calls
    desk.found(1, 2)
    desk.propose()
    assert ("POST", "api/dm/views/") not in desk.calls
    connection = desk.store.projects.ensure(5).connection
    assert connection is not None and connection["second look"] == 77


def test_a_proposal_goes_when_the_learner_no_longer_doubts_and_may_come_back(desk: TeacherClient) -> None:
    desk.found(1, 2)
    desk.propose()
    desk.found(2)
    assert desk.propose() == [2]
    desk.found(1, 2)
    assert desk.propose() == [1, 2]


def test_an_answer_that_was_changed_or_confirmed_has_had_its_look_until_it_changes_again(desk: TeacherClient) -> None:
    desk.found(1)
    desk.propose()
    desk.answer(1, "b")
    assert desk.propose() == []
    assert 1 not in desk.open()
    assert desk.propose() == []
    desk.answer(1, "c")
    assert 1 in desk.open()
    assert desk.propose() == [1]


def test_a_proposal_that_nobody_takes_up_expires(desk: TeacherClient, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.found(1)
    desk.propose()
    later = module.now() + module.EXPIRES + 1
    monkeypatch.setattr(module, "now", lambda: later)
    assert desk.propose() == []
    assert 1 not in desk.open()


def test_ground_truth_and_tasks_with_several_answers_or_none_are_never_proposed(desk: TeacherClient) -> None:
    desk.answer(1, "b", ground_truth=True)
    desk.answer(2, "b", number=20)
    desk.store.labels.delete(5, [3])
    desk.found(1, 2, 3)
    assert desk.open() == set()
    assert desk.propose() == []


def test_a_second_answer_ends_a_proposal(desk: TeacherClient) -> None:
    desk.found(1)
    desk.propose()
    desk.answer(1, "b", number=20)
    assert desk.propose() == []


def test_what_was_done_before_an_error_is_remembered(desk: TeacherClient) -> None:
    desk.found(1, 2)
    call = desk.call

    def second_fails(method: str, path: str, **more: Any) -> Any:
        if path == "api/predictions/" and desk.rows:
            raise ConnectionError
        return call(method, path, **more)

    desk.client.call = second_fails  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        desk.propose()
    desk.client.call = call  # type: ignore[method-assign]
    assert desk.propose() == [1, 2]


def test_a_smaller_budget_counts_at_once(desk: TeacherClient) -> None:
    desk.found(1, 2)
    desk.propose()
    assert desk.propose(budget=1) == [1]
    assert desk.propose(budget=0) == []


def test_a_proposal_that_label_studio_refuses_is_not_tried_again_for_this_answer(desk: TeacherClient) -> None:
    desk.found(1)
    call = desk.call

    def refuse(method: str, path: str, **more: Any) -> Any:
        if path == "api/predictions/":
            raise RequestRefusedError("no such task")
        return call(method, path, **more)

    desk.client.call = refuse  # type: ignore[method-assign]
    assert desk.propose() == []
    desk.client.call = call  # type: ignore[method-assign]
    assert desk.propose() == []
    desk.answer(1, "b")
    assert desk.propose() == [1]


def test_withdrawing_removes_the_version(desk: TeacherClient) -> None:
    withdraw(desk.client, 5)
    assert desk.calls == [("DELETE", "api/projects/5/model-versions/")]
