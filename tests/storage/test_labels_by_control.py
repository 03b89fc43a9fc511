"""The migration that gives what was stored before several controls to the control that was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from migrations import migrate

from ml_backend.core.types import Annotation, ControlVersion, Draft, Estimate, Label
from ml_backend.storage import PublishedDraft, Store

TEXT = '<Text name="text" value="$text"/>'
CHOICE = '<Choice value="a"/><Choice value="b"/>'
HIDDEN = 'visibleWhen="choice-selected"'
MATRIX = np.eye(2, dtype="<f8").tobytes()
ACCURACY: dict[str, Any] = {"value": 0.75, "low": 0.5, "high": 0.9, "n": 20, "source": "audit sample", "details": {}}


def choices(name: str, rest: str = "", inner: str = CHOICE, to: str = "text") -> str:
    return f'<Choices name="{name}" toName="{to}" {rest}>{inner}</Choices>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def insert(store: Store, name: str, *rows: dict[str, Any]) -> None:
    """Inserts rows in a table as the table is now in the database."""
    with store.database.begin() as connection:
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        connection.execute(sa.insert(table), list(rows))


def annotation(number: int, task: int, choices: list[str], **others: Any) -> dict[str, Any]:
    base = {
        "project": 5, "id": number, "task": task, "annotator": 7, "choices": choices, "cancelled": False,
        "ground_truth": False, "updated_at": "2026-11-22T00:00:01.5Z", "lead_time": 3.25, "deleted": False,
        "revision": 0, "unread": "",
    }  # fmt: skip
    return {**base, **others}


def project(number: int, label_config: str, **extra_params: str) -> dict[str, Any]:
    return {
        "id": number, "label_config": label_config, "extra_params": extra_params, "made_at": "", "pinned": None,
        "tasks_revision": 0,
    }  # fmt: skip


def test_rows_of_all_tables_are_those_of_the_control_that_was_learnt(any_store: Store) -> None:
    migrate(any_store, "0017", down=True)
    insert(any_store, "project", project(5, view(TEXT, choices("topic"))))
    insert(
        any_store,
        "annotation",
        annotation(1, 10, ["a", "é"], unread="partly"),
        annotation(2, 11, []),
        annotation(3, 12, [], cancelled=True),
    )
    shown = {"project": 5, "version": "v1", "place": 0, "revision": 0}
    insert(
        any_store,
        "shown",
        {**shown, "task": 10, "author": "learner", "choices": ["a"], "confidence": 0.5},
        {**shown, "task": 11, "author": None, "choices": [], "confidence": None, "place": 1},
    )
    version = {
        "project": 5, "name": "v1", "labelled": 3, "created_at": 1.0, "remarks": [], "artifact": None, "sha256": None,
        "active": True, "rows": 2, "acquisition": "margin",
    }  # fmt: skip
    insert(any_store, "version", {**version, "number": 2, "learner": 1, "accuracy": ACCURACY})
    insert(
        any_store, "version", {**version, "number": 1, "name": "v0", "active": False, "learner": None, "accuracy": None}
    )
    insert(any_store, "monitor", {"project": 5, "results": {"version": 1}})
    insert(any_store, "label_description", {"project": 5, "descriptions": {"a": {"description": "é", "cues": []}}})
    insert(any_store, "feature_score", {"project": 5, "scores": {"by": "hand"}})
    insert(any_store, "distillation", {"project": 5, "file": "f", "sha256": "s", "number": 2, "made_of": {"taught": 3}})
    body = {"texts": [], "n": 3, "began": ""}
    round_ = {"project": 5, "number": 1, "way": "tasks", "teacher": "t", "done": True, "body": body}
    insert(any_store, "evolution_round", round_)
    migrate(any_store, "head")

    moment = "2026-11-22T00:00:01.5Z"
    assert any_store.annotations.of(5) == [
        Annotation(1, 10, 7, {"topic": Label(("a", "é"), "partly")}, updated_at=moment, lead_time=3.25),
        Annotation(2, 11, 7, {"topic": Label(())}, updated_at=moment, lead_time=3.25),
        Annotation(3, 12, 7, {}, cancelled=True, updated_at=moment, lead_time=3.25),
    ]
    assert any_store.published_drafts.of(5) == [
        PublishedDraft(10, "v1", 0, {"topic": Draft(("a",), 0.5, "learner")}),
        PublishedDraft(11, "v1", 1, {}),
    ]
    active = any_store.versions.active(5)
    assert active is not None and active.controls == {"topic": ControlVersion(1, 3, Estimate(**ACCURACY))}
    first = any_store.versions.get(5, 1)
    assert first is not None and first.controls == {"topic": ControlVersion(None, 3, None)}
    row = any_store.projects.require(5)
    assert row.monitor_results == {"topic": {"version": 1}}
    assert row.label_descriptions == {"topic": {"a": {"description": "é", "cues": []}}}
    assert row.feature_scores == {"topic": {"by": "hand"}}
    assert row.distillations["topic"]["number"] == 2 and row.distillations["topic"]["made_of"] == {"taught": 3}
    assert [stored.control for stored in any_store.evolution_rounds.rounds(5)] == ["topic"]


@pytest.mark.parametrize(
    ("label_config", "extra_params", "control"),
    [
        ("", {}, "label"),
        ("no markup", {}, "label"),
        (view(TEXT, choices("one"), choices("two")), {"choices": "two"}, "two"),
        (view(TEXT, choices("few"), choices("many", inner=CHOICE + '<Choice value="c"/>')), {}, "many"),
        (view(TEXT, choices("several", 'choice="multiple"'), choices("one")), {}, "one"),
        (view(TEXT, choices("hidden", HIDDEN), choices("one")), {}, "one"),
        (view(TEXT, f"<View {HIDDEN}>", choices("hidden"), "</View>", choices("b")), {}, "b"),
        (view(TEXT, choices("optional"), choices("must", 'required="true"')), {}, "must"),
        (view(TEXT, choices("span", 'perRegion="true"'), choices("whole")), {}, "whole"),
        (view('<Image name="i" value="$i"/>', choices("image", to="i"), TEXT, choices("t")), {}, "t"),
    ],
)
def test_the_control_that_was_learnt_is_found_in_the_configuration(
    any_store: Store, label_config: str, extra_params: dict[str, str], control: str
) -> None:
    migrate(any_store, "0017", down=True)
    insert(any_store, "project", project(5, label_config, **extra_params))
    insert(any_store, "annotation", annotation(1, 10, ["a"]))
    migrate(any_store, "head")
    [stored] = any_store.annotations.of(5)
    assert stored.labels == {control: Label(("a",))}


def test_a_store_that_is_taken_back_keeps_the_labels_and_drafts_of_the_learnt_control(any_store: Store) -> None:
    migrate(any_store, "0018", down=True)
    insert(any_store, "project", project(5, view(TEXT, choices("mood"), choices("topic")), choices="topic"))
    others = {key: value for key, value in annotation(1, 10, []).items() if key not in ("choices", "unread")}
    mood, topic = {"value": ["good"], "unread": ""}, {"value": ["a"], "unread": "partly"}
    insert(
        any_store,
        "annotation",
        {**others, "labels": {"mood": mood, "topic": topic}},
        {**others, "id": 2, "task": 11, "labels": {"mood": mood}},
    )
    drafts = {
        "mood": {"value": ["good"], "confidence": 0.9, "author": "teacher"},
        "topic": {"value": ["a"], "confidence": 0.5, "author": "learner"},
    }
    insert(
        any_store,
        "shown",
        {"project": 5, "version": "v1", "place": 0, "revision": 0, "task": 10, "drafts": drafts},
    )
    migrate(any_store, "0017", down=True)
    migrate(any_store, "head")
    assert [stored.labels for stored in any_store.annotations.of(5)] == [
        {"topic": Label(("a",), "partly")},
        {"topic": Label(())},
    ]
    assert any_store.published_drafts.of(5) == [PublishedDraft(10, "v1", 0, {"topic": Draft(("a",), 0.5, "learner")})]


def test_a_store_that_is_taken_back_keeps_what_people_wrote_for_the_learnt_control(any_store: Store) -> None:
    migrate(any_store, "0018", down=True)
    insert(any_store, "project", project(5, view(TEXT, choices("mood"), choices("topic")), choices="topic"))
    insert(any_store, "project", project(6, view(TEXT, choices("other"))))
    described = {"a": {"description": "é", "cues": []}}
    insert(
        any_store,
        "label_description",
        {"project": 5, "control": "mood", "descriptions": {}},
        {"project": 5, "control": "topic", "descriptions": described},
        {"project": 6, "control": "removed", "descriptions": described},
    )
    insert(any_store, "feature_score", {"project": 5, "control": "topic", "scores": {"by": "hand"}})
    confusion = {"project": 5, "teacher": "t", "labels": ["a", "b"], "multiple": False}
    insert(
        any_store,
        "confusion",
        {**confusion, "control": "mood", "matrix": bytes(32)},
        {**confusion, "control": "topic", "matrix": MATRIX},
    )
    migrate(any_store, "0017", down=True)
    with any_store.database.read() as connection:
        matrices = connection.execute(sa.text("SELECT project, matrix FROM confusion")).all()
    assert [(number, bytes(matrix)) for number, matrix in matrices] == [(5, MATRIX)]
    migrate(any_store, "head")
    row = any_store.projects.require(5)
    assert row.label_descriptions == {"topic": described}
    assert row.feature_scores == {"topic": {"by": "hand"}}
    assert any_store.projects.require(6).label_descriptions == {}
