"""The properties of controls that earlier releases stored in columns and keys of their own are still recognized."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from migrations import insert, migrate

from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import TaskContent, content_key
from ml_backend.kinds.lookup import fit_properties
from ml_backend.storage import Store
from ml_backend.teacher.distillation import origin_of

MATRIX = np.arange(4, dtype="<f8").tobytes()
COUNTS = {"plugin": "logistic", "space": "fake", "taught": 3, "cues": 0, "pool": 9, "compared": 1, "wording": "w"}
CONTROLS = [
    ChoicesSchema("c", "text", ("a", "b")),
    ChoicesSchema("c", "text", ("a", "b"), multiple=True),
    ChoicesSchema("c", "text", ("left", "right"), antisymmetric=True),
]


def stored(store: Store, table: str) -> dict[str, Any]:
    with store.database.read() as connection:
        return dict(connection.execute(sa.text(f"SELECT * FROM {table}")).mappings().one())


@pytest.mark.parametrize("control", CONTROLS)
def test_a_prior_and_a_reliability_of_an_earlier_release_are_of_the_same_control(
    any_store: Store, control: ChoicesSchema
) -> None:
    any_store.projects.ensure(5)
    migrate(any_store, "0022", down=True)
    properties = {"labels": [*control.labels], "multiple": control.multiple}
    insert(any_store, "confusion", project=5, control="c", teacher="t", matrix=MATRIX, **properties)
    made_of = {**COUNTS, **properties, "antisymmetric": control.antisymmetric}
    insert(any_store, "distillation", project=5, control="c", file="f", sha256="s", number=1, made_of=made_of)
    migrate(any_store, "head")
    reliability = any_store.stats.reliability(5, "c")
    assert reliability is not None and reliability.properties == fit_properties(control)
    assert reliability.values.tolist() == [[0, 1], [2, 3]]
    origin = origin_of(any_store.projects.require(5), control)
    assert origin is not None and origin.is_for("logistic", "fake", fit_properties(control))
    assert (origin.taught, origin.wording) == (3, "w")
    migrate(any_store, "0022", down=True)
    restored = stored(any_store, "confusion")
    assert (restored["multiple"], bytes(restored["matrix"])) == (control.multiple, MATRIX)
    migrate(any_store, "head")
    assert origin_of(any_store.projects.require(5), control) == origin
    reliability = any_store.stats.reliability(5, "c")
    assert reliability is not None and reliability.properties["labels"] == [*control.labels]


def test_a_prior_of_a_release_that_did_not_store_whether_several_labels_hold_is_made_anew(any_store: Store) -> None:
    any_store.projects.ensure(5)
    migrate(any_store, "0022", down=True)
    made_of = {**COUNTS, "labels": ["a", "b"]}
    insert(any_store, "distillation", project=5, control="c", file="f", sha256="s", number=1, made_of=made_of)
    migrate(any_store, "head")
    origin = origin_of(any_store.projects.require(5), CONTROLS[0])
    assert origin is not None and not origin.is_for("logistic", "fake", fit_properties(CONTROLS[0]))


def test_tasks_whose_displayed_values_a_store_loses_are_read_again(any_store: Store) -> None:
    for project in (5, 6):
        any_store.projects.ensure(project)
        any_store.synchronisation.begin_reconciliation(project)
        any_store.synchronisation.record_reconciliation(project, {}, "2026-11-30T00:00:00.000000Z", "a signature")
        displayed = {"page": "<b>one</b>"} if project == 5 else {}
        any_store.tasks.put(project, [TaskContent(1, "one", content_key("one"), displayed_values=displayed)])
    migrate(any_store, "0021", down=True)
    migrate(any_store, "head")
    assert [row.read_under for row in any_store.projects.all()] == ["", "a signature"]
