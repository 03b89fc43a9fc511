"""Drafts of spans on the labelling screen: they are at the right characters, can be edited, and are submitted as they
are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from browser import CHROMIUM, browser_page, submit_button
from playwright.sync_api import Page, expect
from prediction_validation import validation_errors
from running_backend import until
from span_tasks import OBJECT_TAGS, displayed_content, span_control

from ml_backend.core.types import Label
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.kinds.spans.displayed import control_text
from ml_backend.kinds.spans.marked_text import without_blanks
from ml_backend.kinds.spans.regions import read_label, write_regions
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.testing_client import create_project

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

TEXT = "  Hi 😀 é e\u0301 x\r\nשלם 東京 ไทย  two\nend <b>no</b> &amp; 👩\u200d👧 last "
HTML = (
    "<!DOCTYPE html><head><title>no</title></head>\n  <p>Hi 😀 <b>bo<i>l</i>d</b> &amp; e\u0301</p>\n<!-- c -->x<br>y"
    "<table>\n<tr><td>cell 1<td>ไทย</table><script>no()</script><style>p{}</style>tail  two\r\n"
    "<ul><li>שלם<li>東京</ul>end"
)
MOVED = "<p>Hi 😀 <span><div>moved <b>x</b></div>there</span> and <i>here</i></p> end"
DIALOGUE = [
    {"author": "Ann", "text": "  Hi 😀 there\r\n  you"},
    {"author": "Bob", "text": "東京 e\u0301 <b>x</b> &amp;"},
    {"author": "Ann", "text": "שלם last"},
]
CASES = {
    "Text": ("Labels", TEXT, ()),
    "HyperText": ("HyperTextLabels", HTML, ()),
    "HyperText within the screen": ("HyperTextLabels", HTML, (("inline", "true"),)),
    "HyperText without known paths": ("HyperTextLabels", MOVED, ()),
    "Paragraphs": ("ParagraphLabels", DIALOGUE, ()),
}
REGIONS = (
    "() => window.Htx?.annotationStore?.selected?.regions?.map("
    "region => (region._spans ?? []).map(span => span.textContent).join(''))"
)


@pytest.mark.parametrize("case", [*CASES])
def test_drafts_are_at_their_characters_and_are_submitted_as_they_are(
    label_studio: LocalLabelStudio, admin: LabelStudioClient, case: str
) -> None:
    tag, displayed, attributes = CASES[case]
    control, content = span_control(tag, attributes=attributes), displayed_content(displayed)
    text = control_text(content, control)
    words = [(*word.span(), "A") for word in re.finditer(r"[^\s:]+", text)]
    value = tuple(span for span in words if write_regions((span,), control, content))
    assert len(value) >= 8
    regions = write_regions(value, control, content)

    task = imported_task(admin, control, displayed, regions)
    with browser_page(label_studio) as page:
        page.goto(f"{label_studio.url}/projects/{task['project']}/data?task={task['id']}")
        expected = [without_blanks(text[start:end]) for start, end, _ in value]
        until(lambda: highlighted(page) == expected, f"highlights of {expected}")
        change_first_label(page, expected[0])
        expect(submit_button(page)).to_be_enabled()
        submit_button(page).click()
        [annotation] = until(lambda: admin.call("GET", f"api/tasks/{task['id']}/annotations/"), "the annotation")

    (start, end, _), *others = value
    assert read_label(annotation["result"], control, content) == Label(((start, end, "B"), *others))
    if case != "HyperText without known paths":  # Label Studio adds them
        assert [place(region) for region in annotation["result"]] == [place(region) for region in regions]
    assert {region["score"] for region in annotation["result"]} == {0.5}


def imported_task(client: LabelStudioClient, control: SpansSchema, displayed: Any, regions: Any) -> dict[str, Any]:
    """Imports a task with a prediction, as the publisher does. Returns it."""
    assert control.object_tag
    attributes = "".join(f' {name}="{attribute}"' for name, attribute in control.object_tag.attributes)
    config = (
        f'<View><{OBJECT_TAGS[control.tag]} name="shown" value="$data"{attributes}/><{control.tag} name="spans" '
        f'toName="shown"><Label value="A"/><Label value="B"/></{control.tag}></View>'
    )
    result = [
        {"id": f"draft-{number}", "from_name": "spans", "to_name": "shown", "score": 0.5, **region}
        for number, region in enumerate(regions)
    ]
    assert validation_errors(config, result) == []
    project = create_project(client, "span regions", config)
    client.call("POST", f"api/projects/{project}/import", body=[{"data": {"data": displayed}}], timeout=120)
    task: dict[str, Any] = client.call("GET", "api/tasks", params={"project": project})["tasks"][0]
    row = {"task": task["id"], "result": result, "score": 0.5, "model_version": "v"}
    imported = client.call("POST", f"api/projects/{project}/import/predictions", body=[row])
    assert imported["created"] == 1
    client.change_project(project, model_version="v", show_collab_predictions=True)
    return task


def highlighted(page: Page) -> list[str]:
    return [without_blanks(text) for text in page.evaluate(REGIONS) or []]


def change_first_label(page: Page, marked: str) -> None:
    """Selects the first region in its text, and chooses the other label."""
    in_frame = page.locator("iframe.lsf-htx-richtext").count() > 0
    scope = page.frame_locator("iframe.lsf-htx-richtext") if in_frame else page
    scope.locator(".htx-highlight").first.click()
    until(lambda: page.evaluate("() => window.Htx.annotationStore.selected.selectedRegions.length") == 1, "a selection")
    page.keyboard.press("2")
    label = "() => window.Htx.annotationStore.selected.regions[0].labeling.selectedLabels.map(label => label.value)"
    until(lambda: page.evaluate(label) == ["B"], f"the label B of {marked}")


def place(region: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in region["value"].items() if name != "text" and not name.endswith("labels")}
