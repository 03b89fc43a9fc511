"""A person edits a drafted text on the labelling screen, and submits it.

With APPRENTICE_SCREENSHOTS=<folder> the screen is saved there before and after, as text-draft.png and text-edited.png.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import CHROMIUM, browser_page, save_screenshot, submit_button
from playwright.sync_api import Page, expect
from running_backend import Backend, Project, until

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.word_distance import word_edits
from ml_backend.demo.rewrites import CONTROL, load_rewrites
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import create_project, import_tasks, submit_labels

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]
N_TASKS, N_ANNOTATED = 120, 40


@pytest.mark.timeout(580)
def test_a_drafted_text_is_edited_on_the_screen_and_counted_in_the_status(
    label_studio: LocalLabelStudio, admin: LabelStudioClient, make_backend: Callable[..., Backend]
) -> None:
    pool = load_rewrites()[0][:N_TASKS]
    backend, project = make_backend(defaults=ProjectSettings(audit_share=0.0)), rewriting_project(admin)
    assert [*import_tasks(admin, project.number, [task.data for task in pool])] == [N_TASKS]
    accepted_of = {task.text: str(task.values[CONTROL][0]) for task in pool}
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(N_ANNOTATED):
        served = project.next()
        assert served is not None, "nothing is served"
        submit_labels(admin, served.content, [(project.schema.controls[0], (accepted_of[served.text],))])
    backend.wait_for_queue(project, labelled=N_ANNOTATED)
    with backend.held_queue(project, labelled=N_ANNOTATED) as version:
        texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
        drafts = {
            row["task"]: row["result"][0]["value"]["text"][0]
            for row in project.predictions(version.name)
            if row["result"]
        }
        edits = {task: word_edits(draft, accepted_of[texts[task]]) for task, draft in drafts.items()}
        task = min(
            (task for task, draft in drafts.items() if edits[task] and draft != texts[task]),
            key=lambda task: (edits[task], task),
        )
        accepted = accepted_of[texts[task]]
        with browser_page(label_studio) as page:
            page.goto(f"{label_studio.url}/projects/{project.number}/data?task={task}")
            until(lambda: drafts[task] in page.locator("body").inner_text(), "the draft on the screen")
            save_screenshot(page, "text-draft.png")
            rewrite(page, drafts[task], accepted)
            save_screenshot(page, "text-edited.png")
            expect(submit_button(page)).to_be_enabled()
            submit_button(page).click()
            [annotation] = until(lambda: admin.call("GET", f"api/tasks/{task}/annotations/"), "the annotation")
    [region] = annotation["result"]
    assert (region["from_name"], region["value"]["text"]) == (CONTROL, [accepted])
    assert region["origin"] == "prediction-changed"
    backend.wait_for_queue(project, labelled=N_ANNOTATED + 1)
    counts = backend.printed_status(project)["controls"][CONTROL]["teacher"]
    assert sum(counts["drafts"]["learner"].values()) >= 1 and counts["changes"]["learner"]["kept"] >= 1


def rewriting_project(client: LabelStudioClient) -> Project:
    config = Path("label_config_text.xml").read_text()
    number = create_project(client, "Official English in plain language", config)
    return Project(client, number, read_schema(config), {})


def rewrite(page: Page, draft: str, text: str) -> None:
    """Opens the text in the box for editing, and replaces it."""
    page.get_by_label("Edit Region").first.click()
    page.locator("textarea").filter(has_text=draft).first.fill(text)
    page.get_by_text("Say the same in plain language.").click()  # the box keeps its text when it loses the focus
    until(lambda: text in page.locator("body").inner_text(), "the edited text on the screen")
