"""Labelling as a person does it: a browser, Label Studio's own screens, the draft that is already filled in.

With APPRENTICE_SCREENSHOTS=<folder> the screens are saved there as labelling.png and data-manager.png.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import (
    CHROMIUM,
    SCREENSHOTS,
    answer,
    browser_page,
    choice,
    drafted,
    open_data_manager,
    shown_text,
    start_labelling,
    submit_button,
)
from playwright.sync_api import Page, expect
from running_backend import Backend, Project, until
from schemas import chosen, only
from texts import LABELS, messages

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import LABEL_PATH_SEPARATOR
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


def drafts_of(project: Project, text: str) -> list[list[str]]:
    """Returns the drafts of all versions for this text. A task of the audit sample has an empty one."""
    (task,) = [task["id"] for task in project.tasks() if task["data"]["text"] == text]
    rows = project.client.call("GET", "api/predictions/", params={"task": task})
    return [region["value"]["choices"] for row in rows for region in row["result"]] + [[]]


def test_the_draft_is_filled_in_and_after_submitting_the_next_task_comes(
    label_studio: LocalLabelStudio, backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(40)
    backend.connect(project)
    backend.wait_for_queue(project)
    project.answer_next(6)
    texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
    with browser_page(label_studio) as page:
        with backend.held_queue(project, labelled=6) as version:
            head = project.predictions(version.name)[0]
            open_data_manager(page, label_studio, project)
            start_labelling(page)
            first = shown_text(page, project)
            assert first == texts[head["task"]]
            draft = [label for region in head["result"] for label in region["value"]["choices"]]
            assert drafted(page, project) == draft
        answer(page, project, first)
        second = shown_text(page, project, other_than=first)
        assert second != first
        assert drafted(page, project) in drafts_of(project, second)
        version = backend.wait_for_queue(project, labelled=7)
    (stored,) = [
        annotation for annotation in backend.store.annotations.of(project.number) if annotation.task == head["task"]
    ]
    assert chosen(stored) == (project.truth[first],)
    assert version.labelled == 7


BRANCHES = ("Home", "Leisure", "Work")


def tree_config(*, nested: bool) -> str:
    """Three branches whose choices have the same names."""
    leaves = '<Choice value="Questions"/><Choice value="Other"/>'
    branches = "".join(f'<Choice value="{branch}">{leaves}</Choice>' for branch in BRANCHES)
    return (
        '<View><Text name="text" value="$text"/><Choices name="topic" toName="text" choice="single" '
        f'allowNested="{str(nested).lower()}">{branches}</Choices></View>'
    )


def selected_paths(page: Page) -> list[list[str]]:
    """Returns the selected leaf choices, each with the names of the choices around it."""
    paths: list[list[str]] = page.evaluate(
        """() => [...document.querySelectorAll(".lsf-choice_leaf input:checked")].map(input => {
            const path = []
            for (let at = input.closest(".lsf-choice"); at; at = at.parentElement.closest(".lsf-choice"))
                path.unshift(at.querySelector("input").name)
            return path
        })"""
    )
    return paths


@pytest.mark.parametrize("nested", [True, False], ids=["allowNested", "uppermost choices alone"])
def test_a_draft_in_a_tree_of_choices_is_selected_in_its_branch(
    label_studio: LocalLabelStudio, admin: LabelStudioClient, make_backend: Callable[..., Backend], nested: bool
) -> None:
    backend = make_backend(defaults=ProjectSettings(audit_share=0.0))
    label_of = {
        label: LABEL_PATH_SEPARATOR.join([branch, "Other"][: 1 + nested])
        for label, branch in zip(LABELS[:3], BRANCHES, strict=True)
    }
    truth = {text: label_of[label] for text, label in messages(40, LABELS[:3]).items()}
    project = Project.create(admin, f"tree, nested: {nested}", tree_config(nested=nested), truth, {})
    backend.connect(project)
    backend.wait_for_queue(project)
    project.answer_next(6)
    with browser_page(label_studio) as page:
        with backend.held_queue(project, labelled=6) as version:
            drafts = {
                draft.task: only(draft.drafts).value
                for draft in backend.store.published_drafts.of(project.number, version.name)
                if draft.drafts
            }
            task = project.predictions(version.name)[0]["task"]
            (draft,) = drafts[task]
            open_data_manager(page, label_studio, project)
            start_labelling(page)
            shown_text(page, project)
            assert selected_paths(page) == [draft.split(LABEL_PATH_SEPARATOR)]
            expect(page.locator(".lsf-choice_leaf label:has(input:checked)")).to_be_visible()
            branch = choice(page, draft.split(LABEL_PATH_SEPARATOR)[0])
            assert branch.get_attribute("aria-checked") == ("mixed" if nested else None), "one of its choices"
        submit_button(page).click()
        backend.wait_for_queue(project, labelled=7)
    assert [
        chosen(annotation) for annotation in backend.store.annotations.of(project.number) if annotation.task == task
    ] == [(draft,)]


@pytest.mark.slow
@pytest.mark.timeout(580)
@pytest.mark.skipif(not SCREENSHOTS, reason="APPRENTICE_SCREENSHOTS names no folder")
def test_ten_tasks_are_labelled_by_hand_and_the_screens_are_saved(
    label_studio: LocalLabelStudio, backend: Backend, make_project: Callable[..., Project]
) -> None:
    folder = Path(str(SCREENSHOTS))
    folder.mkdir(parents=True, exist_ok=True)
    project = make_project(120, classes=6)
    project.client.change_project(project.number, title="Messages")
    backend.connect(project)
    backend.wait_for_queue(project)
    project.answer_next(12)
    backend.wait_for_queue(project, labelled=12)
    number = {task["data"]["text"]: task["id"] for task in project.tasks()}
    text, right, record = "", 0, []
    with browser_page(label_studio) as page:
        open_data_manager(page, label_studio, project)
        start_labelling(page)
        for done in range(10):
            text = shown_text(page, project, other_than=text)
            draft = drafted(page, project)
            right += draft == [project.truth[text]]
            blind = number[text] in backend.store.versions.audited(project.number)
            record.append(f"{text} {'audit' if blind else draft} answer: {project.truth[text]}")
            assert bool(draft) != blind, "only tasks of the audit sample come without a draft"
            if draft and done >= 5:
                expect(page.get_by_text("Annotation saved")).to_have_count(0)
                page.screenshot(path=folder / "labelling.png")
            answer(page, project, text)
            backend.wait_for_queue(project, labelled=13 + done)
        open_data_manager(page, label_studio, project)
        head = project.predictions(backend.active(project).name)[0]
        expect(page.get_by_text("Prediction score").last).to_be_visible()
        until(lambda: str(head["task"]) in page.locator("body").inner_text(), "the queue in the Data Manager")
        page.screenshot(path=folder / "data-manager.png")
    print("\n".join(record))  # noqa: T201 (for `pytest -s`)
    assert right >= 3, record
