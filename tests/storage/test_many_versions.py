"""A query about versions costs as much with 30,000 versions as with ten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from databases import database_of
from statements import recorded_statements

from ml_backend.core.settings import Settings
from ml_backend.storage import Store, schema

MANY = 30_000
INDEXES = {
    "active": "version_active", "named": "version_name", "learners": "version_own_fit",
    "stale": "version_stale",
}  # fmt: skip
"""Index by query; the other queries use the primary key."""


@pytest.fixture(scope="module")
def postgresql_of_module(postgresql: str, migrated_postgresql: str) -> Iterator[str]:
    with database_of(postgresql, migrated_postgresql) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Project 5 with 30,000 versions; the last one is active, ten have a fit of their own, twenty still have rows.
    The tests only read them."""
    url = request.getfixturevalue("postgresql_of_module") if request.param == "postgresql" else ""
    store = Store(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("crowded"), store_url=url))
    rows: list[dict[str, Any]] = [
        {
            "project": 5, "number": number, "name": f"apprentice-{number}-abcd", "labelled": number, "created_at": 0.0,
            "remarks": [], "artifact": "file" if number > MANY - 10 else None, "active": number == MANY,
            "rows": 50 if number > MANY - 20 else 0, "acquisition": "",
        }
        for number in range(1, MANY + 1)
    ]  # fmt: skip
    with store.database.begin() as connection:
        connection.execute(sa.insert(schema.version), rows)
        connection.execute(sa.text("ANALYZE"))
    yield store
    store.close()


QUERIES: dict[str, Callable[[Store], object]] = {
    "active": lambda store: store.versions.active(5),
    "named": lambda store: store.versions.named(5, "apprentice-77-abcd"),
    "learners": lambda store: store.versions.learners(5),
    "stale": lambda store: store.versions.stale(5),
    "next number": lambda store: store.versions.next_number(5),
    "artifact": lambda store: store.versions.artifact(5, MANY),
    "the latest": lambda store: store.versions.all(5, 3),
}


@pytest.mark.parametrize("what", QUERIES)
def test_a_query_about_versions_reads_few_rows(what: str, crowded: Store) -> None:
    with recorded_statements() as statements:
        assert QUERIES[what](crowded)
    [(statement, parameters)] = [entry for entry in statements if entry[0].startswith("SELECT")]
    with crowded.database.begin() as connection:
        if crowded.database.is_sqlite:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).first()
            assert plan is not None and plan[3].startswith("SEARCH") and INDEXES.get(what, "") in plan[3]
        else:
            explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            assert _rows_read(explained.scalar_one()[0]["Plan"]) <= 25


def _rows_read(plan: dict[str, Any]) -> int:
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return max([int(read), *(_rows_read(inner) for inner in plan.get("Plans", ()))])
