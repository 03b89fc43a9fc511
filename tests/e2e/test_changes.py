"""Changes during a project: labels, and the learner that serves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from running_backend import Backend, Project, label_config, until
from texts import LABELS, messages

from ml_backend.core.exceptions import LabelStudioError
from ml_backend.rendering.status_text import status_lines

pytestmark = pytest.mark.e2e


def drafted(project: Project, version: str) -> dict[int, str]:
    """Returns the drafts of the queue by task."""
    rows = project.predictions(version)
    return {row["task"]: row["result"][0]["value"]["choices"][0] for row in rows if row["result"]}


def test_a_label_may_be_added_and_removed_under_way(backend: Backend, make_project: Callable[..., Project]) -> None:
    project = make_project(40, classes=3)
    project.add(messages(10, LABELS[3:4]))  # texts that only the new label will fit
    backend.connect(project)
    backend.wait_for_queue(project)
    texts = {task["data"]["text"]: task["id"] for task in project.tasks()}
    by_label = {label: [texts[text] for text, its in project.truth.items() if its == label] for label in LABELS[:4]}
    for label in LABELS[:2]:
        for task in by_label[label][:3]:
            project.answer(task, label)
    backend.wait_for_queue(project, labelled=6)

    version_before = backend.change_config(project, label_config(LABELS[:4]))
    until(lambda: backend.active(project).number > version_before.number, "a round for the new labels")
    for task in by_label[LABELS[3]][:3]:
        project.answer(task, LABELS[3])
    version = backend.wait_for_queue(project, labelled=9)
    drafts = drafted(project, version.name)
    fitting = [drafts[task] for task in by_label[LABELS[3]] if task in drafts]
    assert fitting and fitting.count(LABELS[3]) > len(fitting) / 2
    assert backend.status(project).last_error is None

    backend.change_config(project, label_config((LABELS[0], LABELS[1], LABELS[3])))  # nobody has used the third
    until(
        lambda: set(drafted(project, backend.active(project).name).values()) <= {LABELS[0], LABELS[1], LABELS[3]},
        "a queue without the unused label",
    )
    backend.wait_for_queue(project, labelled=9)

    backend.change_config(project, label_config((LABELS[1], LABELS[3])))  # three answers have no meaning any more
    until(lambda: backend.active(project).labelled == 6, "a round without the used label")
    version = backend.wait_for_queue(project, labelled=6)
    assert set(drafted(project, version.name).values()) <= {LABELS[1], LABELS[3]}
    project.answer(by_label[LABELS[1]][4], LABELS[1])
    backend.wait_for_queue(project, labelled=7)
    assert backend.status(project).last_error is None


def test_a_renamed_label_and_a_configuration_that_is_not_served_are_told(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(30)
    backend.connect(project)
    backend.wait_for_queue(project)
    backend.change_config(project, label_config((*LABELS[:2], "Informatics")))
    project.truth = {text: "Informatics" if its == LABELS[2] else its for text, its in project.truth.items()}
    project.answer_next(6)
    version = backend.wait_for_queue(project, labelled=6)
    assert backend.status(project).problem is None

    old_config = project.seen()["label_config"]
    number = '<View><Text name="text" value="$text"/><Number name="topic" toName="text"/></View>'
    try:
        with backend.held_queue(project):  # see `Backend.change_config`
            project.client.change_project(project.number, label_config=number)
    except LabelStudioError:
        return  # refused because of the answers that are there: nothing to tell
    until(
        lambda: "Choices" in dict(status_lines(backend.status(project))).get("problem", ""),
        "the status to say what is wrong",
    )
    assert (
        backend.printed_status(project)["last_error"] is None
        or "Choices" in backend.printed_status(project)["last_error"]
    )
    assert backend.published(project) == version.name
    project.client.change_project(project.number, label_config=old_config)
    until(lambda: backend.status(project).problem is None, "the problem to be gone")
    backend.wait_for_queue(project, labelled=6)


def test_a_rollback_serves_the_earlier_learner_until_it_is_released(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(60)
    number = str(project.number)
    backend.connect(project)
    backend.wait_for_queue(project)
    for done in (5, 10):
        project.answer_next(5)
        latest = backend.wait_for_queue(project, labelled=done)
    first = backend.store.versions.learners(project.number)[-1]
    assert latest.learner is not None and first < latest.learner

    command = backend.cli("rollback", "--project", number, "--to", str(first))
    assert command.returncode == 0 and "is held until" in command.stdout, command.stderr
    until(lambda: backend.active(project).learner == first, "the earlier learner")
    held = backend.wait_for_queue(project)
    assert held.number > latest.number and project.seen()["model_version"] == held.name
    served = project.next()
    assert served is not None and served.version == held.name
    table = backend.cli("versions", "--project", number).stdout
    (line,) = [line for line in table.splitlines() if held.name in line]
    assert "active" in line and f"of {first}" in line
    assert backend.printed_status(project)["held"]

    project.answer_next(3)
    still = backend.wait_for_queue(project, labelled=13)
    assert still.learner == first and still.number > held.number

    assert backend.cli("rollback", "--project", number, "--to", "latest").returncode == 0
    until(lambda: backend.active(project).learner not in (None, first), "the newest learner")
    released = backend.wait_for_queue(project, labelled=13)
    assert released.learner is not None and released.learner > held.number, "a fit that knows the answers since then"
    assert not backend.printed_status(project)["held"]

    command = backend.cli("rollback", "--project", number, "--to", "no-such-version")
    assert command.returncode == 1 and "no learner" in command.stderr
