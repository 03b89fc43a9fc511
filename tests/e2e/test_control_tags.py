"""Controls other than Choices, dialogues and lists, and comparisons, end to end: Label Studio accepts and serves their
drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from browser import CHROMIUM, browser_page, open_data_manager, start_labelling, submit_button
from playwright.sync_api import expect
from prediction_validation import validation_errors
from running_backend import Backend, Project, until
from schemas import only
from texts import messages
from topic_projects import topic_project

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import read_record
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import create_project, import_tasks

pytestmark = pytest.mark.e2e
TOPICS = ("Cooking", "Football", "Computers")
ANSWERS = 15

RATING = '<View><List name="d" value="$d" title="Results"/><Rating name="c" toName="d" maxRating="7"/></View>'
TAXONOMY = (
    '<View><Paragraphs name="d" value="$d" layout="dialogue"/><Taxonomy name="c" toName="d"><Choice value="Home" '
    'alias="H"><Choice value="Cooking"/><Choice value="Computers"/></Choice><Choice value="Sport"/></Taxonomy></View>'
)


def assert_drafts_are_valid(project: Project, backend: Backend, config: str) -> None:
    """The published queue has more than 20 drafts, and Label Studio's own validation accepts each."""
    regions = [row["result"] for row in project.predictions(backend.active(project).name) if row["result"]]
    assert len(regions) > 20
    assert [validation_errors(config, region) for region in regions] == [[]] * len(regions)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        (RATING, (("1",), ("4",), ("7",))),
        (TAXONOMY, (("Home", "Home > Cooking"), ("Sport",), ("Home", "Home > Computers"))),
    ],
    ids=["a rating of a list", "a taxonomy of dialogues"],
)
def test_a_control_is_learnt_and_its_drafts_are_served(
    admin: LabelStudioClient, backend: Backend, config: str, labels: Sequence[tuple[str, ...]]
) -> None:
    project = topic_project(admin, config[6:20], config, messages(60, TOPICS))
    labels_of = dict(zip(TOPICS, labels, strict=True))
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(ANSWERS):
        served = project.next()
        assert served is not None
        project.answer(served.task, *labels_of[project.truth[served.text]])
    backend.wait_for_queue(project, labelled=ANSWERS)
    assert_drafts_are_valid(project, backend, config)
    right = 0
    for _ in range(10):
        served = project.next()
        assert served is not None
        right += {*only(served.drafts)} == {*labels_of[project.truth[served.text]]}
        project.answer(served.task, *labels_of[project.truth[served.text]])
    assert right >= 5, "most drafts are right"


PAIR = (
    '<View><Text name="q" value="$prompt"/><Text name="t1" value="$first"/><Text name="t2" value="$second"/>'
    '<Pairwise name="c" toName="t1,t2"/></View>'
)
COMPARED = 20


def about_cooking(text: str) -> str:
    """The side that is about cooking."""
    return "left" if read_record(text)["left"] in messages(60, ["Cooking"]) else "right"


@pytest.fixture
def backend(make_backend: Callable[..., Backend]) -> Backend:
    """A backend whose queue has a draft for each task."""
    return make_backend(defaults=ProjectSettings(audit_share=0.0))


@pytest.fixture
def pairs(admin: LabelStudioClient, backend: Backend) -> Project:
    """A connected project that asks which of two texts is about cooking."""
    others = [*messages(60, ["Football", "Computers"])]
    data = [
        {"prompt": "Which message is about cooking?", "first": text, "second": other}
        if number % 2
        else {"prompt": "Which message is about cooking?", "first": other, "second": text}
        for number, (text, other) in enumerate(zip(messages(60, ["Cooking"]), others, strict=True))
    ]
    project = Project(admin, create_project(admin, "pairs", PAIR), read_schema(PAIR), {})
    assert [*import_tasks(admin, project.number, data)] == [60]
    backend.connect(project)
    version = backend.wait_for_queue(project)
    assert not any(row["result"] for row in project.predictions(version.name)), "there is no learner yet"
    for _ in range(COMPARED):
        served = project.next()
        assert served is not None
        project.answer(served.task, about_cooking(served.text))
    backend.wait_for_queue(project, labelled=COMPARED)
    return project


def test_a_comparison_is_learnt_and_its_drafts_are_served(pairs: Project, backend: Backend) -> None:
    assert_drafts_are_valid(pairs, backend, PAIR)
    right = 0
    for _ in range(10):
        served = pairs.next()
        assert served is not None
        right += only(served.drafts) == (about_cooking(served.text),)
        pairs.answer(served.task, about_cooking(served.text))
    assert right >= 7, "chance would be five"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_labelling_screen_submits_the_drafted_side_as_it_is(
    pairs: Project, backend: Backend, label_studio: LocalLabelStudio
) -> None:
    with browser_page(label_studio) as page:
        with backend.held_queue(pairs, labelled=COMPARED) as version:
            head = pairs.predictions(version.name)[0]
            side = head["result"][0]["value"]["selected"]
            open_data_manager(page, label_studio, pairs)
            start_labelling(page)
            expect(page.get_by_text("Which message is about cooking?").first).to_be_visible()
            expect(submit_button(page)).to_be_enabled()
            submit_button(page).click()
            submitted = until(
                lambda: pairs.client.call("GET", f"api/tasks/{head['task']}/annotations/"), "the annotation"
            )
        assert [region["value"] for region in submitted[0]["result"]] == [{"selected": side}]
        stored = backend.wait_for_queue(pairs, labelled=COMPARED + 1)
    assert stored.labelled == COMPARED + 1
