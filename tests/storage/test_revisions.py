"""Revisions: a reader that remembers one finds every later change, and no other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from schemas import by_control, chosen, labelled

from ml_backend.core.settings import Settings
from ml_backend.core.types import Annotation, Draft, Prediction
from ml_backend.storage import Store
from ml_backend.storage.database import MIGRATIONS


def answer(number: int, task: int, *choices: str, at: int = 1, skip: bool = False) -> Annotation:
    return Annotation(
        number, task, 1, labelled(*choices), cancelled=skip, updated_at=f"2026-11-22T00:00:{at:02}.000001Z"
    )


def shown(task: int) -> Prediction:
    return Prediction(task, 0.1, by_control(Draft(("a",), 0.5, "learner")))


def test_a_reader_finds_the_tasks_that_changed_since_and_no_others(any_store: Store) -> None:
    labels = any_store.annotations
    labels.put(5, [answer(1, 10, "a"), answer(2, 20, "a"), answer(3, 30, "a")])
    revision = labels.revision(5).number
    assert labels.changed_since(5, revision) == set()
    labels.put(5, [answer(2, 20, "b", at=2)])
    labels.delete(5, [3])
    assert labels.changed_since(5, revision) == {20, 30}
    assert [annotation.id for annotation in labels.of_tasks(5, [10, 20, 30])] == [1, 2]
    assert [chosen(annotation) for annotation in labels.with_ids(5, [2, 3])] == [("b",)]


def test_a_write_that_changes_nothing_gets_no_revision(any_store: Store) -> None:
    labels = any_store.annotations
    labels.put(5, [answer(1, 10, "a", at=5)])
    labels.delete(5, [77])
    before = labels.revision(5)
    labels.put(5, [answer(1, 10, "a", at=5), answer(1, 10, "b", at=4)])
    labels.delete(5, [77])
    labels.revive(5, [1])
    assert labels.revision(5) == before


@pytest.mark.parametrize("vanish", ["revive", "move"])
def test_a_reader_can_tell_that_rows_were_removed(any_store: Store, vanish: str) -> None:
    labels = any_store.annotations
    labels.put(5, [answer(1, 10, "a")])
    any_store.published_drafts.put(5, "v1", [shown(10)])
    revision = labels.revision(5)
    assert revision.complete < revision.number
    if vanish == "revive":
        labels.delete(5, [1])
        labels.revive(5, [1])
    else:
        labels.put(5, [answer(1, 20, "a", at=2)])
    assert labels.revision(5).complete > revision.number


def test_published_drafts_get_revisions_of_the_same_counter(any_store: Store) -> None:
    any_store.annotations.put(5, [answer(1, 10, "a")])
    revision = any_store.annotations.revision(5).number
    any_store.published_drafts.put(5, "v1", [shown(10), shown(20)])
    assert any_store.published_drafts.changed_since(5, revision) == {10, 20}
    revision = any_store.annotations.revision(5).number
    any_store.published_drafts.put(5, "v2", [shown(20)])
    assert any_store.published_drafts.changed_since(5, revision) == {20}
    drafts = any_store.published_drafts.of_tasks(5, [10, 20, 30])
    assert [(draft.task, draft.version) for draft in drafts] == [(10, "v1"), (20, "v2")]


def test_an_annotation_that_comes_twice_at_once_is_counted_once_in_its_latest_state(any_store: Store) -> None:
    any_store.annotations.put(5, [answer(1, 10, skip=True), answer(1, 10, "a", at=3), answer(1, 10, "b", at=2)])
    assert any_store.annotations.count(5) == (1, 0)
    assert any_store.annotations.of(5) == [answer(1, 10, "a", at=3)]


def test_writers_in_two_processes_use_each_revision_once(any_settings: Settings) -> None:
    stores = [Store(any_settings), Store(any_settings)]

    def write(store: Store, first: int) -> None:
        for number in range(first, first + 20):
            store.annotations.put(5, [answer(number, number, "a")])

    threads = [threading.Thread(target=write, args=(store, 100 * n)) for n, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    revision = stores[0].annotations.revision(5)
    assert (revision.answers, revision.skips) == (40, 0)
    assert revision.number - revision.complete == 40
    for store in stores:
        store.close()


def test_the_annotations_of_an_older_store_are_counted_when_it_is_upgraded(any_store: Store) -> None:
    labels = any_store.annotations
    labels.put(5, [answer(1, 10, "a"), answer(2, 20, skip=True), answer(3, 30, "a")])
    labels.delete(5, [3, 4])
    any_store.published_drafts.put(6, "v1", [shown(10)])
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with any_store.database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
    any_store.database.upgrade()
    assert labels.count(5) == (1, 1)
    assert any_store.annotations.revision(6).number > 0
    revision = labels.revision(5).number
    labels.put(5, [replace(answer(1, 10, "b"), updated_at="2026-11-23T00:00:00Z")])
    assert labels.changed_since(5, revision) == {10}


def test_changes_are_found_by_an_index(store: Store, statements: list[str]) -> None:
    plans: dict[str, Callable[[], object]] = {
        "annotation_changed": lambda: store.annotations.changed_since(5, 3),
        "shown_changed": lambda: store.published_drafts.changed_since(5, 3),
        "annotation_task": lambda: store.annotations.of_tasks(5, [1, 2]),
        "sqlite_autoindex_annotation_1 (project=? AND id=?)": lambda: store.annotations.with_ids(5, [1, 2]),
        "sqlite_autoindex_shown_1 (project=? AND task=?)": lambda: store.published_drafts.of_tasks(5, [1, 2]),
        "shown_version": lambda: store.published_drafts.of(5, "v1"),
    }
    for index, read in plans.items():
        statements.clear()
        read()
        (text,) = statements
        with store.database.read() as connection:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (5,) * text.count("?")).all())
        assert index in plan, (index, plan)
