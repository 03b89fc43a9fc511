"""A language model as the teacher, end to end: a real Label Studio, a real llama.cpp server, and a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from browser import CHROMIUM, SCREENSHOTS, browser_page, open_data_manager
from playwright.sync_api import expect
from running_backend import Backend, Project, until
from schemas import first_of, only

from ml_backend.core.settings import ProjectSettings
from ml_backend.demo.llama import MODEL, PARALLEL_REQUESTS, LocalLlama
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.storage.schema import call

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(580)]

LONG = 240.0  # seconds: the model and the worker share a busy machine


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLlama]:
    with LocalLlama(tmp_path_factory.mktemp("llama") / "llama.log") as server:
        yield server


@pytest.fixture
def taught_backend(make_backend: Callable[..., Backend], llama: LocalLlama) -> Backend:
    options = ProjectSettings(
        queue_size=10, audit_share=0.2, teacher="openai", teacher_model=MODEL, teacher_ahead=6, teacher_labels=24,
        teacher_input_price=1.0, teacher_output_price=2.0,
    )  # fmt: skip
    return make_backend(
        defaults=options,
        teacher_url=llama.url,
        teacher_key="sk-the-teachers-key",
        teacher_concurrency=PARALLEL_REQUESTS,
    )


def asked(backend: Backend, project: Project, state: str = "answered") -> int:
    counts = backend.store.questions.counts(project.number, f"openai:{MODEL}")
    return sum(n for (purpose, its), n in counts.items() if (purpose, its) == ("label", state))


def test_drafts_of_the_teacher_stand_on_the_queue_and_every_call_is_on_the_ledger(
    taught_backend: Backend, make_project: Callable[..., Project]
) -> None:
    backend, project = taught_backend, make_project(60)
    backend.connect(project)
    backend.wait_for_queue(project)

    def by_teacher() -> list[str]:
        rows = project.predictions(backend.published(project))
        reasons = [row["result"][0]["meta"]["text"][0] for row in rows if row["result"]]
        drafts = {
            draft.task: draft for draft in backend.store.published_drafts.of(project.number, backend.published(project))
        }
        teacher_labels = backend.store.questions.cached_replies(project.number, f"openai:{MODEL}").keys
        return (
            [reason for reason in reasons if reason.startswith("teacher's draft")]
            if len(teacher_labels) >= 6 and drafts
            else []
        )

    until(by_teacher, "a draft of the teacher in Label Studio", LONG)
    with backend.held_queue(project) as version:  # a round that is under way may have drawn more
        audited = set(backend.store.versions.audited(project.number))
        rows = project.predictions(version.name)
        assert all(not row["result"] for row in rows if row["task"] in audited), "the audit sample stays without drafts"

    until(lambda: asked(backend, project) >= 24, "all labels that the teacher was to give", LONG)
    spent = backend.store.ledger.spent(project.number)
    assert spent["label"].calls >= 12 and spent["label"].input_tokens > 0 and spent["label"].cost > 0
    status = backend.printed_status(project)
    assert only(status["controls"])["teacher"]["name"] == f"openai:{MODEL}"
    until(lambda: first_of(backend.store.projects.ensure(project.number).distillations), "what it has taught", LONG)

    tasks = [row["task"] for row in project.predictions(backend.published(project))][:6]
    texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
    for task in tasks:
        project.answer(task, project.truth[texts[task]])
    version = backend.wait_for_queue(project, labelled=6, seconds=LONG)
    assert version.learner is not None


def test_a_killed_worker_asks_nothing_twice(taught_backend: Backend, make_project: Callable[..., Project]) -> None:
    backend, project = taught_backend, make_project(60, seed=1)
    backend.connect(project)
    until(lambda: asked(backend, project) >= 3, "some labels", LONG)
    backend.kill("worker")
    until(lambda: asked(backend, project) >= 12, "all labels", LONG + 60)
    of_project = call.c.project == project.number
    query = sa.select(sa.func.count()).where(of_project, call.c.outcome == "answered").group_by(call.c.question)
    with backend.store.database.read() as connection:
        call_counts = list(connection.execute(query).scalars())
    assert len(call_counts) >= 12 and set(call_counts) == {1}, "a question was paid for twice"


def test_the_loop_goes_on_when_the_teacher_is_gone_and_status_says_so(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    options = ProjectSettings(queue_size=10, teacher="openai", teacher_model="any")
    backend = make_backend(defaults=options, teacher_url="http://127.0.0.1:9/v1", teacher_timeout=2)
    project = make_project(60)
    backend.connect(project)
    backend.wait_for_queue(project)
    until(lambda: (backend.store.projects.ensure(project.number).teacher or {}).get("problem"), "the problem", LONG)
    assert "cannot be reached" in backend.cli("status", "--project", str(project.number)).stdout
    for task in [task["id"] for task in project.tasks()][:4]:
        project.answer(task, next(iter(project.schema.controls[0].labels)))
    backend.wait_for_queue(project, labelled=4)


@pytest.mark.skipif(not SCREENSHOTS or not CHROMIUM, reason="APPRENTICE_SCREENSHOTS names no folder")
def test_the_screen_with_a_draft_of_the_teacher_is_saved(
    label_studio: LocalLabelStudio, taught_backend: Backend, make_project: Callable[..., Project]
) -> None:
    backend, project = taught_backend, make_project(60, seed=2)
    project.client.change_project(project.number, title="Messages")
    backend.connect(project)

    def theirs() -> list[str]:
        drafts = backend.store.published_drafts.of(project.number, backend.published(project))
        texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
        return (
            [
                texts[draft.task]
                for draft in drafts
                if any(drafted.author == "teacher" and drafted.confidence for drafted in draft.drafts.values())
            ]
            if (asked(backend, project) >= 6 and backend.follows(project))
            else []
        )

    (text, *_) = until(theirs, "a draft of the teacher", LONG)
    with browser_page(label_studio) as page:
        page.set_viewport_size({"width": 1500, "height": 640})
        open_data_manager(page, label_studio, project)
        page.get_by_text(text).first.click()
        expect(page.get_by_text(text).last).to_be_visible()
        page.wait_for_timeout(3000)
        page.screenshot(path=Path(str(SCREENSHOTS)) / "teacher-draft.png")
