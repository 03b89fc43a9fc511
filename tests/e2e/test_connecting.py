"""`connect` and `disconnect` against a real Label Studio."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from running_backend import Backend, Project, until

from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.setup import RESTORED_SETTINGS, disconnect

pytestmark = pytest.mark.e2e


def settings_of(project: Project) -> dict[str, object]:
    project_json = project.seen()
    return {name: project_json[name] or "" for name in RESTORED_SETTINGS}


def test_connecting_sets_everything_up_and_disconnecting_leaves_no_trace(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(60)
    number = str(project.number)
    settings_before = settings_of(project)

    done = backend.cli("connect", "--project", number)
    assert done.returncode == 0, done.stderr
    with backend.held_queue(project) as version:
        now = project.seen()
        assert now["sampling"] == "Uncertainty sampling"
        assert now["model_version"] == backend.published(project) == version.name
    (hook,) = project.webhooks()
    basic = base64.b64encode(f"apprentice:{backend.secret}".encode()).decode()
    assert hook["url"] == f"{backend.settings.address}/webhook"
    assert hook["headers"] == {"Authorization": f"Basic {basic}"}
    assert hook["is_active"] and hook["send_payload"]
    (connection,) = project.ml_backends()
    assert connection["url"] == backend.settings.address
    (tab,) = project.tabs()
    assert tab["data"]["title"] == "Apprentice queue"

    remembered = backend.store.projects.ensure(project.number).connection
    second_run = backend.cli("connect", "--project", number)
    assert second_run.returncode == 0, second_run.stderr
    backend.wait_for_queue(project)
    assert [webhook["id"] for webhook in project.webhooks()] == [hook["id"]]
    assert [ml_backend["id"] for ml_backend in project.ml_backends()] == [connection["id"]]
    assert [view["id"] for view in project.tabs()] == [tab["id"]]
    assert backend.store.projects.ensure(project.number).connection == remembered

    done = backend.cli("disconnect", "--project", number)
    assert done.returncode == 0, done.stderr
    assert (project.webhooks(), project.ml_backends(), project.tabs()) == ([], [], [])
    assert settings_of(project) == settings_before
    done = backend.cli("disconnect", "--project", number)
    assert done.returncode == 0 and "not connected" in done.stdout
    assert settings_of(project) == settings_before


def test_the_queue_is_served_in_its_order_with_drafts_and_reasons(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(60)
    backend.connect(project)
    drafted = 0
    with backend.held_queue(project) as version:
        rows = project.predictions(version.name)
        scores = [float(row["score"]) for row in rows]
        assert len(rows) == 50
        assert scores == sorted(set(scores)) and scores[0] >= 0 and scores[-1] < 0.5
        for row in rows[:6]:
            task = project.client.call("GET", f"api/projects/{project.number}/next")
            (prediction,) = task["predictions"]
            assert (task["id"], prediction["model_version"]) == (row["task"], version.name)
            for region in prediction["result"]:
                drafted += 1
                assert region["value"]["choices"][0] in project.schema.controls[0].labels
                assert 0 < region["score"] <= 1
                (reason,) = region["meta"]["text"]
                assert "cluster" in reason and version.name in reason
            project.answer(task["id"], project.truth[task["data"]["text"]])
    assert drafted >= 3, "most of the queue has drafts; a few tasks are for the audit"
    backend.wait_for_queue(project, labelled=6)


def test_a_project_is_left_as_it_was_even_if_it_is_disconnected_in_the_middle_of_a_round(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(60)
    settings_before = settings_of(project)
    backend.connect(project)
    backend.wait_for_queue(project)

    with backend.worker_held_in_a_round(project):
        disconnect(backend.client, backend.store, project.number, lambda _: None)
    until(lambda: backend.store.jobs.state(project.number).owner is None, "the end of the round")

    assert settings_of(project) == settings_before
    assert backend.store.projects.ensure(project.number).published is None


def test_a_personal_access_token_does_what_a_legacy_token_does(
    label_studio: LocalLabelStudio, make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(label_studio_api_key=label_studio.personal_access_token()), make_project(30)
    done = backend.cli("connect", "--project", str(project.number))
    assert done.returncode == 0, done.stderr
    backend.wait_for_queue(project)
    project.answer_next(4)
    with backend.held_queue(project, labelled=4) as version:
        assert project.seen()["model_version"] == version.name
