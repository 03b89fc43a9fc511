"""Erasure of projects: a forgotten project leaves no row, artifact or vector, and other projects keep theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from stored_texts import SECRET, everything, example, spread

from ml_backend.core.teacher_types import Answer, Call
from ml_backend.core.types import content_key
from ml_backend.storage import Store
from ml_backend.storage.erasure import count_rows, erase_project, project_columns
from ml_backend.storage.ledger import AnsweredCalls
from ml_backend.storage.schema import metadata, project

NOT_OF_PROJECTS = {"worker"}  # tables


def test_every_table_has_a_column_with_the_project() -> None:
    assert {table.name for table in project_columns()} == metadata.tables.keys() - NOT_OF_PROJECTS
    assert [*project_columns()][-1] is project, "an erasure that was interrupted can be repeated"


def test_another_project_keeps_its_rows(any_store: Store) -> None:
    spread(any_store, SECRET)
    spread(any_store, SECRET, project=6)
    before = [row for _, row in everything(any_store) if row.startswith("(6, ")]
    any_store.tasks.remove(5, [1])
    any_store.erase_quotes(5)
    assert [row for _, row in everything(any_store) if row.startswith("(6, ")] == before


def test_a_forgotten_project_has_no_row_artifact_or_vector_left(any_store: Store, tmp_path: Path) -> None:
    for number in (5, 6):
        spread(any_store, SECRET, project=number)
        any_store.artifacts.write(number, "000001", {"a": np.arange(3.0)})
        for space in ("minilm", "earlier"):
            any_store.vectors(number, space).add([content_key(SECRET)], np.ones((1, 4), np.float32))
    other = count_rows(any_store.database, 6)
    counted = count_rows(any_store.database, 5)
    assert any_store.forget(5) == {**counted, "artifacts": 1, "vectors": 2}
    assert count_rows(any_store.database, 5) == {}
    assert count_rows(any_store.database, 6) == other
    assert not list((tmp_path / "data").rglob("5"))
    assert len(list((tmp_path / "data").rglob("6"))) == 3
    assert any_store.forget(5) == {}
    assert any_store.versions.next_number(5) == 1, "versions begin at 1 again"


def test_more_rows_than_one_transaction_removes_are_removed(any_store: Store) -> None:
    any_store.projects.ensure(5)
    any_store.tasks.put(5, [example(task, f"text {task}") for task in range(1, 251)])
    assert erase_project(any_store.database, 5, rows_per_transaction=100) == {"task": 250, "project": 1}


def test_the_ledger_can_be_kept_when_a_project_is_forgotten(any_store: Store) -> None:
    any_store.projects.ensure(5)
    call = Call("model", 0.1, 100, 10, "answered")
    any_store.ledger.add_calls(5, AnsweredCalls(Answer("q", None, None, (call,)), "label", "teacher", [0.5]))
    any_store.forget(5, ledger=False)
    assert any_store.ledger.spent(5)[""].cost == 0.5
    any_store.forget(5)
    assert any_store.ledger.spent(5)[""].cost == 0


def test_files_that_are_written_after_a_project_was_forgotten_are_removed(any_store: Store, tmp_path: Path) -> None:
    any_store.projects.ensure(6)
    for number in (5, 6):
        any_store.vectors(number, "space").add([b"k" * 16], np.ones((1, 4), np.float32))
        any_store.artifacts.write(number, "late", {"a": np.arange(3)})
    any_store.remove_orphans()
    assert [len(any_store.vectors(number, "space")) for number in (5, 6)] == [0, 1]
    assert len([*tmp_path.rglob("*.safetensors")]) == 1
