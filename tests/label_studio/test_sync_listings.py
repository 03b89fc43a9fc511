"""Reconciliation lists the tasks and annotations that may have changed, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks
from reconciliation import assert_agree, settle, task_queries

from ml_backend.label_studio.sync import reconcile
from ml_backend.storage import Store


def test_with_equal_counts_nothing_is_read(server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]) -> None:
    client = FakeClient(server)
    assert not reconcile(client, store, 5, interval_seconds=3600, check_lease=lambda: None)
    assert client.calls == []


def test_reconciling_an_unchanged_project_reads_no_list_of_all_tasks(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    client = settle(server, store)
    assert not any("export" in path for _, path, _ in client.calls)
    assert all("updated_at" in query for query in task_queries(client))


def test_a_project_of_several_pages_is_read_completely(server: FakeLabelStudio, store: Store) -> None:
    truth = add_labelled_tasks(server, 13)
    for task in truth:
        server.annotate(task, truth[task])
    settle(server, store, page_tasks=4)
    assert_agree(server, store)
    for task in truth:
        server.annotate(task, truth[task], by=2)
    settle(server, store, page_tasks=4)
    assert_agree(server, store)


def test_a_task_deleted_between_two_pages_makes_no_other_task_be_skipped(server: FakeLabelStudio, store: Store) -> None:
    truth = add_labelled_tasks(server, 13)
    settle(server, store, page_tasks=4)
    store.versions.draw_audit(5, truth)
    server.delete_task(max(server.tasks))  # lost, so that all are listed
    client = FakeClient(server, page_tasks=4)
    listings: list[str] = []

    def delete_one_of_the_first_page(method: str, path: str, _body: Any) -> None:
        if path == "api/tasks":
            listings.append(path)
            if len(listings) == 2:
                server.delete_task(min(server.tasks))

    client.after = delete_one_of_the_first_page
    reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
    assert set(server.tasks) <= set(store.tasks.index(5)[0].tolist())
    assert set(server.tasks) <= set(store.versions.audited(5)), "they also stay in the audit sample"


def test_a_task_missing_from_a_listing_is_looked_up_before_it_is_removed(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    server.delete_task(max(stored_truth))  # lost, so that all are listed
    client, hidden = FakeClient(server), min(stored_truth)
    call = client.call

    def hide_one_in_lists_of_all(method: str, path: str, **values: Any) -> Any:
        response = call(method, path, **values)
        if path == "api/tasks" and "filters" not in (values.get("params") or {})["query"]:
            response["tasks"] = [task for task in response["tasks"] if task["id"] != hidden]
        return response

    client.call = hide_one_in_lists_of_all  # type: ignore[method-assign]
    reconcile(client, store, 5, interval_seconds=0, check_lease=lambda: None)
    assert_agree(server, store)


def test_a_change_that_becomes_visible_late_is_read_by_the_next_reconciliation(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    late = server.annotations()[0]
    server.change_text(max(stored_truth), "a later change, seen first")
    settle(server, store)
    late["result"] = [{**late["result"][0], "value": {"choices": ["animal"]}}]
    server.tasks[late["task"]]["updated_at"] = late["updated_at"]  # before the watermark
    settle(server, store)
    assert_agree(server, store)


def test_a_start_of_a_worker_reads_no_annotations_that_have_not_changed(
    server: FakeLabelStudio, store: Store, stored_truth: dict[int, str]
) -> None:
    store.synchronisation.request_reconciliation(5)
    client = settle(server, store)
    assert all("updated_at" in query for query in task_queries(client)), "only changed tasks are read"


def test_a_recent_import_is_not_listed_again(
    server: FakeLabelStudio, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_labelled_tasks(server, 40)
    settle(server, store)
    listed: list[dict[str, Any]] = []
    answer = server.answer

    def note(method: str, path: str, body: Any, params: dict[str, Any]) -> Any:
        response = answer(method, path, body, params)
        listed.extend(response["tasks"] if path == "api/tasks" else [])
        return response

    monkeypatch.setattr(server, "answer", note)
    store.synchronisation.request_reconciliation(5)
    settle(server, store)
    assert len(listed) <= 2, "only the tasks with the newest time itself"


def test_all_annotations_are_read_a_page_at_a_time(
    server: FakeLabelStudio, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_backend.label_studio import sync as module

    monkeypatch.setattr(module, "ANNOTATED_PAGE_TASKS", 3)
    truth = add_labelled_tasks(server, 11)
    for task in truth:
        server.annotate(task, truth[task], skip=task % 4 == 0)
    client = settle(server, store)
    assert_agree(server, store)
    assert not any("export" in path for _, path, _ in client.calls)
