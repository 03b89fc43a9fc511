"""Webhook bodies: every recorded one is read, and malformed ones raise InvalidEventError."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from malformed_requests import any_json
from projects import set_up
from schemas import chosen, labelled

from ml_backend.core.exceptions import InvalidEventError
from ml_backend.core.types import Annotation, TaskContent, content_key
from ml_backend.label_studio.webhooks import MAX_ITEMS, Event, read_counts, read_event, store_event
from ml_backend.storage import Store

Capture = Callable[[str], dict[str, Any]]


def body(capture: Capture, name: str) -> dict[str, Any]:
    [request] = [item for item in capture(name)["requests_to_ml"] if item["path"] == "/webhook"]
    read: dict[str, Any] = request["json"]
    return read


def example(task: int, text: str, **fields: str) -> TaskContent:
    return TaskContent(task, text, content_key(text), fields)


def counts(tasks: int, annotations: int, skips: int) -> dict[str, int]:
    return {"tasks": tasks, "annotations": annotations, "skips": skips}


def data_of(event: Event) -> tuple[Any, ...]:
    return (event.contents, event.annotations, event.deleted_tasks, event.deleted_annotations)


def test_every_recorded_webhook_is_read(capture: Capture, capture_names: list[str]) -> None:
    read = {}
    for name in capture_names:
        for request in capture(name).get("requests_to_ml", []):
            if request["path"] == "/webhook":
                event = read_event(request["json"])
                read[name[:2]] = event.action
                assert event.project == request["json"]["project"]["id"]
                assert event.label_config == request["json"]["project"]["label_config"]
                assert event.counts == read_counts(request["json"]["project"])
                assert event.counts is not None
                assert not event.incomplete, name
                assert event.problem == ""
    assert read == {
        "02": "TASKS_CREATED", "03": "TASKS_CREATED", "10": "ANNOTATION_CREATED", "11": "ANNOTATION_UPDATED",
        "12": "ANNOTATIONS_DELETED", "13": "ANNOTATION_CREATED", "15": "PROJECT_UPDATED", "17": "START_TRAINING",
        "22": "ANNOTATIONS_CREATED", "23": "TASKS_DELETED", "24": "ANNOTATIONS_DELETED", "32": "ANNOTATION_CREATED",
    }  # fmt: skip


def test_new_tasks_are_read(capture: Capture) -> None:
    event = read_event(body(capture, "02_"))
    assert event.contents == tuple(example(13 + n, f"t{n}", prio=str(n)) for n in range(5))
    assert event.needs_round
    assert read_event(body(capture, "03_")).contents == (example(18, "single"),)


def test_an_annotation_and_its_change_are_read_with_their_task(capture: Capture) -> None:
    created, updated = read_event(body(capture, "10_")), read_event(body(capture, "11_"))
    assert created.annotations == (
        Annotation(3, 13, 1, labelled("neg"), updated_at="2026-11-22T00:37:45.957599Z", lead_time=3.2),
    )
    assert chosen(updated.annotations[0]) == ("pos",)
    assert updated.annotations[0].updated_at > created.annotations[0].updated_at
    assert created.contents == (example(13, "t0", prio="0"),)
    assert created.counts == counts(6, 1, 0)


def test_a_skip_is_read_as_a_skip(capture: Capture) -> None:
    event = read_event(body(capture, "13_"))
    assert [(annotation.id, annotation.task, annotation.cancelled) for annotation in event.annotations] == [
        (4, 14, True)
    ]
    assert event.counts == counts(6, 0, 1)


def test_deletions_are_read_from_ids_alone(capture: Capture) -> None:
    assert data_of(read_event(body(capture, "12_"))) == ((), (), (), (3,))
    deleted = body(capture, "23_")
    assert data_of(read_event(deleted)) == ((), (), (deleted["tasks"][0]["id"],), ())
    assert read_event(body(capture, "24_")).deleted_annotations != ()


def test_lists_of_annotations_are_read_like_single_ones(capture: Capture) -> None:
    recorded = body(capture, "22_")
    event = read_event(recorded)
    assert [annotation.id for annotation in event.annotations] == [item["id"] for item in recorded["annotation"]]
    assert [read.task for read in event.contents] == [item["id"] for item in recorded["task"]]


def test_only_an_event_that_may_change_the_queue_asks_for_a_round(capture: Capture) -> None:
    assert not read_event(body(capture, "15_")).needs_round
    for name in ("02_", "10_", "12_", "13_", "17_", "23_"):
        assert read_event(body(capture, name)).needs_round, name


def test_a_batch_that_is_too_long_is_left_to_the_reconciliation(server: FakeLabelStudio) -> None:
    event = read_event(server.add_tasks([f"text {n}" for n in range(MAX_ITEMS + 1)]))
    assert len(event.contents) == MAX_ITEMS
    assert event.incomplete
    assert event.needs_round


def test_an_item_that_cannot_be_read_is_left_to_the_reconciliation(capture: Capture) -> None:
    spoilt = copy.deepcopy(body(capture, "02_"))
    spoilt["tasks"][1] = {"data": {"text": "no number"}}
    event = read_event(spoilt)
    assert len(event.contents) == 4
    assert event.incomplete


def test_an_annotation_under_an_unsupported_configuration_reports_the_problem(capture: Capture) -> None:
    other = copy.deepcopy(body(capture, "10_"))
    other["project"]["label_config"] = "<View/>"
    event = read_event(other)
    assert "no <Choices>" in event.problem
    assert data_of(event) == ((), (), (), ())
    del other["project"]["label_config"]
    assert read_event(other).incomplete


@pytest.mark.parametrize(
    "nonsense",
    [
        None, [], "x", 5, {}, {"action": "TASKS_CREATED"}, {"project": {"id": 5}}, {"action": 5, "project": 5},
        {"action": "X", "project": {"id": 0}}, {"action": "X", "project": {"id": True}}, {"action": "X", "project": []},
    ],
)  # fmt: skip
def test_a_body_without_an_action_or_a_project_is_refused(nonsense: object) -> None:
    with pytest.raises(InvalidEventError):
        read_event(nonsense)


actions = st.sampled_from(
    ["ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED",
     "TASKS_DELETED", "PROJECT_UPDATED", "START_TRAINING", "", "X" * 500, 5, None]
)  # fmt: skip
bodies = st.fixed_dictionaries(
    {},
    optional={
        "action": actions,
        "project": any_json | st.fixed_dictionaries({"id": st.just(5) | any_json}, optional={"label_config": any_json}),
        **dict.fromkeys(("annotation", "annotations", "task", "tasks"), any_json),
    },
)


@given(value=bodies | any_json)
@hypothesis_settings(max_examples=2000)
@pytest.mark.slow
def test_wrong_types_raise_only_invalid_event_error(value: Any) -> None:
    try:
        event = read_event(value)
    except InvalidEventError:
        return
    assert 0 < event.project < 2**31
    assert len(event.action) <= 50
    for numbers in (event.deleted_tasks, event.deleted_annotations):
        assert all(0 < number < 2**63 for number in numbers)


@given(data=st.data(), place=st.lists(st.integers(0, 30), max_size=4), value=any_json)
@hypothesis_settings(max_examples=1000)
def test_a_recorded_event_with_one_malformed_value_raises_only_invalid_event_error(
    data: st.DataObject, place: list[int], value: Any, capture: Capture
) -> None:
    spoilt = copy.deepcopy(body(capture, data.draw(st.sampled_from(["02_", "10_", "12_", "13_", "17_", "22_", "23_"]))))
    at: Any = spoilt
    for step in place:
        keys = list(at) if isinstance(at, dict) else list(range(len(at))) if isinstance(at, list) else []
        if not keys:
            break
        key = keys[step % len(keys)]
        if not isinstance(at[key], (dict, list)) or step is place[-1]:
            at[key] = value
            break
        at = at[key]
    with suppress(InvalidEventError):
        read_event(spoilt)


def test_after_all_recorded_events_of_a_project_the_store_agrees_with_label_studio(
    capture: Capture, store: Store
) -> None:
    store.projects.ensure(5)
    for name in ("02_", "03_", "10_", "11_", "12_", "13_", "22_", "23_"):
        store_event(store, read_event(body(capture, name)))
    deleted = body(capture, "23_")["tasks"][0]["id"]
    assert deleted not in store.tasks.index(5)[0].tolist()
    assert store.tasks.count(5) == 5
    assert 3 not in [annotation.id for annotation in store.annotations.of(5)]


def test_an_event_of_an_unknown_or_forgotten_project_stores_nothing(server: FakeLabelStudio, store: Store) -> None:
    created = server.add_tasks(["a text"])
    assert not store_event(store, read_event(created))
    assert store.count_rows(5) == {}
    set_up(store, 5, connection={"ml": 1})
    assert store_event(store, read_event(created))
    store.forget(5)
    assert not store_event(store, read_event(created))
    assert store.count_rows(5) == {}


def test_more_deleted_tasks_than_the_limit_of_an_event_are_left_to_the_reconciliation(
    server: FakeLabelStudio, store: Store
) -> None:
    add_labelled_tasks(server, MAX_ITEMS + 5)
    set_up(store, 5, connection={"ml": 1}, label_config=server.label_config, reconciled_at=9.0)
    body = {"action": "TASKS_DELETED", "project": server.as_json(), "tasks": [{"id": task} for task in server.tasks]}
    event = read_event(body)
    assert (len(event.deleted_tasks), event.incomplete) == (MAX_ITEMS, True)
    assert store_event(store, event)
    assert store.projects.ensure(5).reconciled_at == 0, "the round asks Label Studio"


def test_an_event_asks_for_a_round_only_in_a_project_that_is_connected(server: FakeLabelStudio, store: Store) -> None:
    truth = add_labelled_tasks(server, 3)
    created = server.annotate(next(iter(truth)), "fruit")
    assert not store_event(store, read_event(created))
    assert store.jobs.claim("worker") is None
    set_up(store, 5, connection={"ml": 1})
    assert store_event(store, read_event(created))
    assert store.jobs.claim("worker") is not None


def test_a_project_update_asks_for_a_round_when_the_configuration_is_another(
    server: FakeLabelStudio, store: Store
) -> None:
    set_up(store, 5, connection={"ml": 1}, label_config=server.label_config, reconciled_at=9.0)
    assert not store_event(store, read_event(server.project_updated()))
    server.label_config = server.label_config.replace("fruit", "berry")
    assert store_event(store, read_event(server.project_updated()))
    assert store.projects.ensure(5).reconciled_at == 0, "the round asks Label Studio"


def test_a_late_event_does_not_bring_back_an_old_configuration(server: FakeLabelStudio, store: Store) -> None:
    late = server.project_updated()
    server.label_config = server.label_config.replace("fruit", "berry")
    set_up(store, 5, connection={"ml": 1}, label_config=server.label_config)
    store_event(store, read_event(late))
    assert store.projects.ensure(5).label_config == server.label_config


def test_a_call_for_training_makes_the_next_round_publish_even_if_nothing_changed(
    capture: Capture, store: Store
) -> None:
    set_up(store, 5, connection={"ml": 1}, fingerprint="known", reconciled_at=9.0)
    assert store_event(store, read_event(body(capture, "17_")))
    project_row = store.projects.ensure(5)
    assert (project_row.fingerprint, project_row.reconciled_at) == ("", 0.0)


def test_a_late_event_does_not_bring_back_the_old_text_of_a_task(server: FakeLabelStudio, store: Store) -> None:
    truth = add_labelled_tasks(server, 1)
    [task] = truth
    late = server.annotate(task, "fruit")
    store.projects.ensure(5)
    store.tasks.put(5, [example(task, "the new text")])
    store_event(store, read_event(late))
    assert store.tasks.texts(5, [task]) == ["the new text"]


def test_an_event_is_read_for_the_control_that_the_setting_names_whatever_its_tag() -> None:
    config = (
        '<View><Text name="a" value="$question"/><Text name="b" value="$answer"/>'
        '<Choices name="topic" toName="a"><Choice value="x"/><Choice value="y"/></Choices>'
        '<Rating name="quality" toName="b"/></View>'
    )
    regions = [
        {"from_name": "topic", "to_name": "a", "type": "choices", "value": {"choices": ["x"]}},
        {"from_name": "quality", "to_name": "b", "type": "rating", "value": {"rating": 4}},
    ]
    event_body = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 5, "label_config": config},
        "task": {"id": 1, "data": {"question": "Who?", "answer": "Nobody."}},
        "annotation": {"id": 2, "task": 1, "result": regions, "updated_at": "2026-11-22T08:00:00Z"},
    }
    event = read_event(event_body, lambda _: "quality")
    assert [content.text for content in event.contents] == ["Nobody."]
    assert [annotation.labels for annotation in event.annotations] == [labelled("4", control="quality")]
