"""Tasks and projects: they are read as they were stored, and each change raises the revision."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from projects import set_up
from schemas import by_control

from ml_backend.core.types import SYNTHETIC_FIELD, TaskContent, content_key
from ml_backend.storage import Store, schema


def example(task: int, text: str) -> TaskContent:
    return TaskContent(task, text, content_key(text))


def revision(store: Store, project: int = 5) -> int:
    return store.projects.ensure(project).tasks_revision


def test_tasks_come_back_in_ascending_order_with_their_keys(any_store: Store) -> None:
    any_store.projects.ensure(5)
    assert any_store.tasks.put(5, [example(2**40, "big"), example(3, "three"), example(1, "one")]) == 3
    tasks, keys = any_store.tasks.index(5)
    assert tasks.tolist() == [1, 3, 2**40]
    assert tasks.dtype == np.int64
    assert keys == [content_key("one"), content_key("three"), content_key("big")]


def test_texts_come_in_the_order_asked_for_and_empty_for_a_task_that_is_gone(any_store: Store) -> None:
    any_store.tasks.put(5, [example(1, "one"), example(2, "twö \U0001f600")])
    assert any_store.tasks.texts(5, [2, 9, 1, 2]) == ["twö \U0001f600", "", "one", "twö \U0001f600"]
    assert any_store.tasks.texts(6, [1]) == [""]


def test_the_revision_grows_only_when_something_changes(any_store: Store) -> None:
    any_store.projects.ensure(5)
    any_store.projects.ensure(6)
    before = revision(any_store)
    any_store.tasks.put(5, [example(1, "one"), example(2, "two")])
    added = revision(any_store)
    assert added > before
    others = revision(any_store, 6)
    assert any_store.tasks.put(5, [example(1, "one"), example(2, "two")]) == 0
    assert any_store.tasks.remove(5, [77]) == 0
    assert revision(any_store) == added
    assert any_store.tasks.put(5, [example(1, "changed"), example(2, "two")]) == 1
    changed = revision(any_store)
    assert changed > added
    assert any_store.tasks.remove(5, [1, 2, 77]) == 2
    assert revision(any_store) > changed
    assert revision(any_store, 6) == others


def test_contents_come_back_as_they_were_put(any_store: Store) -> None:
    displayed = {"page": "<b>one</b>", "dialogue": [{"author": "A", "text": "ü \U0001f600"}], "table": {"age": 1.5}}
    contents = [TaskContent(1, "one", content_key("one"), {"region": "north"}, displayed), example(2, "two")]
    any_store.tasks.put(5, contents)
    assert any_store.tasks.contents(5, [2, 9, 1]) == {1: contents[0], 2: contents[1]}


def test_a_change_of_what_a_tag_displays_alone_is_stored(any_store: Store) -> None:
    any_store.projects.ensure(5)
    for page in ("<b>one</b>", "<i>one</i>"):
        changed = TaskContent(1, "one", content_key("one"), displayed_values={"page": page})
        assert [any_store.tasks.put(5, [changed]) for _ in range(2)] == [1, 0]
        assert any_store.tasks.contents(5, [1]) == {1: changed}


def test_the_values_of_a_field_are_read_and_a_changed_value_raises_the_revision(any_store: Store) -> None:
    tasks = [
        TaskContent(task, "text", content_key("text"), {"region": "north"} if task % 2 else {}) for task in (1, 2, 3)
    ]
    any_store.tasks.put(5, tasks)
    assert any_store.tasks.values(5, "region", [1, 2, 3]) == {1: "north", 3: "north"}
    assert any_store.tasks.values(5, "nothing", [1, 2]) == {}
    before = any_store.projects.ensure(5).tasks_revision
    assert any_store.tasks.put(5, tasks) == 0
    assert any_store.tasks.put(5, [TaskContent(1, "text", content_key("text"), {"region": "south"})]) == 1
    assert any_store.projects.ensure(5).tasks_revision > before
    assert any_store.tasks.values(5, "region", [1, 2, 3]) == {1: "south", 3: "north"}


def test_the_last_of_two_texts_of_one_task_counts(any_store: Store) -> None:
    assert any_store.tasks.put(5, [example(1, "first"), example(1, "last")]) == 1
    assert any_store.tasks.texts(5, [1]) == ["last"]


def test_a_removed_task_leaves_the_audit_sample_too(any_store: Store) -> None:
    any_store.tasks.put(5, [example(1, "one"), example(2, "two")])
    any_store.versions.draw_audit(5, [1, 2])
    any_store.tasks.remove(5, [1])
    assert any_store.versions.audited(5) == [2]
    assert any_store.tasks.count(5) == 1


def test_more_tasks_than_one_transaction_holds_are_stored(any_store: Store) -> None:
    any_store.projects.ensure(5)
    many = [example(n, f"text {n % 50}") for n in range(1, 12_002)]
    assert any_store.tasks.put(5, many) == 12_001
    assert any_store.tasks.count(5) == 12_001
    assert any_store.tasks.texts(5, [12_001, 1]) == [f"text {12_001 % 50}", "text 1"]
    assert any_store.tasks.remove(5, range(1, 12_001)) == 12_000
    assert any_store.tasks.index(5)[0].tolist() == [12_001]


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc")), max_size=4)),
        st.tuples(st.just("remove"), st.lists(st.integers(1, 7), max_size=3)),
    ),
    max_size=8,
)


@given(operations=operations)
@hypothesis_settings(max_examples=60)
def test_after_any_changes_the_store_has_the_tasks_of_a_dictionary(
    operations: list[tuple[str, list[object]]], any_store: Store
) -> None:
    project = max((project_row.id for project_row in any_store.projects.all()), default=0) + 1
    any_store.projects.ensure(project)
    model: dict[int, str] = {}
    for name, values in operations:
        before, held = dict(model), revision(any_store, project)
        if name == "put":
            pairs: list[tuple[int, str]] = values  # type: ignore[assignment]
            model |= dict(pairs)
            changed = any_store.tasks.put(project, [example(*pair) for pair in pairs])
            assert changed == sum(before.get(task) != text for task, text in dict(pairs).items())
        else:
            removed: list[int] = values  # type: ignore[assignment]
            assert any_store.tasks.remove(project, removed) == len(model.keys() & set(removed))
            model = {task: text for task, text in model.items() if task not in removed}
        assert (revision(any_store, project) > held) == (model != before)
    tasks, keys = any_store.tasks.index(project)
    assert tasks.tolist() == sorted(model)
    assert keys == [content_key(model[task]) for task in sorted(model)]


def test_a_project_is_added_at_its_first_use_and_keeps_its_values(any_store: Store) -> None:
    assert any_store.projects.get(5) is None
    fresh = any_store.projects.ensure(5)
    assert (fresh.id, fresh.label_config, fresh.published, fresh.connection) == (5, "", None, None)
    assert any_store.projects.get(5) is not None
    set_up(any_store, 5, label_config="<é/>", extra_params={"queue_size": 3})
    set_up(any_store, 5, published="v1", pinned=4)
    state = any_store.projects.ensure(5)
    assert (state.label_config, state.extra_params, state.published, state.pinned) == (
        "<é/>",
        {"queue_size": 3},
        "v1",
        by_control(4),
    )
    set_up(any_store, 5, published=None, pinned=None)
    assert (any_store.projects.ensure(5).published, any_store.projects.ensure(5).pinned) == (None, {})


def test_only_projects_that_were_connected_count_as_connected(any_store: Store) -> None:
    set_up(any_store, 3, connection={"ml": 1})
    set_up(any_store, 1, connection={"ml": 2})
    set_up(any_store, 2)
    set_up(any_store, 4, connection={"ml": 3})
    set_up(any_store, 4, connection=None)
    assert [project_row.id for project_row in any_store.projects.connected()] == [1, 3]
    assert [project_row.id for project_row in any_store.projects.all()] == [1, 2, 3, 4]


def test_a_project_that_is_in_the_store_is_returned_and_not_added_again(any_store: Store) -> None:
    added = any_store.projects.ensure(5)
    any_store.projects.set_label_config(5, "<View/>")
    assert any_store.projects.ensure(5) == replace(added, label_config="<View/>")
    assert len(any_store.projects.all()) == 1


def test_a_late_event_does_not_overwrite_the_text_that_a_reconciliation_is_writing(any_store: Store) -> None:
    any_store.projects.ensure(5)
    new, late = example(1, "new text"), example(1, "old text")
    with any_store.database.begin() as connection:
        row = {"project": 5, "id": 1, "key": new.key, "text": new.text, "fields": {}}
        connection.execute(sa.insert(schema.task).values(row))
        event = threading.Thread(target=lambda: any_store.tasks.put(5, [late], only_new=True))
        event.start()
        event.join(0.5)
        assert event.is_alive(), "the event waits for the reconciliation"
    event.join()
    assert any_store.tasks.texts(5, [1]) == ["new text"]


def test_only_changes_since_a_revision_are_read(any_store: Store) -> None:
    any_store.projects.ensure(5)
    any_store.tasks.put(5, [example(1, "one"), example(2, "two"), example(3, "three")])
    before = revision(any_store)
    assert any_store.tasks.changed_since(5, before)[1] == []
    any_store.tasks.put(5, [example(2, "two"), example(3, "changed"), example(4, "four")])
    any_store.tasks.put(5, [TaskContent(9, "by the teacher", content_key("by the teacher"), {SYNTHETIC_FIELD: "hard"})])
    tasks, keys, synthetic = any_store.tasks.changed_since(5, before)
    assert tasks.tolist() == [3, 4, 9]
    assert keys == [content_key(text) for text in ("changed", "four", "by the teacher")]
    assert synthetic.tolist() == [False, False, True]
    assert any_store.tasks.changed_since(5, -1)[0].tolist() == any_store.tasks.ids(5).tolist() == [1, 2, 3, 4, 9]
