"""Connecting a project, and disconnecting it again."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks, submit_labels
from projects import set_up
from schemas import first_of

from ml_backend.core.exceptions import ApprenticeError, UnreachableError, UnsupportedConfigError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.label_studio.setup import TITLE, connect, disconnect
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.storage import Store

EARLIER = {"sampling": "Sequential sampling", "model_version": "", "show_collab_predictions": False}


@pytest.fixture
def secured(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(secret="s3cret-words", public_url="http://backend:9090/")


@pytest.fixture
def server() -> FakeLabelStudio:
    made = FakeLabelStudio(settings=EARLIER)
    add_labelled_tasks(made, 4)
    return made


def state(server: FakeLabelStudio) -> tuple[Any, ...]:
    return (dict(server.settings), list(server.webhooks.values()), list(server.backends.values()),
            list(server.views.values()))  # fmt: skip


def say(_text: str) -> None:
    pass


def test_connecting_sets_up_webhook_backend_sampling_tab_and_first_round(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    messages: list[str] = []
    connect(FakeClient(server), store, secured, 5, messages.append)
    [hook], [backend], [view] = server.webhooks.values(), server.backends.values(), server.views.values()
    presented = base64.b64decode(hook["headers"]["Authorization"].removeprefix("Basic ")).decode()
    assert (hook["url"], presented) == ("http://backend:9090/webhook", "apprentice:s3cret-words")
    assert hook["send_payload"]
    assert hook["is_active"]
    assert (backend["url"], backend["title"]) == ("http://backend:9090", TITLE)
    assert (backend["auth_method"], backend["basic_auth_user"], backend["basic_auth_pass"]) == (
        "BASIC_AUTH", "apprentice", "s3cret-words",
    )  # fmt: skip
    assert server.settings["sampling"] == "Uncertainty sampling"
    assert server.settings["show_collab_predictions"]
    assert view["data"]["ordering"] == ["tasks:predictions_score"]
    project_row = store.projects.ensure(5)
    assert project_row.connection is not None
    assert project_row.label_config == server.label_config
    assert store.jobs.claim("worker") is not None
    assert not any("s3cret" in line for line in messages)


def test_the_webhook_is_created_before_the_backend_which_would_create_one_without_the_secret(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    client = FakeClient(server)
    connect(client, store, secured, 5, say)
    made = [path for method, path, _ in client.calls if method == "POST"]
    assert made.index("api/webhooks/") < made.index("api/ml")
    assert len(server.webhooks) == 1


def test_connecting_again_changes_nothing_and_repairs_what_is_missing(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    connect(FakeClient(server), store, secured, 5, say)
    first = state(server)
    connect(FakeClient(server), store, secured, 5, say)
    assert state(server) == first
    server.webhooks.clear()
    server.views.clear()
    server.backends.clear()
    server.settings["sampling"] = "Sequential sampling"
    connect(FakeClient(server), store, secured, 5, say)
    assert [len(objects) for objects in (server.webhooks, server.backends, server.views)] == [1, 1, 1]
    assert server.settings["sampling"] == "Uncertainty sampling"
    disconnect(FakeClient(server), store, 5, say)
    assert {name: server.settings[name] for name in EARLIER} == EARLIER, "the settings before the first connection"


def test_a_webhook_without_the_secret_gets_it_and_duplicates_are_deleted(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    for number in (101, 102):
        server.webhooks[number] = {"id": number, "url": "http://backend:9090/webhook", "headers": {}}
    server.webhooks[103] = {"id": 103, "url": "http://somebody.else/webhook", "headers": {}}
    connect(FakeClient(server), store, secured, 5, say)
    ours = [hook for hook in server.webhooks.values() if "backend" in hook["url"]]
    assert len(ours) == 1
    assert "Authorization" in ours[0]["headers"]
    assert 103 in server.webhooks


def test_disconnecting_restores_the_earlier_state(server: FakeLabelStudio, store: Store, secured: Settings) -> None:
    before = state(server)
    connect(FakeClient(server), store, secured, 5, say)
    set_up(store, 5, published="v1", pinned=2)
    assert disconnect(FakeClient(server), store, 5, say)
    assert state(server) == before
    project_row = store.projects.ensure(5)
    assert (project_row.connection, project_row.published, project_row.pinned) == (None, None, {})
    client = FakeClient(server)
    assert not disconnect(client, store, 5, say)
    assert client.calls == []


def test_an_earlier_model_version_comes_back_if_it_still_exists(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    server.predictions = [
        {"task": 1, "model_version": version, "score": 0.5, "result": []} for version in ("old", "v1")
    ]
    server.settings["model_version"] = "old"
    connect(FakeClient(server), store, secured, 5, say)
    server.settings["model_version"] = "v1"
    disconnect(FakeClient(server), store, 5, say)
    assert server.settings["model_version"] == "old"
    connect(FakeClient(server), store, secured, 5, say)
    server.predictions = server.predictions[1:]
    server.settings["model_version"] = "v1"
    disconnect(FakeClient(server), store, 5, say)
    assert server.settings["model_version"] == ""


def test_disconnecting_succeeds_when_objects_are_already_deleted(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    connect(FakeClient(server), store, secured, 5, say)
    server.webhooks.clear()
    server.views.clear()
    assert disconnect(FakeClient(server), store, 5, say)
    assert server.backends == {}


def test_an_unsupported_configuration_is_refused_before_anything_is_changed(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    server.label_config = "<View/>"
    client = FakeClient(server)
    with pytest.raises(UnsupportedConfigError):
        connect(client, store, secured, 5, say)
    assert client.writes() == []
    assert store.projects.connected() == []


def test_an_address_that_label_studio_cannot_call_is_refused(
    server: FakeLabelStudio, store: Store, make_settings: Callable[..., Settings]
) -> None:
    client = FakeClient(server)
    with pytest.raises(ApprenticeError, match="APPRENTICE_PUBLIC_URL"):
        connect(client, store, make_settings(host="0.0.0.0", secret="x"), 5, say)
    assert client.writes() == []


@pytest.mark.parametrize("failing", range(1, 5))
def test_an_interrupted_connection_can_be_removed_or_repeated(
    failing: int, server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    client = FakeClient(server)

    def fail(method: str, *_: Any) -> None:
        if method != "GET" and len(client.writes()) >= failing:
            raise UnreachableError("down")

    client.before = fail
    with suppress(UnreachableError):
        connect(client, store, secured, 5, say)
        raise AssertionError("the connection should have been interrupted")
    assert store.projects.connected() == [], "nothing is published before the connection is complete"
    connect(FakeClient(server), store, secured, 5, say)
    assert [len(objects) for objects in (server.webhooks, server.backends, server.views)] == [1, 1, 1]
    assert disconnect(FakeClient(server), store, 5, say)
    assert {name: server.settings[name] for name in EARLIER} == EARLIER
    assert [len(objects) for objects in (server.webhooks, server.backends, server.views)] == [0, 0, 0]


def test_an_interrupted_disconnection_can_be_repeated(server: FakeLabelStudio, store: Store, secured: Settings) -> None:
    connect(FakeClient(server), store, secured, 5, say)
    client = FakeClient(server)

    def fail(method: str, *_: Any) -> None:
        if method == "PATCH":
            raise UnreachableError("down")

    client.before = fail
    with pytest.raises(UnreachableError):
        disconnect(client, store, 5, say)
    assert disconnect(FakeClient(server), store, 5, say)
    assert {name: server.settings[name] for name in EARLIER} == EARLIER


def test_without_a_secret_no_header_is_sent(server: FakeLabelStudio, store: Store, settings: Settings) -> None:
    connect(FakeClient(server), store, settings, 5, say)
    [hook], [backend] = server.webhooks.values(), server.backends.values()
    assert hook["headers"] == {}
    assert "basic_auth_pass" not in backend


def connect_and_teach(
    server: FakeLabelStudio,
    store: Store,
    secured: Settings,
    make_round: Callable[..., RoundContext],
    single: ProjectSchema,
) -> None:
    """The project after a round with 30 annotations."""
    connect(FakeClient(server), store, secured, 5, say)
    truth = add_labelled_tasks(server, 30)
    submit_labels(server, truth, single, list(truth))
    run_round(make_round(server))


def test_another_project_with_the_same_number_starts_without_data(
    server: FakeLabelStudio,
    store: Store,
    secured: Settings,
    make_round: Callable[..., RoundContext],
    single: ProjectSchema,
) -> None:
    connect_and_teach(server, store, secured, make_round, single)
    assert store.versions.learners(5) and store.published_drafts.of(5)
    set_up(store, 5, teacher={"problem": "no server"}, label_descriptions={"fruit": {"description": "", "cues": []}})
    disconnect(FakeClient(server), store, 5, say)

    other = FakeLabelStudio(settings=EARLIER | {"sampling": "Uniform sampling"}, made_at="2026-11-23T09:00:00.000000Z")
    add_labelled_tasks(other, 4)
    connect(FakeClient(other), store, secured, 5, say)
    assert (store.annotations.of(5), store.tasks.count(5), store.versions.learners(5)) == ([], 0, [])
    project_row = store.projects.ensure(5)
    assert (
        store.published_drafts.of(5),
        project_row.teacher,
        project_row.label_descriptions,
        first_of(project_row.distillations),
    ) == ([], None, {}, None)
    assert store.versions.active(5) is None
    disconnect(FakeClient(other), store, 5, say)
    assert other.settings["sampling"] == "Uniform sampling", "its own setting, not the other one's"


def test_another_project_with_the_same_number_need_not_have_the_control_that_the_earlier_one_named(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    connect(FakeClient(server), store, secured, 5, say)
    set_up(store, 5, extra_params={"choices": "a control of the earlier project"})
    other = FakeLabelStudio(settings=EARLIER, made_at="2026-11-23T09:00:00.000000Z")
    assert connect(FakeClient(other), store, secured, 5, say).controls[0].name == "label"


def test_the_same_project_under_another_address_is_recognised(
    server: FakeLabelStudio,
    store: Store,
    secured: Settings,
    make_round: Callable[..., RoundContext],
    single: ProjectSchema,
) -> None:
    connect_and_teach(server, store, secured, make_round, single)
    client = FakeClient(server)
    client.url = "http://the-same.elsewhere"
    connect(client, store, secured, 5, say)
    assert (len(store.annotations.of(5)), store.versions.learners(5)) == (30, [1])


def test_nothing_is_written_to_another_project_with_the_same_number(
    server: FakeLabelStudio, store: Store, secured: Settings, make_round: Callable[..., RoundContext]
) -> None:
    connect(FakeClient(server), store, secured, 5, say)
    run_round(make_round(server))
    tasks = store.tasks.count(5)
    other = FakeLabelStudio(settings=EARLIER, made_at="2026-11-23T09:00:00.000000Z")
    add_labelled_tasks(other, 9)
    before = state(other)
    set_up(store, 5, reconciled_at=0.0)
    with pytest.raises(ApprenticeError, match="not the one that was connected"):
        run_round(make_round(other))
    with pytest.raises(ApprenticeError, match="not the one that was connected"):
        disconnect(FakeClient(other), store, 5, say)
    assert state(other) == before
    assert store.tasks.count(5) == tasks
    assert store.projects.connected(), "it can still be taken apart where it is"


def test_the_tab_in_queue_order_shows_the_details_of_drafts(
    server: FakeLabelStudio, store: Store, secured: Settings
) -> None:
    connect(FakeClient(server), store, secured, 5, say)
    [tab] = server.views.values()
    assert "tasks:predictions_results" not in tab["data"]["hiddenColumns"]["explore"]
    assert tab["data"]["columnsWidth"]["tasks:predictions_results"] >= 500
