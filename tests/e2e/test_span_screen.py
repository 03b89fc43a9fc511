"""A person corrects drafted spans on the labelling screen, and submits them.

With APPRENTICE_SCREENSHOTS=<folder> the screen is saved there before and after, as spans-draft.png and
spans-edited.png.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, browser_page, save_screenshot, submit_button
from playwright.sync_api import Page, expect
from running_backend import Backend, Project, until

from ml_backend.core.settings import ProjectSettings
from ml_backend.demo.sentences import CONTROL, load_sentences
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.demo.texts import DemoTask
from ml_backend.kinds.spans.values import Span
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import create_project, import_tasks, submit_labels

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]
N_TASKS, N_ANNOTATED = 150, 30
REGIONS = "() => window.Htx?.annotationStore?.selected?.regions?.length"


@pytest.mark.timeout(580)
def test_drafted_spans_are_corrected_on_the_screen_and_counted_in_the_status(
    label_studio: LocalLabelStudio,
    admin: LabelStudioClient,
    make_backend: Callable[..., Backend],
    request: pytest.FixtureRequest,
) -> None:
    pool, _ = load_sentences(Path(request.config.cache.mkdir("apprentice-sentences")))
    backend, project = make_backend(defaults=ProjectSettings(audit_share=0.0)), sentences_project(admin, pool)
    spans_of = {task.text: task.values[CONTROL] for task in pool}
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(N_ANNOTATED):
        served = project.next()
        assert served is not None, "nothing is served"
        submit_labels(project.client, served.content, [(project.schema.controls[0], spans_of[served.text])])
    backend.wait_for_queue(project, labelled=N_ANNOTATED)
    with backend.held_queue(project, labelled=N_ANNOTATED) as version:
        texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
        rows = [(row["task"], spans_in(row)) for row in project.predictions(version.name)]
        task, drafted = max(
            ((task, spans) for task, spans in rows if {*spans} != {*spans_of[texts[task]]}),
            key=lambda row: len({*row[1]} & {*spans_of[texts[row[0]]]}),
        )
        annotated = sorted(spans_of[texts[task]])
        kept = {*drafted} & {*annotated}
        assert kept, "no draft has a right span and a wrong or a missed one"
        with browser_page(label_studio) as page:
            page.goto(f"{label_studio.url}/projects/{project.number}/data?task={task}")
            until(lambda: page.evaluate(REGIONS) == len(drafted), f"{len(drafted)} regions")
            save_screenshot(page, "spans-draft.png")
            for number in reversed(range(len(drafted))):
                if drafted[number] not in kept:
                    remove_region(page, number)
            for span in annotated:
                if span not in kept:
                    mark(page, span, project.schema.controls[0].labels)
            until(lambda: page.evaluate(REGIONS) == len(annotated), f"{len(annotated)} regions")
            save_screenshot(page, "spans-edited.png")
            expect(submit_button(page)).to_be_enabled()
            submit_button(page).click()
            [annotation] = until(lambda: admin.call("GET", f"api/tasks/{task}/annotations/"), "the annotation")
    assert spans_in(annotation) == annotated
    backend.wait_for_queue(project, labelled=N_ANNOTATED + 1)
    changes = backend.printed_status(project)["controls"][CONTROL]["teacher"]["changes"]["learner"]
    assert changes["kept"] >= len(kept) and changes["added"] >= len(annotated) - len(kept)
    assert changes["removed"] >= len(drafted) - len(kept) and changes["kept_words"] >= changes["kept"]


def sentences_project(client: LabelStudioClient, pool: list[DemoTask]) -> Project:
    config = Path("label_config_spans.xml").read_text()
    number = create_project(client, "Names in the documentation of a library", config)
    for _ in import_tasks(client, number, [task.data for task in pool[:N_TASKS]]):
        pass
    return Project(client, number, read_schema(config), {})


def spans_in(row: dict[str, Any]) -> list[Span]:
    """The spans of a prediction or of an annotation, in their order on the screen."""
    values = [region["value"] for region in row["result"]]
    return sorted((value["start"], value["end"], *value["labels"]) for value in values)


def remove_region(page: Page, number: int) -> None:
    """Removes a region, by its number in the order of the text."""
    page.locator(".htx-highlight").nth(number).click()
    until(lambda: page.evaluate("() => window.Htx.annotationStore.selected.selectedRegions.length") == 1, "a selection")
    n_regions = page.evaluate(REGIONS)
    page.keyboard.press("Backspace")
    until(lambda: page.evaluate(REGIONS) == n_regions - 1, "one region less")


def mark(page: Page, span: Span, labels: Sequence[str]) -> None:
    """Chooses the label of a span by its key, and draws the mouse over the characters."""
    start, end, label = span
    n_regions = page.evaluate(REGIONS)
    page.keyboard.press(str(labels.index(label) + 1))
    left, right, y = page.evaluate(
        """([start, end]) => {
            const text = document.querySelector('.htx-richtext, [class*="richtext"]');
            const nodes = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
            for (let node = nodes.nextNode(), before = 0; node; before += node.length, node = nodes.nextNode()) {
                if (start >= before && end <= before + node.length) {
                    const range = document.createRange();
                    range.setStart(node, start - before);
                    range.setEnd(node, end - before);
                    const box = range.getBoundingClientRect();
                    return [box.left, box.right, box.y + box.height / 2];
                }
            }
        }""",
        [start, end],
    )
    page.mouse.move(left + 1, y)
    page.mouse.down()
    page.mouse.move(right - 1, y, steps=4)
    page.mouse.up()
    until(lambda: page.evaluate(REGIONS) == n_regions + 1, f"a region at {span}")
