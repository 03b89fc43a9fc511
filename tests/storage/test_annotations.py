"""Annotations: repeated and reordered events lead to the same state."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemas import labelled
from statements import read_all_annotations

from ml_backend.core.settings import Settings
from ml_backend.core.types import Annotation
from ml_backend.storage import Store

Event = Annotation | int  # an annotation as it was at one moment, or the id of a deleted annotation


def answer(number: int, at: int, *choices: str, task: int = 1, skip: bool = False) -> Annotation:
    return Annotation(
        number, task, 1, labelled(*choices), cancelled=skip, updated_at=f"2026-11-22T00:00:{at:02}.000001Z"
    )


def play(store: Store, project: int, event: Event) -> None:
    if isinstance(event, int):
        store.annotations.delete(project, [event])
    else:
        store.annotations.put(project, [event])


def test_an_annotation_comes_back_as_it_was(any_store: Store) -> None:
    full = Annotation(2**40, 2**41, 7, labelled("a", "é"), True, True, "2026-11-22T00:00:01.5Z", 3.25)
    bare = Annotation(3, 4, None, labelled())
    assert any_store.annotations.put(5, [full, bare]) == 2
    assert any_store.annotations.of(5) == [bare, full]
    assert any_store.annotations.of(6) == []


def test_a_repeated_event_changes_nothing(any_store: Store) -> None:
    for _ in range(3):
        any_store.annotations.put(5, [answer(1, 1, "a")])
    assert any_store.annotations.of(5) == [answer(1, 1, "a")]
    assert any_store.annotations.count(5) == (1, 0)


def test_a_late_event_does_not_undo_a_newer_one(any_store: Store) -> None:
    any_store.annotations.put(5, [answer(1, 9, "new")])
    assert any_store.annotations.put(5, [answer(1, 2, "old")]) == 0
    assert any_store.annotations.of(5) == [answer(1, 9, "new")]


def test_a_deletion_that_overtakes_its_creation_wins(any_store: Store) -> None:
    assert any_store.annotations.delete(5, [1]) == 0
    any_store.annotations.put(5, [answer(1, 1, "a")])
    assert any_store.annotations.of(5) == []
    assert any_store.annotations.count(5) == (0, 0)


def test_a_deleted_annotation_stays_deleted_when_it_is_delivered_again(any_store: Store) -> None:
    any_store.annotations.put(5, [answer(1, 1, "a")])
    assert any_store.annotations.delete(5, [1, 1]) == 1
    assert any_store.annotations.delete(5, [1]) == 0
    assert any_store.annotations.put(5, [answer(1, 8, "b")]) == 0
    assert any_store.annotations.of(5) == []


def test_a_skip_is_kept_and_counted_as_a_skip(any_store: Store) -> None:
    any_store.annotations.put(5, [answer(1, 1, skip=True), answer(2, 1, "a", task=2)])
    assert any_store.annotations.count(5) == (1, 1)
    any_store.annotations.put(5, [answer(1, 2, "b")])  # answered after all
    assert any_store.annotations.count(5) == (2, 0)


def test_deleting_in_one_project_leaves_another_alone(any_store: Store) -> None:
    any_store.annotations.put(6, [answer(1, 1, "a")])
    assert any_store.annotations.delete(5, [1]) == 0
    assert any_store.annotations.of(6) == [answer(1, 1, "a")]


def test_empty_lists_change_nothing(any_store: Store) -> None:
    assert any_store.annotations.put(5, []) == 0
    assert any_store.annotations.delete(5, []) == 0


def test_more_annotations_than_one_statement_takes_are_deleted(any_store: Store) -> None:
    many = 70_000  # more than PostgreSQL, or a usual SQLite, takes as parameters of one statement
    any_store.annotations.put(5, [answer(1, 1, "a"), answer(many, 1, "a"), answer(many + 1, 1, "kept")])
    assert any_store.annotations.delete(5, range(1, many + 1)) == 2
    assert any_store.annotations.of(5) == [answer(many + 1, 1, "kept")]


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events in their true order: annotations that are created, and perhaps changed and deleted, with rising times."""
    history: list[Event] = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        for at in range(draw(st.integers(1, 3))):
            history.append(answer(number, 10 * at + number, draw(st.sampled_from("abc")), skip=draw(st.booleans())))
        if draw(st.booleans()):
            history.append(number)
    return history


@given(data=st.data(), history=histories())
@hypothesis_settings(max_examples=120)
def test_any_order_with_repetitions_ends_in_the_same_state(
    data: st.DataObject, history: list[Event], any_store: Store
) -> None:
    ordered, shuffled = _fresh(any_store), _fresh(any_store)
    for event in history:
        play(any_store, ordered, _numbered(event, ordered))
    repeated = history + data.draw(st.lists(st.sampled_from(history), max_size=6))
    for event in data.draw(st.permutations(repeated)):
        play(any_store, shuffled, _numbered(event, shuffled))
    expected = [_numbered(annotation, shuffled - ordered) for annotation in any_store.annotations.of(ordered)]
    assert any_store.annotations.of(shuffled) == expected
    assert any_store.annotations.count(shuffled) == any_store.annotations.count(ordered)


def _numbered(event: Event, offset: int) -> Event:
    """Returns the same event for other annotations, because Label Studio's ids are unique across projects."""
    shift = 100 * offset
    return event + shift if isinstance(event, int) else replace(event, id=event.id + shift)


def _fresh(store: Store, used: list[int] = []) -> int:  # noqa: B006 (a counter)
    used.append(len(used) + 1)
    return used[-1]


def test_a_store_reads_the_changes_of_another_one(any_settings: Settings) -> None:
    first, second = Store(any_settings), Store(any_settings)
    first.annotations.put(5, [answer(1, 1, "a")])
    assert second.annotations.of(5) == [answer(1, 1, "a")]
    second.annotations.delete(5, [1])
    assert first.annotations.of(5) == []
    first.close()
    second.close()


def test_the_settings_for_skipped_tasks_are_stored(any_store: Store) -> None:
    assert any_store.serving_rules.get(5) == ("", 1)
    for rules in (("REQUEUE_FOR_ME", 1), ("REQUEUE_FOR_OTHERS", 3)):
        any_store.serving_rules.put(5, *rules)
        assert any_store.serving_rules.get(5) == rules


def test_a_read_of_all_annotations_is_recognized_by_its_statement(store: Store, statements: list[str]) -> None:
    store.annotations.of_tasks(5, [1])
    assert statements and not read_all_annotations(statements)
    store.annotations.of(5)
    assert read_all_annotations(statements)
