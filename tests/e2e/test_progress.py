"""Status reports the differences between the counts of Label Studio and the labels that are used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from running_backend import Backend, Project, label_config, until
from schemas import only
from texts import LABELS

pytestmark = pytest.mark.e2e


def command_output(backend: Backend, project: Project, command: str) -> str:
    done = backend.cli(command, "--project", str(project.number))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_answers_that_are_not_understood_and_skipped_tasks_are_counted_as_label_studio_does(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(14)
    backend.connect(project)
    backend.wait_for_queue(project)
    for n in range(14):
        served = project.next()
        assert served is not None
        if n < 4:
            project.skip(served.task)
        elif n < 7:
            body = {"result": [{**project.region(LABELS[0]), "from_name": "sentiment"}], "lead_time": 1.0}
            project.client.call("POST", f"api/tasks/{served.task}/annotations/", body=body)
        else:
            project.answer_rightly(served)
    assert project.next() is None, "Label Studio has nothing left to serve"
    until(lambda: backend.active(project).labelled == 7, "a version that knows all answers")

    def skipped() -> int:
        coverage = only(backend.status(project).controls).coverage
        assert coverage is not None
        return coverage.skipped

    until(lambda: skipped() == 4, "the skips")
    status, doctor = command_output(backend, project, "status"), command_output(backend, project, "doctor")
    assert "7, 4 skipped (waiting for another annotator), 3 annotated but not used, 0 to go" in status
    for output in (status, doctor):
        assert "3 annotations are not used: they belong to no control of the configuration" in " ".join(output.split())


def test_a_label_that_is_removed_is_gone_from_the_drafts_long_before_the_next_reconcile(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(reconcile_seconds=600), make_project(30)
    backend.connect(project)
    version_before = backend.change_config(project, label_config(LABELS[:2]))
    version = until(
        lambda: (now := backend.active(project)).number > version_before.number and now, "a round", seconds=60
    )
    rows = until(lambda: project.predictions(version.name), "its queue")
    drafted = {label for row in rows for region in row["result"] for label in region["value"]["choices"]}
    assert drafted and drafted <= {*LABELS[:2]}
