"""The monitor on a real server: status, label review, another query strategy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from running_backend import Backend, Project, until
from schemas import only

from ml_backend.label_studio.label_review import SECOND_LOOK_VERSION
from ml_backend.label_studio.setup import BASIC_AUTH_USER

pytestmark = pytest.mark.e2e


def set_params(backend: Backend, project: Project, **params: Any) -> None:
    """As Label Studio's form sends them: extra parameters of the project's ML backend connection, as text."""
    (connection,) = project.ml_backends()
    changed = {
        "project": project.number,
        "url": connection["url"],
        "title": connection["title"],
        "extra_params": json.dumps(params),
    }
    changed |= {"auth_method": "BASIC_AUTH", "basic_auth_user": BASIC_AUTH_USER, "basic_auth_pass": backend.secret}
    project.client.call("PATCH", f"api/ml/{connection['id']}", body=changed)


def test_an_answer_that_looks_wrong_stands_in_a_tab_of_its_own_until_it_is_mended(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(90)
    texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
    numbers = list(texts)
    for task in numbers[:45]:
        right = project.truth[texts[task]]
        wrong = next(label for label in project.schema.controls[0].labels if label != right)
        annotation = project.answer(task, wrong if task == numbers[20] else right)
        if task == numbers[20]:
            mistaken = annotation
    backend.connect(project)
    set_params(backend, project, second_look=3)
    proposed = lambda: [row for row in project.predictions(SECOND_LOOK_VERSION) if row["task"] == numbers[20]]  # noqa: E731
    (row,) = until(proposed, "a proposal")
    assert row["result"][0]["value"]["choices"]
    (tab,) = [tab for tab in project.tabs() if tab["data"].get("title") == SECOND_LOOK_VERSION]
    view = {"project": project.number, "view": tab["id"]}

    def listed() -> set[int]:
        return {task["id"] for task in project.client.call("GET", "api/tasks", params=view)["tasks"]}

    def rows() -> set[int]:
        return {row["task"] for row in project.predictions(SECOND_LOOK_VERSION)}

    until(lambda: listed() == rows(), "the tab of all proposals")  # more of them may be on their way
    assert "annotations look wrong" in backend.cli("status", "--project", str(project.number)).stdout

    region = project.region(project.truth[texts[numbers[20]]])
    project.client.call("PATCH", f"api/annotations/{mistaken}/", body={"result": [region]})
    until(lambda: numbers[20] not in {row["task"] for row in project.predictions(SECOND_LOOK_VERSION)}, "its end")

    assert backend.cli("disconnect", "--project", str(project.number)).returncode == 0
    assert not project.predictions(SECOND_LOOK_VERSION)
    assert not [tab for tab in project.tabs() if tab["data"].get("title") == SECOND_LOOK_VERSION]


def test_status_tells_groups_comparison_and_stopping(backend: Backend, make_project: Callable[..., Project]) -> None:
    project = make_project(90)
    backend.connect(project)
    backend.wait_for_queue(project)
    project.answer_next(15)
    backend.wait_for_queue(project, labelled=15)

    def monitored() -> dict[str, Any] | None:
        result = only(backend.printed_status(project)["controls"])["monitor"]
        return result if result and result["labelled"] >= 15 else None

    report = until(monitored, "a look at all answers")
    assert report["groups"]["by"] == "cluster" and report["groups"]["accuracy"]
    assert report["comparison"]["verdict"] == "not enough evidence"
    assert report["stopping"]["verdict"] == "too early"


@pytest.mark.parametrize("strategy", ["margin", "badge", "random"])
def test_a_project_changes_its_strategy_at_the_next_round(
    backend: Backend, make_project: Callable[..., Project], strategy: str
) -> None:
    project = make_project(60)
    backend.connect(project)
    backend.wait_for_queue(project)
    project.answer_next(6)
    version_before = backend.wait_for_queue(project, labelled=6)
    set_params(backend, project, acquisition=strategy)
    version_after = until(
        lambda: (version := backend.follows(project, 6)) and version.name != version_before.name and version,
        "another queue",
    )
    grounds = [region["meta"]["text"][0] for row in project.predictions(version_after.name) for region in row["result"]]
    expected = {"margin": "uncertainty", "badge": "unlike the others chosen", "random": "drawn at random"}[strategy]
    assert grounds and all(expected in ground for ground in grounds)
