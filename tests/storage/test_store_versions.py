"""Versions, rounds and the audit sample."""

from __future__ import annotations

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from manual_clock import ManualClock
from versions import version

from ml_backend.core.types import ControlVersion, Estimate, Remark
from ml_backend.storage import RoundRow, Store
from ml_backend.storage.versions import Versions


def test_a_version_comes_back_as_it_was(any_store: Store) -> None:
    accuracy = Estimate(0.75, 0.5, 0.9, 20, "audit sample")
    full = version(
        3,
        learner=2,
        controls={"label": ControlVersion(2, 3, accuracy), "é": ControlVersion(None, 0, None)},
        remarks=(Remark("text", {"text": "wins 3, é"}),),
    )
    any_store.versions.add(full, ("5/000003.safetensors", "ab" * 32), rows=50)
    assert any_store.versions.get(5, 3) == full
    assert any_store.versions.named(5, "apprentice-3-abcd") == full
    assert any_store.versions.named(6, "apprentice-3-abcd") is None
    assert any_store.versions.artifact(5, 3) == ("5/000003.safetensors", "ab" * 32)


def test_a_new_version_is_not_active_until_it_is_activated(any_store: Store) -> None:
    any_store.versions.add(version(1), None, rows=1)
    assert any_store.versions.active(5) is None
    any_store.versions.activate(5, 1)
    active = any_store.versions.active(5)
    assert active is not None
    assert active.number == 1


@given(numbers=st.lists(st.integers(1, 5), min_size=1, max_size=8))
@hypothesis_settings(max_examples=30)
def test_exactly_one_version_is_active_the_last_one_activated(numbers: list[int], any_store: Store) -> None:
    project = max((project_row.id for project_row in any_store.projects.all()), default=0) + 1
    other_project = project + 1
    for project_id in (project, other_project):
        any_store.projects.ensure(project_id)
        for number in range(1, 6):
            any_store.versions.add(version(number, project_id), None, rows=0)
    any_store.versions.activate(other_project, 4)
    activated: set[int] = set()
    for number in numbers:
        any_store.versions.activate(project, number)
        any_store.versions.set_rows(project, number, 3)
        activated.add(number)
        active = any_store.versions.active(project)
        assert active is not None
        assert active.number == number
        assert {stale for stale, _, _ in any_store.versions.stale(project)} == activated - {number}
    other_active = any_store.versions.active(other_project)
    assert other_active is not None
    assert other_active.number == 4


def test_numbers_go_on_from_the_highest(any_store: Store) -> None:
    assert any_store.versions.next_number(5) == 1
    any_store.versions.add(version(1), None, rows=1)
    any_store.versions.add(version(7), None, rows=1)
    assert any_store.versions.next_number(5) == 8
    assert any_store.versions.next_number(6) == 1
    assert [version.number for version in any_store.versions.all(5)] == [7, 1]


def test_learners_are_the_versions_whose_own_fit_is_kept_newest_first(any_store: Store) -> None:
    for number in (1, 2, 3, 4):
        any_store.versions.add(version(number), ("file", "digest") if number != 3 else None, rows=1)
    assert any_store.versions.learners(5) == [4, 2, 1]
    any_store.versions.drop_artifact(5, 2)
    assert any_store.versions.learners(5) == [4, 1]
    assert any_store.versions.artifact(5, 2) is None
    assert any_store.versions.artifact(5, 99) is None
    assert any_store.versions.get(5, 2) is not None


def test_stale_versions_are_those_that_still_have_rows_but_do_not_serve(any_store: Store) -> None:
    for number in (1, 2, 3, 4):
        any_store.versions.add(version(number), None, rows=number * 10)
        any_store.versions.activate(5, number)
    any_store.versions.set_rows(5, 2, 0)
    assert any_store.versions.stale(5) == [(1, "apprentice-1-abcd", 10), (3, "apprentice-3-abcd", 30)]


def test_rounds_are_kept_newest_first_and_the_failed_ones_can_be_told_apart(any_store: Store) -> None:
    good = RoundRow("apprentice-1", 1.0, 2.5, {"fit": 0.25})
    bad = RoundRow(None, 3.0, 4.0, {}, "no answer")
    any_store.versions.record_round(5, good)
    any_store.versions.record_round(5, bad)
    any_store.versions.record_round(6, RoundRow("other", 1, 1, {}))
    assert any_store.versions.last_rounds(5, 10) == [bad, good]
    assert any_store.versions.last_rounds(5) == [bad]
    assert any_store.versions.last_rounds(5, failed=False) == [good]
    assert any_store.versions.last_rounds(5, failed=True) == [bad]


def test_only_the_newest_rounds_are_kept(any_store: Store) -> None:
    versions = Versions(any_store.database, max_rounds=5)
    for at in range(20):
        versions.record_round(5, RoundRow(None, at, at, {}))
    started = [record.started_at for record in versions.last_rounds(5, 100)]
    assert started == sorted(started, reverse=True)
    assert started[0] == 19
    assert 5 <= len(started) <= 6


def test_the_audit_sample_keeps_the_order_of_drawing(any_store: Store, clock: ManualClock) -> None:
    any_store.versions.draw_audit(5, [30, 10])
    any_store.versions.draw_audit(5, [])
    clock.sleep(1)
    any_store.versions.draw_audit(5, [20])
    clock.sleep(1)
    any_store.versions.draw_audit(5, [30, 5])  # already drawn: keeps its place
    assert any_store.versions.audited(5) == [30, 10, 20, 5]
    assert any_store.versions.audited(6) == []
