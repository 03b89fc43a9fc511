"""The versions that rollbacks hold, by control, and their migration from one version for all controls."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from migrations import insert, migrate

from ml_backend.storage import Store


def insert_version(store: Store, project: int, number: int, *controls: str, active: bool = False) -> None:
    """Inserts a version of a project with these controls."""
    of_control = {"learner": 1, "labelled": 3, "accuracy": None}
    insert(
        store, "version", project=project, number=number, name="v", learner=None, labelled=0, created_at=0.0,
        remarks=[], active=active, rows=0, acquisition="", controls=dict.fromkeys(controls, of_control),
    )  # fmt: skip


def insert_project(store: Store, number: int, pinned: int | None) -> None:
    """Inserts a project as it was in revision 0019."""
    insert(store, "project", id=number, label_config="", extra_params={}, made_at="", pinned=pinned, tasks_revision=0)


def pinned_before(store: Store) -> dict[int, int | None]:
    """The version that each project holds in revision 0019."""
    with store.database.read() as connection:
        return {row.id: row.pinned for row in connection.execute(sa.text("SELECT id, pinned FROM project"))}


def test_a_rollback_holds_and_releases_controls_one_by_one(any_store: Store) -> None:
    any_store.projects.ensure(5)
    any_store.projects.ensure(6)
    any_store.projects.pin(5, {"topic": 2, "mood": 2})
    any_store.projects.pin(5, {"mood": 1})
    any_store.projects.pin(6, {"topic": 9})
    assert any_store.projects.require(5).pinned == {"topic": 2, "mood": 1}
    any_store.projects.unpin(5, ["topic"])
    assert any_store.projects.require(5).pinned == {"mood": 1}
    any_store.projects.unpin(5)
    assert [row.pinned for row in any_store.projects.all()] == [{}, {"topic": 9}]


def test_an_upgrade_holds_the_controls_that_the_version_has(any_store: Store) -> None:
    migrate(any_store, "0019", down=True)
    for number, pinned in ((5, 2), (6, None), (7, 4)):
        insert_project(any_store, number, pinned)
    insert_version(any_store, 5, 2, "topic", "mood")
    insert_version(any_store, 5, 3, "added later")
    insert_version(any_store, 6, 2, "topic")
    migrate(any_store, "head")
    assert any_store.projects.require(5).pinned == {"topic": 2, "mood": 2}
    assert any_store.projects.require(6).pinned == {}
    assert any_store.projects.require(7).pinned == {}, "the version is not stored any more"


@pytest.mark.parametrize(
    ("pinned", "expected"),
    [
        ({}, None),
        ({"topic": 2, "mood": 2}, 2),
        ({"topic": 2, "mood": 2, "removed": 1}, 2),
        ({"topic": 2}, None),
        ({"topic": 2, "mood": 1}, None),
    ],
)
def test_a_store_that_is_taken_back_keeps_a_rollback_of_all_controls_to_one_version(
    any_store: Store, pinned: dict[str, int], expected: int | None
) -> None:
    for project in (5, 6):
        any_store.projects.ensure(project)
        insert_version(any_store, project, 3, "mood", "topic", active=True)
    any_store.projects.pin(5, pinned)
    migrate(any_store, "0019", down=True)
    assert pinned_before(any_store) == {5: expected, 6: None}
