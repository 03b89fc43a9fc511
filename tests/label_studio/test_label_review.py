"""Annotations that look wrong, as proposals in Label Studio."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio
from manual_clock import ManualClock
from projects import set_up
from schemas import labelled
from two_controls import LABEL, MOOD, TWO_CONTROLS

from ml_backend.core.exceptions import RequestRefusedError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Annotation, TaskContent, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.label_review import (
    EXPIRY_SECONDS,
    SECOND_LOOK_VERSION,
    delete_proposals,
    reviewable_tasks,
    update_proposals,
)
from ml_backend.storage import Store


class AnnotatedProject:
    """Project 5 with three annotated tasks, and the parts of Label Studio that a proposal changes."""

    def __init__(self, store: Store, server: FakeLabelStudio, schema: ProjectSchema) -> None:
        self.store, self.schema = store, schema
        self.client = FakeClient(server)
        self.calls: list[tuple[str, str]] = []
        self.rows: dict[int, dict[str, Any]] = {}
        self.client.call = self.call  # type: ignore[method-assign]
        set_up(store, 5, connection={"ml": 1})
        store.tasks.put(5, [TaskContent(task, "text", content_key("text")) for task in (1, 2, 3)])
        for task in (1, 2, 3):
            self.annotate(task, "a")

    def annotate(self, task: int, moment: str, *, number: int | None = None, ground_truth: bool = False) -> None:
        label = self.schema.controls[0].labels[0]
        annotation = Annotation(number or task, task, 1, labelled(label), ground_truth=ground_truth, updated_at=moment)
        self.store.annotations.put(5, [annotation])

    def call(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        self.calls.append((method, path))
        if path.startswith("api/dm/views"):
            return {"id": 77}
        if method == "POST":
            number = 100 + len(self.calls)
            self.rows[number] = body
            return {"id": number}
        if path.startswith("api/predictions/"):
            del self.rows[int(path.split("/")[2])]
        return {"deleted_predictions": 1}

    def suspect(self, *tasks: int) -> None:
        other = self.schema.controls[0].labels[1]
        errors = [{"task": task, "instead": [other], "confidence": 0.9} for task in tasks]
        set_up(self.store, 5, monitor_result={"second_look": errors})

    def propose(self, budget: int = 5) -> list[int]:
        self.calls.clear()
        update_proposals(self.client, self.store, self.schema, self.store.projects.ensure(5), budget)
        return sorted(row["task"] for row in self.rows.values())

    def reviewable(self) -> set[int]:
        return reviewable_tasks(self.store.reviews.reviewed(5), self.store.annotations.of(5))


@pytest.fixture
def project(store: Store, server: FakeLabelStudio, single: ProjectSchema) -> AnnotatedProject:
    return AnnotatedProject(store, server, single)


def test_each_suspected_error_gets_one_prediction_with_the_other_label_and_its_probability(
    project: AnnotatedProject,
) -> None:
    project.suspect(1, 3)
    assert project.propose() == [1, 3]
    row = next(iter(project.rows.values()))
    assert (row["model_version"], row["score"]) == (SECOND_LOOK_VERSION, 0.9)
    assert row["result"][0]["value"]["choices"] == [project.schema.controls[0].labels[1]]
    assert "meta" not in row["result"][0], "it would be copied into an annotation"


def test_nothing_is_written_when_nothing_has_changed(project: AnnotatedProject) -> None:
    project.suspect(1)
    project.propose()
    project.propose()
    assert project.calls == []


def test_the_tab_is_made_once_with_the_first_proposal(project: AnnotatedProject) -> None:
    project.propose()
    assert project.calls == []
    project.suspect(1)
    project.propose()
    assert ("POST", "api/dm/views/") in project.calls
    project.suspect(1, 2)
    project.propose()
    assert ("POST", "api/dm/views/") not in project.calls
    connection = project.store.projects.ensure(5).connection
    assert connection is not None and connection["second look"] == 77


def test_a_proposal_is_removed_when_its_error_is_no_longer_suspected(
    project: AnnotatedProject,
) -> None:
    project.suspect(1, 2)
    project.propose()
    project.suspect(2)
    assert project.propose() == [2]
    project.suspect(1, 2)
    assert project.propose() == [1, 2]


def test_an_annotation_that_was_changed_counts_as_reviewed_until_it_changes_again(project: AnnotatedProject) -> None:
    project.suspect(1)
    project.propose()
    project.annotate(1, "b")
    assert project.propose() == []
    assert 1 not in project.reviewable()
    assert project.propose() == []
    project.annotate(1, "c")
    assert 1 in project.reviewable()
    assert project.propose() == [1]


def test_a_proposal_without_a_change_expires(project: AnnotatedProject, clock: ManualClock) -> None:
    project.suspect(1)
    project.propose()
    clock.sleep(EXPIRY_SECONDS + 1)
    assert project.propose() == []
    assert 1 not in project.reviewable()


def test_ground_truth_and_tasks_with_several_annotations_or_none_are_never_proposed(project: AnnotatedProject) -> None:
    project.annotate(1, "b", ground_truth=True)
    project.annotate(2, "b", number=20)
    project.store.annotations.delete(5, [3])
    project.suspect(1, 2, 3)
    assert project.reviewable() == set()
    assert project.propose() == []


def test_a_second_annotation_ends_a_proposal(project: AnnotatedProject) -> None:
    project.suspect(1)
    project.propose()
    project.annotate(1, "b", number=20)
    assert project.propose() == []


def test_proposals_made_before_an_error_are_kept(project: AnnotatedProject) -> None:
    project.suspect(1, 2)
    call = project.call

    def second_fails(method: str, path: str, **more: Any) -> Any:
        if path == "api/predictions/" and project.rows:
            raise ConnectionError
        return call(method, path, **more)

    project.client.call = second_fails  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        project.propose()
    project.client.call = call  # type: ignore[method-assign]
    assert project.propose() == [1, 2]


def test_a_lower_number_of_proposals_applies_at_once(project: AnnotatedProject) -> None:
    project.suspect(1, 2)
    project.propose()
    assert project.propose(budget=1) == [1]
    assert project.propose(budget=0) == []


def test_a_proposal_that_label_studio_refuses_is_not_tried_again_for_this_annotation(project: AnnotatedProject) -> None:
    project.suspect(1)
    call = project.call

    def refuse(method: str, path: str, **more: Any) -> Any:
        if path == "api/predictions/":
            raise RequestRefusedError("no such task")
        return call(method, path, **more)

    project.client.call = refuse  # type: ignore[method-assign]
    assert project.propose() == []
    project.client.call = call  # type: ignore[method-assign]
    assert project.propose() == []
    project.annotate(1, "b")
    assert project.propose() == [1]


def test_deleting_proposals_removes_the_version(project: AnnotatedProject) -> None:
    delete_proposals(project.client, 5)
    assert project.calls == [("DELETE", "api/projects/5/model-versions/")]


def test_errors_in_two_controls_are_proposed_together_if_they_are_in_one_annotation(
    store: Store, server: FakeLabelStudio
) -> None:
    project = AnnotatedProject(store, server, read_schema(TWO_CONTROLS))
    errors = {
        LABEL: [{"task": 1, "instead": ["metal"], "confidence": 0.9}],
        MOOD: [{"task": task, "instead": ["wild"], "confidence": 0.8} for task in (1, 2)],
    }
    for control, second_look in errors.items():
        store.monitor.put(5, control, {"second_look": second_look})
    assert project.propose() == [1, 2]
    proposed = {
        row["task"]: (row["score"], {region["from_name"]: region["value"]["choices"] for region in row["result"]})
        for row in project.rows.values()
    }
    assert proposed == {1: (0.8, {LABEL: ["metal"], MOOD: ["wild"]}), 2: (0.8, {MOOD: ["wild"]})}
    store.monitor.put(5, MOOD, {"second_look": []})
    assert project.propose() == [1]


def test_a_proposal_is_replaced_when_its_annotation_looks_wrong_in_another_control_too(
    store: Store, server: FakeLabelStudio
) -> None:
    project = AnnotatedProject(store, server, read_schema(TWO_CONTROLS))

    def proposed_controls() -> list[list[str]]:
        assert project.propose() == [1]
        return [[region["from_name"] for region in row["result"]] for row in project.rows.values()]

    def suspect(control: str, *tasks: int) -> None:
        instead = {LABEL: "metal", MOOD: "wild"}[control]
        errors = [{"task": task, "instead": [instead], "confidence": 0.9} for task in tasks]
        store.monitor.put(5, control, {"second_look": errors})

    suspect(LABEL, 1)
    assert proposed_controls() == [[LABEL]]
    suspect(MOOD, 1)
    assert proposed_controls() == [[LABEL, MOOD]]
    assert 1 in project.reviewable(), "nobody has reviewed it"
    assert proposed_controls() == [[LABEL, MOOD]] and project.calls == []
    suspect(LABEL)
    assert proposed_controls() == [[MOOD]]


def test_a_proposal_of_an_earlier_release_is_replaced_or_removed(project: AnnotatedProject) -> None:
    project.suspect(1, 2)
    project.propose()
    for proposal in project.store.reviews.proposals(5).values():
        project.store.reviews.propose(5, replace(proposal, controls=()))
    project.suspect(1)
    assert project.propose() == [1]
    assert project.store.reviews.proposals(5)[1].controls == (project.schema.controls[0].name,)
