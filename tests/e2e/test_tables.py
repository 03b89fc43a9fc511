"""Table tasks end to end: a real Label Studio, a backend, drafts with reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browser import CHROMIUM, SCREENSHOTS, browser_page, drafted, open_data_manager, start_labelling, submit_button
from patient_records import SCORES, TABLE, draw_patient
from playwright.sync_api import expect
from projects import set_up
from running_backend import Backend, Project, until
from schemas import only

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import record_text
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.demo.table import CONTROL, expert_features, load_records
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_text
from ml_backend.label_studio.testing_client import create_project

pytestmark = pytest.mark.e2e


@pytest.fixture
def clinic(admin: LabelStudioClient) -> Project:
    random = np.random.default_rng(0)
    truth = {record_text(record): label for record, label in (draw_patient(random) for _ in range(80))}
    return Project.create(admin, "clinic", TABLE, truth, {})


def draft_reasons(backend: Backend, project: Project) -> list[str]:
    """Returns the reasons of the drafts in the queue."""
    rows = project.predictions(backend.active(project).name)
    return [row["result"][0]["meta"]["text"][0] for row in rows if row["result"]]


def gives_reasons(backend: Backend, project: Project, field: str) -> bool:
    """Whether more than five drafts in the queue are explained by a field."""
    reasons = draft_reasons(backend, project)
    return sum("draft because of " in reason and f"{field} " in reason for reason in reasons) > 5


def test_records_are_labelled_learnt_and_drafted_with_reasons(
    backend: Backend, clinic: Project, tmp_path: Path
) -> None:
    backend.connect(clinic)
    backend.wait_for_queue(clinic)
    assert draft_reasons(backend, clinic) == [], "nobody knows anything yet"
    file = tmp_path / "features.json"
    file.write_text(json.dumps({"scores": SCORES}))
    done = backend.cli("features", "--project", str(clinic.number), "--file", str(file))
    assert done.returncode == 0 and "Kept: 1 of 2 labels have scores" in done.stdout, done.stderr
    clinic.answer_next(10)
    backend.wait_for_queue(clinic, labelled=10)
    trust = lambda: only(backend.printed_status(clinic)["controls"])["teacher"].get("trust")  # noqa: E731
    assert until(trust, "what the answers say of the scores") > 0.5
    # some drafts of the version that is being published are not there yet
    until(lambda: gives_reasons(backend, clinic, "age"), "drafts with reasons")
    clinic.truth[""] = "no"
    body: dict[str, Any] = {"record": {"age": 89, "smoker": "yes", "city": "Bergen", "noise": 0}}
    clinic.client.call("POST", f"api/projects/{clinic.number}/import", body=[body, {"record": "none"}, {"record": []}])
    clinic.truth[record_text(body["record"])] = "yes"
    done = backend.cli("doctor", "--project", str(clinic.number))
    assert "one choice out of 2 over $record" in done.stdout
    clinic.answer_next(2)
    version = backend.wait_for_queue(clinic, labelled=12)
    assert version.learner is not None  # which of the latest fits that is, the gate decides


CARD = (
    '<View><Text name="who" value="Age: $age, from $city, smoker: $smoker"/><HyperText name="note" value="$note"/>'
    '<Choices name="label" toName="who"><Choice value="no"/><Choice value="yes"/></Choices></View>'
)


def test_a_csv_file_shown_by_texts_is_a_project_of_records(
    backend: Backend, admin: LabelStudioClient, label_studio: LocalLabelStudio
) -> None:
    random, lines, schema = np.random.default_rng(1), ["age,city,smoker,note"], read_schema(CARD)
    for number in range(80):
        record, label = draw_patient(random)
        note = f"{'cough and fever' if label == 'yes' else 'all is well today'} in the file of patient {number}"
        lines.append(f"{record['age']},{record['city']},{record['smoker']},<p>{note}</p>")
    project = Project(admin, create_project(admin, "from CSV", CARD), schema, {})
    files = {"file": ("people.csv", "\n".join(lines).encode())}
    address = f"{label_studio.url}/api/projects/{project.number}/import"
    done = httpx.post(address, files=files, headers={"Authorization": f"Token {label_studio.token}"}, timeout=60)
    assert done.status_code == 201, done.text[:500]
    for task in project.tasks():
        text = read_text(task, schema.input)
        project.truth[text] = "yes" if "cough" in text else "no"
    assert len(project.truth) == 80 and not any("<p>" in text for text in project.truth)
    backend.connect(project)
    backend.wait_for_queue(project)
    project.answer_next(12)
    backend.wait_for_queue(project, labelled=12)
    command = backend.cli("features", "--project", str(project.number))
    kinds = ("age  numeric", "city  categorical", "smoker  boolean", "note  text")
    assert all(kind in command.stdout for kind in kinds), command.stdout
    assert "one choice out of 2 over $age, $city, $smoker, $note" in backend.cli("doctor").stdout
    until(lambda: gives_reasons(backend, project, "note"), "drafts with reasons")
    rows = project.predictions(backend.active(project).name)
    assert {region["to_name"] for row in rows for region in row["result"]} == {"who"}


@pytest.mark.slow
@pytest.mark.timeout(580)
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.skipif(not SCREENSHOTS, reason="APPRENTICE_SCREENSHOTS names no folder")
def test_a_record_with_its_draft_and_the_reasons_are_on_the_screen(
    label_studio: LocalLabelStudio, admin: LabelStudioClient, make_backend: Callable[..., Backend]
) -> None:
    backend, (pool, _) = make_backend(defaults=ProjectSettings(audit_share=0.0)), load_records()
    truth = {record.text: record.values[CONTROL][0] for record in pool[:200]}
    config = Path("label_config_table.xml").read_text()
    project = Project.create(admin, "Tumours", config, truth, {})
    backend.connect(project)
    features = expert_features()
    set_up(backend.store, project.number, field_overrides=features.fields, feature_scores=features.scores)
    backend.wait_for_queue(project)
    project.answer_next(20)
    backend.wait_for_queue(project, labelled=20)
    folder = Path(str(SCREENSHOTS))
    folder.mkdir(parents=True, exist_ok=True)
    with browser_page(label_studio) as page:
        page.set_viewport_size({"width": 1200, "height": 900})
        open_data_manager(page, label_studio, project)
        start_labelling(page)
        expect(page.get_by_text("concave points").first).to_be_visible()
        until(lambda: submit_button(page).is_enabled() and drafted(page, project), "a draft that is filled in")
        page.screenshot(path=folder / "table-draft.png")
        page.set_viewport_size({"width": 1800, "height": 700})
        page.goto(f"{label_studio.url}/projects/{project.number}/data")
        expect(page.get_by_text("Prediction score").last).to_be_visible()
        page.screenshot(path=folder / "table-reasons.png")
    assert any("draft because of " in reason for reason in draft_reasons(backend, project))
