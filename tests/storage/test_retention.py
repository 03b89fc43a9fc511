"""Retention of versions after months of rounds, on both databases."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend.core.types import ModelVersion
from ml_backend.storage import Store
from ml_backend.storage.retention import MAX_VERSIONS, ROWS_PER_TRANSACTION, Retention, StoredLearner
from ml_backend.storage.schema import version as table


def rounds(store: Store, first: int, last: int, project: int = 5) -> None:
    """Inserts the versions of rounds, without artifacts and without rows in Label Studio."""
    empty: dict[str, Any] = {
        "project": project, "learner": None, "labelled": 9, "accuracy": None, "created_at": 0.0, "remarks": [],
        "artifact": None, "sha256": None, "active": False, "rows": 0, "acquisition": "",
    }  # fmt: skip
    rows = [{**empty, "number": number, "name": f"v{number}"} for number in range(first, last + 1)]
    with store.database.begin() as connection:
        connection.execute(sa.insert(table), rows)


def numbers(store: Store, project: int = 5) -> list[int]:
    with store.database.read() as connection:
        query = sa.select(table.c.number).where(table.c.project == project).order_by(table.c.number)
        return list(connection.execute(query).scalars())


def test_after_months_of_rounds_the_latest_thousand_versions_are_left_and_numbers_go_on(any_store: Store) -> None:
    rounds(any_store, 1, 30_000)
    rounds(any_store, 1, 3, project=6)
    removed: list[int] = []
    while not removed or removed[-1]:
        removed.append(any_store.retention.remove_old_versions(5, ()))
    assert max(removed) == ROWS_PER_TRANSACTION, "in batches"
    assert numbers(any_store) == [*range(30_001 - MAX_VERSIONS, 30_001)]
    assert any_store.versions.next_number(5) == 30_001
    assert numbers(any_store, 6) == [1, 2, 3]
    rounds(any_store, 30_001, 30_001)
    assert any_store.retention.remove_old_versions(5, ()) == 1
    assert any_store.versions.next_number(5) == 30_002


def test_an_old_version_that_is_still_needed_stays(any_store: Store) -> None:
    any_store.versions.add(ModelVersion(5, 1, "v1", 1, 9, {}, 0.0), ("5/1.safetensors", "ab"), rows=0)
    rounds(any_store, 2, MAX_VERSIONS + 6)
    any_store.versions.set_rows(5, 2, 30)
    any_store.versions.activate(5, 3)
    any_store.retention.remove_old_versions(5, {4})
    assert numbers(any_store)[:5] == [1, 2, 3, 4, 7]
    assert any_store.retention.learners(5) == [StoredLearner(1, 9, "5/1.safetensors")]
    any_store.versions.activate(5, MAX_VERSIONS + 6)
    any_store.versions.drop_artifact(5, 1)
    any_store.versions.set_rows(5, 2, 0)
    any_store.retention.remove_old_versions(5, ())
    assert numbers(any_store)[0] == 7


def test_a_number_is_never_given_twice_whatever_was_removed(any_store: Store) -> None:
    retention = Retention(any_store.database, max_versions=1)
    used = []
    for _ in range(20):
        number = any_store.versions.next_number(5)
        used.append(number)
        rounds(any_store, number, number)
        retention.remove_old_versions(5, ())
    assert used == [*range(1, 21)]
