"""Drafts of a control that the labelling screen hides: annotators submit no label that they were not shown."""

from __future__ import annotations

import pytest
from browser import CHROMIUM, browser_page, choice, submit_button
from playwright.sync_api import Page, expect
from running_backend import until

from ml_backend.core.types import Draft, Prediction, unknown_content
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import write_result
from ml_backend.label_studio.testing_client import create_project
from ml_backend.model.hidden_drafts import without_hidden

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

TOPIC = '<Choices name="topic" toName="text"><Choice value="Fruit"/><Choice value="Metal"/></Choices>'
KIND = '<Choices name="kind" toName="text"><Choice value="Apple"/><Choice value="Pear"/></Choices>'
STARS = '<Rating name="stars" toName="text"/>'
IF_FRUIT = '<View visibleWhen="choice-selected" whenTagName="topic" whenChoiceValue="Fruit">'
CONFIG = f'<View><Text name="text" value="$text"/>{TOPIC}{IF_FRUIT}{KIND}{STARS}</View></View>'
DRAFTS = {
    name: Draft((label,), 0.9, "learner") for name, label in (("topic", "Metal"), ("kind", "Apple"), ("stars", "4"))
}


def open_drafted_task(page: Page, server: LocalLabelStudio, client: LabelStudioClient, drafts: dict[str, Draft]) -> int:
    """Shows a task with these drafts on the labelling screen. Returns its id."""
    number = create_project(client, "hidden controls", CONFIG)
    result = write_result(Prediction(0, 0.5, drafts), read_schema(CONFIG), unknown_content(0))
    data = {"data": {"text": "a text"}, "predictions": [{"model_version": "v", "result": result}]}
    client.call("POST", f"api/projects/{number}/import", body=[data], timeout=120)
    client.change_project(number, model_version="v", show_collab_predictions=True)
    task = int(client.call("GET", "api/tasks", params={"project": number})["tasks"][0]["id"])
    page.goto(f"{server.url}/projects/{number}/data?task={task}")
    expect(choice(page, "Metal")).to_be_checked()
    expect(choice(page, "Apple")).to_be_hidden()
    expect(submit_button(page)).to_be_enabled()
    return task


def choose(page: Page, label: str) -> None:
    """Makes a choice on the screen, which ignores a click while it still loads."""

    def is_chosen() -> bool:
        if not choice(page, label).is_checked():
            choice(page, label).click(force=True)
            page.wait_for_timeout(300)
        return choice(page, label).is_checked()

    until(is_chosen, f"the choice of {label}")


def submitted(page: Page, client: LabelStudioClient, task: int) -> dict[str, object]:
    """Submits the task on the screen. Returns the values of its annotation by control."""
    submit_button(page).click()
    [annotation] = until(lambda: client.call("GET", f"api/tasks/{task}/annotations/"), "the annotation")
    return {region["from_name"]: region["value"] for region in annotation["result"]}


def test_the_drafts_of_hidden_controls_are_not_submitted(
    label_studio: LocalLabelStudio, admin: LabelStudioClient
) -> None:
    drafts = without_hidden(DRAFTS, read_schema(CONFIG))
    with browser_page(label_studio) as page:
        task = open_drafted_task(page, label_studio, admin, drafts)
        assert submitted(page, admin, task) == {"topic": {"choices": ["Metal"]}}

        task = open_drafted_task(page, label_studio, admin, drafts)
        choose(page, "Fruit")
        expect(choice(page, "Apple")).to_be_checked()
        assert submitted(page, admin, task) == {"topic": {"choices": ["Fruit"]}, "kind": {"choices": ["Apple"]}}

        task = open_drafted_task(page, label_studio, admin, DRAFTS)
        assert submitted(page, admin, task).keys() == {"topic", "stars"}, "the screen submits a hidden rating"
