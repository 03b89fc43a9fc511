"""The store and Label Studio agree again after events that were lost, doubled, late or sent meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks, config_with
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from projects import set_up
from reconciliation import assert_agree, server_annotations, settle
from schemas import chosen

from ml_backend.core.exceptions import UnreachableError
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.sync import reconcile
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.storage import Store


def deliver(store: Store, body: dict[str, Any]) -> None:
    store_event(store, read_event(body))


def lost_creation(server: FakeLabelStudio) -> None:
    server.annotate(max(server.tasks), "animal")


def lost_change(server: FakeLabelStudio) -> None:
    server.change_annotation(server.annotations()[0]["id"], "animal")


def lost_deletion(server: FakeLabelStudio) -> None:
    server.delete_annotation(server.annotations()[0]["id"])


def lost_swap(server: FakeLabelStudio) -> None:
    """The counts are the same afterwards."""
    lost_deletion(server)
    lost_creation(server)


def lost_task(server: FakeLabelStudio) -> None:
    server.delete_task(max(server.tasks))


def lost_answered_task(server: FakeLabelStudio) -> None:
    server.delete_task(min(server.tasks))


def lost_task_swap(server: FakeLabelStudio) -> None:
    lost_task(server)
    server.add_tasks(["horse cow"])


def lost_import(server: FakeLabelStudio) -> None:
    server.add_tasks(["new one", "new two"])


def lost_text(server: FakeLabelStudio) -> None:
    server.change_text(min(server.tasks), "other words")


LOSSES = [
    lost_creation, lost_change, lost_deletion, lost_swap, lost_task, lost_answered_task, lost_task_swap, lost_import,
    lost_text,
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_change_whose_event_was_lost_is_read(
    loss: Callable[[FakeLabelStudio], None], server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    loss(server)
    settle(server, store)
    assert_agree(server, store)


def test_the_first_reconciliation_reads_existing_annotations(server: FakeLabelStudio, store: Store) -> None:
    truth = add_labelled_tasks(server, 9)
    for task in list(truth)[::2]:
        server.annotate(task, truth[task])
    settle(server, store)
    assert_agree(server, store)


def test_an_event_with_other_counts_causes_a_reconciliation_and_one_with_equal_counts_does_not(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    client = FakeClient(server)
    deliver(store, server.annotate(max(stored_truth), "fruit"))
    assert not reconcile(client, store, 5, interval_seconds=3600, check_lease=lambda: None)
    server.annotate(max(stored_truth), "metal", by=2)  # lost
    deliver(store, server.annotate(max(stored_truth) - 1, "fruit"))  # says that there is one more
    assert reconcile(client, store, 5, interval_seconds=3600, check_lease=lambda: None)
    assert_agree(server, store)


def test_a_new_configuration_is_found(server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]) -> None:
    server.label_config = config_with("fruit", "metal", "beast")
    settle(server, store)
    assert_agree(server, store)


def add_topics(server: FakeLabelStudio) -> None:
    """Adds to every annotation a choice of a control that was not learnt."""
    for annotation in server.annotations():
        if not annotation["was_cancelled"]:
            region = annotation["result"][0]
            annotation["result"].append({**region, "from_name": "topic", "value": {"choices": ["animal"]}})


def test_annotations_are_read_again_when_another_control_comes_first(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    server.label_config = config_with("fruit", "metal", "animal", control="topic")
    add_topics(server)
    deliver(store, server.project_updated())
    settle(server, store)
    assert_agree(server, store)
    assert [chosen(annotation) for annotation in store.annotations.of(5)] == [("animal",), ("animal",), ()]


def test_annotations_are_read_again_when_the_event_of_a_new_configuration_was_lost(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    server.label_config = config_with("fruit", "metal", "animal", control="topic")
    add_topics(server)
    settle(server, store)
    assert_agree(server, store)


def test_an_unsupported_configuration_deletes_nothing(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    config = server.label_config
    server.label_config = "<View/>"
    settle(server, store)
    assert len(store.annotations.of(5)) == 3
    server.label_config = config
    server.annotate(max(stored_truth), "animal")
    settle(server, store)
    assert_agree(server, store)


def test_a_queue_is_published_again_if_another_model_version_was_chosen(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    set_up(store, 5, published="v1", fingerprint="known")
    server.settings["model_version"] = "v1"
    settle(server, store)
    assert store.projects.ensure(5).fingerprint == "known"
    server.settings["model_version"] = "other"
    settle(server, store)
    assert store.projects.ensure(5).fingerprint == ""


def test_after_a_failure_the_next_reconciliation_is_complete(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    lost_swap(server)
    lost_task_swap(server)
    expected = len(FakeClient(server).calls)
    for failing in range(8):
        client = FakeClient(server)

        def fail(*_: Any, client: FakeClient = client, failing: int = failing) -> None:
            if len(client.calls) > failing:
                raise UnreachableError("down")

        client.before = fail
        try:
            reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
        except UnreachableError:
            continue
        break
    assert expected == 0
    settle(server, store)
    assert_agree(server, store)


Change = Callable[[FakeLabelStudio], dict[str, Any]]
CHANGES: dict[str, Change] = {
    "an answer": lambda server: server.annotate(max(server.tasks), "animal"),
    "a change": lambda server: server.change_annotation(server.annotations()[0]["id"], "animal"),
    "a deletion": lambda server: server.delete_annotation(server.annotations()[0]["id"]),
    "a skip": lambda server: server.annotate(max(server.tasks), skip=True),
    "new tasks": lambda server: server.add_tasks(["sheep", "goat"]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("loss", [None, lost_task_swap, lost_swap], ids=["nothing", "a task swap", "a swap"])
def test_an_event_during_a_reconciliation_is_not_undone(
    change: str, at: int, loss: Callable[[FakeLabelStudio], None] | None, server: FakeLabelStudio, store: Store,
    stored_truth: dict[int, str],
) -> None:  # fmt: skip
    """The event comes after a response of Label Studio and before the response is used."""
    if loss:
        loss(server)
    client = FakeClient(server)
    bodies: list[dict[str, Any]] = []

    def interrupt(*_: Any) -> None:
        if len(client.calls) == at + 1 and not bodies:
            bodies.append(CHANGES[change](server))
            deliver(store, bodies[0])

    client.after = interrupt
    reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
    if bodies:
        assert_agree(server, store)


@pytest.mark.parametrize("at", range(4))
def test_a_task_deleted_during_a_reconciliation_is_removed_by_the_next_one(
    at: int, server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    lost_import(server)
    client = FakeClient(server)

    def interrupt(*_: Any) -> None:
        if len(client.calls) == at + 1:
            deliver(store, server.delete_task(max(stored_truth)))

    client.after = interrupt
    reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
    settle(server, store)
    assert_agree(server, store)


@pytest.mark.parametrize("at", range(3))
def test_after_a_change_of_the_configuration_during_a_reconciliation_the_next_one_reads_annotations(
    at: int, server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    client = FakeClient(server)

    def interrupt(*_: Any) -> None:
        if len(client.calls) == at + 1:
            server.label_config = config_with("fruit", "metal", "animal", control="topic")
            add_topics(server)
            deliver(store, server.project_updated())

    client.after = interrupt
    reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
    reconcile(FakeClient(server), store, 5, interval_seconds=3600, check_lease=lambda: None)
    assert_agree(server, store)


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "annotate", "change", "delete", "skip", "remove", "text", "reconcile"]),
        st.integers(0, 20),
        st.sampled_from(["delivered", "lost", "doubled", "late"]),
    ),
    max_size=14,
)


@given(steps=steps)
@hypothesis_settings(max_examples=120)
def test_after_lost_doubled_and_late_events_a_reconciliation_makes_the_store_agree_with_label_studio(
    steps: list[tuple[str, int, str]], store: Store
) -> None:
    server = FakeLabelStudio(project=len(store.projects.all()) + 1000)
    server._ids = iter(range(server.project * 10_000, server.project * 10_000 + 10_000))
    number = server.project
    late: list[dict[str, Any]] = []
    server.add_tasks(["apple", "iron", "dog"])
    for action, choice, delivery in steps:
        body = _do(server, action, choice)
        if action == "reconcile":
            reconcile(FakeClient(server), store, number, interval_seconds=0, check_lease=lambda: None)
        if body is None or delivery == "lost":
            continue
        if delivery == "late":
            late.append(body)
            continue
        for _ in range(2 if delivery == "doubled" else 1):
            deliver(store, body)
    for body in late:
        if not body["action"].startswith("TASKS"):  # a deleted task that returns is removed by the next reconciliation
            deliver(store, body)
    reconcile(FakeClient(server), store, number, interval_seconds=0, check_lease=lambda: None)
    tasks, _ = store.tasks.index(number)
    assert tasks.tolist() == sorted(server.tasks)
    assert store.tasks.texts(number, tasks.tolist()) == [server.tasks[task]["data"]["text"] for task in tasks.tolist()]
    schema = read_schema(server.label_config)
    assert store.annotations.of(number) == server_annotations(server, schema)


def _do(server: FakeLabelStudio, action: str, choice: int) -> dict[str, Any] | None:
    tasks, annotations = sorted(server.tasks), [annotation["id"] for annotation in server.annotations()]
    label = ("fruit", "metal", "animal")[choice % 3]
    if action == "add":
        return server.add_tasks([f"words {choice}"])
    if action in ("annotate", "skip", "remove", "text") and tasks:
        task = tasks[choice % len(tasks)]
        if action == "text":
            server.change_text(task, f"changed {choice}")
            return None
        if action == "remove":
            return server.delete_task(task)
        return server.annotate(task, *([] if action == "skip" else [label]), skip=action == "skip", by=1 + choice % 3)
    if action in ("change", "delete") and annotations:
        number = annotations[choice % len(annotations)]
        return server.change_annotation(number, label) if action == "change" else server.delete_annotation(number)
    return None
