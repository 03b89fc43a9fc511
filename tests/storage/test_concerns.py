"""Each concern of a project has a table: no process overwrites what another process has changed."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from migrations import migrate
from projects import set_up
from schemas import CONTROL, by_control, first_of

from ml_backend.storage import Proposal, Store

CONNECTION = {"webhook": 1, "ml": 2, "view": 3, "second look": 4, "earlier": {"sampling": "Sequential sampling"}}
OLD: dict[str, Any] = {
    "id": 7,
    "label_config": "<View/>",
    "extra_params": {"queue_size": 3},
    "connection": {**CONNECTION, "unfinished": True},
    "made_at": "2026-11-22T08:00:00.000000Z",
    "published": "apprentice-3-abcd",
    "fingerprint": "f" * 64,
    "pinned": 2,
    "counts": {"tasks": 9, "annotations": 4, "skips": 0},
    "tasks_revision": 12,
    "read_under": "label text text",
    "watermark": "2026-11-23T08:00:00.000000Z",
    "reconciled_at": 1000.5,
    "pace": {"bulk": 0.5},
    "progress": {"worker": "host-1", "encoded": 3, "tasks": 9},
    "watch": {"version": 3, "second_look": []},
    "proposals": {
        "standing": {"8": {"row": 80, "answer": [800, "2026-11-23"], "at": 5.0}},
        "settled": {"801": "2026-11-24"},
    },
    "teacher": {"name": "openai:m@here", "model": "m", "problem": "nobody is there", "until": 9.5},
    "cues": {},
    "records": {
        "profile": "{}", "before": None, "odd": "a field is unknown", "tasks": 9,
        "made_of": {"field": "row", "wanted": {}}, "seen": 12,
    },
    "features": {"by": "hand", "fields": {"age": {"kind": "number"}}},
    "prior": {"file": "7/prior-2.safetensors", "sha256": "ab", "number": 2, "made_of": {"plugin": "logistic"}},
    "evolution": {"rounds": []},
}  # fmt: skip


ATTRIBUTES = {
    "pace": "publish_timings", "watch": "monitor_results", "cues": "label_descriptions", "records": "record_profile",
    "features": "feature_scores", "prior": "distillations",
}  # fmt: skip
"""Old column -> attribute of a ProjectRow, where they differ."""
PROBLEMS = [{"code": "text", "values": {"text": OLD["records"]["odd"]}}]
BY_CONTROL = ("watch", "cues", "features", "prior", "pinned")
VALUES = {
    ATTRIBUTES.get(name, name): by_control(value) if name in BY_CONTROL else value for name, value in OLD.items()
} | {
    "record_profile": {name: value for name, value in OLD["records"].items() if name != "odd"} | {"problems": PROBLEMS},
    "field_overrides": OLD["features"]["fields"],
    "feature_scores": by_control({"by": "hand"}),
}
"""The values of the old row by the attributes of a ProjectRow."""


def old_row(store: Store, table_name: str = "project", /, **values: Any) -> None:
    """Inserts a row of a table as it was when the table `project` held all concerns."""
    with store.database.begin() as connection:
        table = sa.Table(table_name, sa.MetaData(), autoload_with=connection)
        connection.execute(sa.insert(table), [values])


def test_the_migration_splits_a_project_row_into_the_tables_of_its_concerns(any_store: Store) -> None:
    migrate(any_store, "0005", down=True)
    empty = {"label_config": "", "extra_params": {}, "made_at": "", "fingerprint": "", "tasks_revision": 0}
    empty |= {"read_under": "", "watermark": "", "reconciled_at": 0.0, "pace": {}, "progress": {}}
    old_row(any_store, **OLD)
    old_row(any_store, id=8, **empty)
    version: dict[str, Any] = {"number": OLD["pinned"], "name": "v2", "labelled": 0, "created_at": 0.0, "rows": 0}
    old_row(any_store, "version", project=7, active=True, **version)
    migrate(any_store, "head")
    project_row = any_store.projects.require(7)
    names = VALUES.keys() - {"proposals", "evolution"}
    assert {name: getattr(project_row, name) for name in names} == {name: VALUES[name] for name in names}
    assert not project_row.is_connected
    assert any_store.reviews.proposals(7) == {8: Proposal(8, 80, 800, "2026-11-23", 5.0, ())}
    assert any_store.reviews.reviewed(7) == {801: "2026-11-24"}
    fresh = any_store.projects.require(8)
    assert (
        fresh.connection,
        fresh.counts,
        first_of(fresh.monitor_results),
        fresh.label_descriptions,
        first_of(fresh.distillations),
    ) == (None, None, None, {}, None)


def test_concerns_are_set_one_by_one_and_read_together(any_store: Store) -> None:
    apart = {"id", "proposals", "evolution", "connection", "counts", "watermark", "publish_timings"}
    state = {name: VALUES[name] for name in VALUES.keys() - apart}
    values = {"monitor_results": "monitor_result", "distillations": "distillation"}
    names_by_control = {ATTRIBUTES.get(column, column) for column in BY_CONTROL}
    changes = {
        values.get(name, name): first_of(value) if name in names_by_control else value for name, value in state.items()
    }
    set_up(any_store, 7, **{**changes, "distillation": {**OLD["prior"], "number": 1}})
    any_store.synchronisation.record_reconciliation(7, OLD["counts"], OLD["watermark"], OLD["read_under"])
    any_store.publications.set_timings(7, 0.5, None)
    project_row = any_store.projects.require(7)
    assert first_of(project_row.distillations) == {**OLD["prior"], "number": 1}
    names = state.keys() - {"distillations"} | {"counts", "watermark", "publish_timings"}
    assert {name: getattr(project_row, name) for name in names} == {name: VALUES[name] for name in names}
    assert any_store.projects.all() == [project_row]


def test_the_review_tab_is_stored_once_and_only_while_the_project_is_connected(any_store: Store) -> None:
    set_up(any_store, 5, connection={"ml": 1})
    assert any_store.connections.add_second_look_tab(5, 77)
    assert not any_store.connections.add_second_look_tab(5, 78), "the project has a tab"
    assert any_store.projects.require(5).connection == {"ml": 1, "second look": 77}
    any_store.connections.suspend(5)
    assert not any_store.projects.require(5).is_connected
    any_store.connections.forget(5)
    assert not any_store.connections.add_second_look_tab(5, 79)
    assert any_store.projects.require(5).connection is None


def test_a_queue_is_not_marked_as_complete_if_another_publication_was_requested(any_store: Store) -> None:
    any_store.projects.ensure(5)
    assert any_store.publications.complete(5, "first", 0)
    any_store.publications.request(5)
    assert not any_store.publications.complete(5, "second", 0)
    assert any_store.projects.require(5).fingerprint == ""
    assert any_store.publications.complete(5, "third", any_store.projects.require(5).republish)
    assert any_store.projects.require(5).fingerprint == "third"


def test_a_document_is_added_once_and_replaced_only_if_it_has_not_changed(any_store: Store) -> None:
    any_store.projects.ensure(5)
    documents = any_store.feature_scores
    assert documents.add(5, "a", {"by": "teacher"}) and documents.add(5, "b", {"by": "teacher"})
    assert not documents.add(5, "a", {"by": "another"})
    assert not documents.replace(5, "a", None, {"by": "nobody"})
    documents.put(5, "a", {"by": "hand"})
    assert not documents.replace(5, "a", {"by": "teacher"}, {"by": "teacher", "asked": [1]}), "the document has changed"
    assert documents.replace(5, "a", {"by": "hand"}, {"by": "hand", "fields": {}})
    assert any_store.projects.require(5).feature_scores == {"a": {"by": "hand", "fields": {}}, "b": {"by": "teacher"}}


def test_only_the_first_of_two_concurrent_distillations_is_stored(any_store: Store) -> None:
    any_store.projects.ensure(5)
    assert any_store.distillations.replace(5, CONTROL, 0, ("a", "1"), {})
    assert not any_store.distillations.replace(5, CONTROL, 0, ("b", "2"), {})
    assert any_store.distillations.replace(5, CONTROL, 1, ("c", "3"), {})
    assert first_of(any_store.projects.require(5).distillations) == {
        "file": "c",
        "sha256": "3",
        "number": 2,
        "made_of": {},
    }


def test_a_problem_of_the_former_teacher_is_not_stored_for_the_next_one(any_store: Store) -> None:
    any_store.projects.ensure(5)
    any_store.teacher_states.set_teacher(5, "old", "m")
    any_store.teacher_states.set_teacher(5, "new", "n")
    any_store.teacher_states.set_problem(5, "old", "nobody is there", 99.0)
    assert any_store.projects.require(5).teacher == {"name": "new", "model": "n", "problem": "", "until": 0.0}


def test_a_reconciliation_that_is_requested_during_another_one_is_not_lost(any_store: Store) -> None:
    any_store.synchronisation.begin_reconciliation(5)
    any_store.synchronisation.request_reconciliation(5)
    any_store.synchronisation.end_reconciliation(5)
    assert any_store.projects.ensure(5).reconciled_at == 0.0


@pytest.mark.parametrize("threads", [2, 6])
def test_a_delayed_request_never_delays_an_event_at_the_same_moment(any_store: Store, threads: int) -> None:
    jobs = any_store.jobs
    for project in range(25):
        barrier = threading.Barrier(threads)

        def want(n: int, project: int = project, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            if n:
                jobs.request_unless_waiting(project, 3600.0)
            else:
                jobs.request(project)

        running = [threading.Thread(target=want, args=(n,)) for n in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        lease = jobs.claim("worker")
        assert lease is not None and lease.project == project
        jobs.finish(lease)
