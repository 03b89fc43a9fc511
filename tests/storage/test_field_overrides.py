"""The field types and descriptions of a project, and their migration from the scores of its controls."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from migrations import insert, migrate

from ml_backend.storage import Store

AGE, CITY = {"age": {"kind": "number"}}, {"city": {"order": ["Oslo", "é"]}}
SCORES = {"estimates": [{"yes": {"age": 3}}], "by": "hand"}


def scores_before(store: Store) -> dict[str, Any]:
    """The scores of project 5 by control, as they are stored in revision 0020."""
    with store.database.read() as connection:
        table = sa.Table("feature_score", sa.MetaData(), autoload_with=connection)
        rows = connection.execute(sa.select(table).where(table.c.project == 5)).all()
    return {control: scores for _, control, scores in rows}


def test_fields_replace_all_earlier_ones_of_their_project(any_store: Store) -> None:
    for project in (5, 6):
        any_store.projects.ensure(project)
    assert any_store.projects.require(5).field_overrides == {}
    any_store.field_overrides.put(5, AGE)
    any_store.field_overrides.put(6, AGE)
    any_store.field_overrides.put(5, CITY)
    assert [row.field_overrides for row in any_store.projects.all()] == [CITY, AGE]


def test_an_upgrade_takes_the_fields_of_all_controls_from_their_scores(any_store: Store) -> None:
    migrate(any_store, "0020", down=True)
    for project in (5, 6):
        insert(any_store, "project", id=project, label_config="", extra_params={}, made_at="", tasks_revision=0)
    insert(any_store, "feature_score", project=5, control="mood", scores={**SCORES, "fields": {"age": {"kind": "x"}}})
    insert(any_store, "feature_score", project=5, control="topic", scores={"fields": {**AGE, **CITY}})
    insert(any_store, "feature_score", project=6, control="topic", scores={**SCORES, "fields": {}})
    migrate(any_store, "head")
    first, second = any_store.projects.all()
    assert first.field_overrides == {**AGE, **CITY}
    assert first.feature_scores == {"mood": SCORES, "topic": {}}
    assert (second.field_overrides, second.feature_scores) == ({}, {"topic": SCORES})


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"mood": SCORES, "topic": {}}, {"mood": {**SCORES, "fields": AGE}, "topic": {"fields": AGE}}),
        ({}, {"active": {"fields": AGE}}),
    ],
)
def test_a_store_that_is_taken_back_has_the_fields_with_the_scores_of_each_control(
    any_store: Store, scores: dict[str, Any], expected: dict[str, Any]
) -> None:
    any_store.projects.ensure(5)
    any_store.field_overrides.put(5, AGE)
    for control, of_control in scores.items():
        any_store.feature_scores.put(5, control, of_control)
    insert(
        any_store, "version", project=5, number=3, name="v", learner=None, labelled=0, created_at=0.0, remarks=[],
        active=True, rows=0, acquisition="", controls={"active": {"learner": None, "labelled": 0, "accuracy": None}},
    )  # fmt: skip
    migrate(any_store, "0020", down=True)
    assert scores_before(any_store) == expected
    migrate(any_store, "head")
    assert any_store.projects.require(5).field_overrides == AGE


def test_fields_of_a_project_without_a_version_and_scores_survive_a_store_that_is_taken_back(any_store: Store) -> None:
    any_store.projects.ensure(5)
    any_store.field_overrides.put(5, AGE)
    migrate(any_store, "0020", down=True)
    migrate(any_store, "head")
    assert any_store.projects.require(5).field_overrides == AGE
