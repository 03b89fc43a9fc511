"""Written texts end to end: a draft in the box, a refit after each annotation, and what became of the drafts."""

from __future__ import annotations

from pathlib import Path

import pytest
from prediction_validation import validation_errors
from running_backend import Backend, Project
from text_project import CONTROL, polite, source

from ml_backend.core.word_distance import closeness
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import create_project, import_tasks, submit_labels

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(580)]
CONFIG = Path("label_config_text.xml").read_text()
N_TASKS, N_ANNOTATED = 80, 30


def rewriting_project(client: LabelStudioClient) -> Project:
    project = Project(client, create_project(client, "Polite texts", CONFIG), read_schema(CONFIG), {})
    assert [*import_tasks(client, project.number, [{"text": source(row)} for row in range(N_TASKS)])] == [N_TASKS]
    return project


def test_a_text_is_drafted_in_the_label_stream_and_its_edits_are_counted(
    admin: LabelStudioClient, backend: Backend
) -> None:
    project = rewriting_project(admin)
    [control] = project.schema.controls
    backend.connect(project)
    backend.wait_for_queue(project)
    drafted: list[tuple[str, str]] = []
    for n in range(N_ANNOTATED):
        served = project.next()
        assert served is not None, "nothing is served"
        accepted = polite(served.text)
        drafted += [(text, accepted) for text in served.drafts.get(CONTROL, ())]
        submit_labels(admin, served.content, [(control, (accepted,))])
        version = backend.wait_for_queue(project, labelled=n + 1)
    assert len(drafted) >= N_ANNOTATED // 2, "tasks of the audit sample have no draft"
    assert sum(closeness(text, accepted) for text, accepted in drafted[-10:]) / 10 > 0.8
    results = [row["result"] for row in project.predictions(version.name)]
    assert sum(map(bool, results)) > 10
    assert all(not result or not validation_errors(CONFIG, result) for result in results)
    assert all(len(region["value"]["text"]) == 1 for result in results for region in result)
    status = backend.printed_status(project)
    assert (status["labelled"], status["last_error"], status["problem"]) == (N_ANNOTATED, None, None)
    counts = status["controls"][CONTROL]["teacher"]
    assert sum(counts["drafts"]["learner"].values()) == len(drafted)
    assert counts["changes"]["learner"]["kept"] > counts["changes"]["learner"]["added"]
    report = backend.cli("report", "--project", str(project.number)).stdout
    assert "closeness" in report and "words edited" in report


def test_connect_and_doctor_advise_an_attribute_without_which_drafts_cannot_be_edited(
    admin: LabelStudioClient, backend: Backend
) -> None:
    config = CONFIG.replace('editable="true"', "")
    project = Project(admin, create_project(admin, "Not editable", config), read_schema(config), {})
    project.add({source(0): "", source(1): ""})
    for command in ("connect", "doctor"):
        done = backend.cli(command, "--project", str(project.number))
        assert f"<TextArea name='{CONTROL}'>: add editable=\"true\"" in done.stdout.replace("\n", " "), done.stdout
    backend.connected.append(project.number)
