"""The routes of the web application."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, FakeLabelStudio, add_labelled_tasks, submit_labels
from flask.testing import FlaskClient
from projects import set_up

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.web.predictor import INITIAL_VERSION

Capture = Callable[[str], dict[str, Any]]


def request(capture: Capture, name: str, path: str) -> dict[str, Any]:
    body: dict[str, Any] = next(
        request["json"] for request in capture(name)["requests_to_ml"] if request["path"] == path
    )
    return body


def test_health_answers_as_label_studio_expects(client: FlaskClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.get_json()["status"] == "UP"
    assert response.get_json()["model_class"]


def test_readiness_follows_the_workers(client: FlaskClient, store: Store) -> None:
    assert (client.get("/ready").status_code, client.get("/ready").get_json()["workers"]) == (503, 0)
    store.jobs.record_heartbeat("worker", 1)
    assert (client.get("/ready").status_code, client.get("/ready").get_json()["workers"]) == (200, 1)


def test_setup_returns_the_version_and_stores_configuration_and_params_but_no_token(
    client: FlaskClient, capture: Capture, store: Store
) -> None:
    body = {**request(capture, "01_", "/setup"), "access_token": "legacy-t0ken", "hostname": "http://inside"}
    body["extra_params"] = {**body["extra_params"], "queue_size": 7}
    response = client.post("/setup", json=body)
    assert (response.status_code, response.get_json()) == (200, {"model_version": INITIAL_VERSION})
    project_row = store.projects.ensure(5)
    assert project_row.label_config == body["schema"]
    assert project_row.extra_params == {"queue_size": 7, "?": ["al"]}, "of what is not ours, the name alone is kept"
    assert "legacy-t0ken" not in repr(project_row)
    assert not store.jobs.state(5).waiting, "the project is not connected"


def test_setup_requests_a_round_if_something_has_changed_in_a_connected_project(
    client: FlaskClient, capture: Capture, store: Store
) -> None:
    set_up(store, 5, connection={"ml": 1})
    body = request(capture, "01_", "/setup")
    client.post("/setup", json=body)
    lease = store.jobs.claim("worker")
    assert lease is not None
    store.jobs.finish(lease)
    client.post("/setup", json=body)
    assert store.jobs.claim("worker") is None


def test_setup_loads_no_weights(client: FlaskClient, capture: Capture, fake_encoder: FakeEncoder) -> None:
    client.post("/setup", json=request(capture, "01_", "/setup"))
    assert fake_encoder.encoded == fake_encoder.sketched == []


@pytest.mark.parametrize("name", ["04_", "06_", "08_", "09_", "20_", "21_", "31_"])
def test_every_recorded_prediction_request_gets_one_result_for_each_task(
    client: FlaskClient, capture: Capture, name: str
) -> None:
    body = request(capture, name, "/predict")
    response = client.post("/predict", json=body)
    assert response.status_code == 200
    results = response.get_json()["results"]
    assert len(results) == len(body["tasks"])
    version = client.post("/setup", json={"project": body["project"]}).get_json()["model_version"]
    for result in results:
        assert set(result) == {"result", "score", "model_version"}
        assert result["model_version"] == version
        assert 0 <= result["score"] <= 1
        [region] = result["result"]
        assert (region["from_name"], region["to_name"], region["type"]) == ("label", "text", "choices")
        assert f'"{region["value"]["choices"][0]}"' in body["label_config"]


def test_predictions_come_from_the_learner_of_the_active_version(
    settings: Settings,
    store: Store,
    server: FakeLabelStudio,
    make_round: Callable[..., RoundContext],
    single: ProjectSchema,
    client: FlaskClient,
) -> None:
    settings.defaults = settings.defaults.model_copy(update={"audit_share": 0.0})
    truth = add_labelled_tasks(server, 90)
    submit_labels(server, truth, single, list(truth)[:45])
    run_round(make_round(server))
    tasks = [server.tasks[task] for task in list(truth)[45:]]
    body = {"project": "5.1", "label_config": SINGLE, "tasks": tasks}
    results = client.post("/predict", json=body).get_json()["results"]
    right = [
        result["result"][0]["value"]["choices"] == [truth[task["id"]]]
        for result, task in zip(results, tasks, strict=True)
    ]
    assert sum(right) > 0.8 * len(right)
    assert {result["model_version"] for result in results} == {server.settings["model_version"]}
    assert all(result["score"] >= 0.5 for result in results), "behind the published queue"
    submit_labels(server, truth, single, list(truth)[45:50])
    run_round(make_round(server))
    later_results = client.post("/predict", json=body).get_json()["results"]
    assert {result["model_version"] for result in later_results} == {server.settings["model_version"]}
    assert later_results[0]["model_version"] != results[0]["model_version"]


def test_a_task_of_the_audit_sample_gets_no_draft(client: FlaskClient, store: Store) -> None:
    store.versions.draw_audit(5, [2])
    tasks_ = [{"id": n, "data": {"text": f"apple {n}"}} for n in (1, 2, 3)]
    body = {"project": 5, "label_config": SINGLE, "tasks": tasks_}
    results = client.post("/predict", json=body).get_json()["results"]
    assert [bool(result["result"]) for result in results] == [True, False, True]


def test_texts_with_a_cached_vector_are_not_encoded_again(
    store: Store, server: FakeLabelStudio, make_round: Callable[..., RoundContext], client: FlaskClient,
    fake_encoder: FakeEncoder,
) -> None:  # fmt: skip
    add_labelled_tasks(server, 10)
    context = make_round(server)
    run_round(context)
    context.pool.flush()
    fake_encoder.encoded.clear()
    tasks = [*server.tasks.values(), {"id": 999, "data": {"text": "never seen"}}]
    client.post("/predict", json={"project": 5, "label_config": SINGLE, "tasks": tasks})
    texts = [text for text in fake_encoder.encoded if ("text is about" not in text and " n" in text) or "never" in text]
    assert texts == ["never seen"]


def test_two_hundred_tasks_in_one_request_get_two_hundred_results(client: FlaskClient) -> None:
    tasks = [{"id": n, "data": {"text": f"apple {n}"}} for n in range(1, 201)]
    results = client.post("/predict", json={"project": 5, "label_config": SINGLE, "tasks": tasks}).get_json()["results"]
    assert len(results) == 200
    assert all(result["result"] for result in results)


@pytest.mark.parametrize(
    "task",
    [None, 5, "text", [], {}, {"id": 1}, {"data": None}, {"data": {}}, {"data": {"text": None}}, {"data": {"text": ""}},
     {"data": {"text": "  "}}, {"data": {"text": {"a": 1}}}, {"data": {"other": "x"}}],
)  # fmt: skip
def test_a_task_without_a_text_gets_an_empty_result_and_the_others_get_drafts(
    client: FlaskClient, task: object
) -> None:
    good = {"id": 1, "data": {"text": "apple"}}
    body = {"project": 5, "label_config": SINGLE, "tasks": [good, task, good]}
    first, odd, last = client.post("/predict", json=body).get_json()["results"]
    assert odd == {"result": [], "score": 1.0, "model_version": INITIAL_VERSION}
    assert first["result"]
    assert last["result"]


def test_a_task_without_an_id_gets_a_result(client: FlaskClient) -> None:
    body = {"project": 5, "label_config": SINGLE, "tasks": [{"data": {"text": "apple"}}]}
    assert client.post("/predict", json=body).get_json()["results"][0]["result"]


def test_a_request_without_tasks_gets_no_results(client: FlaskClient) -> None:
    body = {"project": 5, "label_config": SINGLE, "tasks": []}
    assert client.post("/predict", json=body).get_json() == {"results": []}


@pytest.mark.parametrize("config", [None, "", "<View/>", "<broken", 5])
def test_a_project_with_an_unsupported_configuration_gets_empty_results(client: FlaskClient, config: object) -> None:
    body = {"project": 77, "label_config": config, "tasks": [{"id": 1, "data": {"text": "apple"}}] * 2}
    response = client.post("/predict", json=body)
    assert response.status_code == 200
    assert [result["result"] for result in response.get_json()["results"]] == [[], []]


@pytest.mark.parametrize("path", ["/setup", "/predict", "/versions"])
@pytest.mark.parametrize("project", [None, "", "x", -1, 0, True, 2**31, [], {}, 1.5])
def test_a_request_without_a_valid_project_is_a_bad_request(client: FlaskClient, path: str, project: object) -> None:
    response = client.post(path, json={"project": project, "tasks": [], "version": "1"})
    assert response.status_code == 400
    assert "project" in response.get_json()["error"]


def test_the_webhook_stores_every_recorded_event_quickly_and_requests_rounds(
    client: FlaskClient, capture: Capture, capture_names: list[str], store: Store, fake_encoder: FakeEncoder
) -> None:
    set_up(store, 5, connection={"ml": 1})
    for name in capture_names:
        for request in capture(name).get("requests_to_ml", []):
            if request["path"] == "/webhook" and request["json"]["project"]["id"] == 5:
                response = client.post("/webhook", json=request["json"])
                assert (response.status_code, response.get_json()["status"]) == (200, "taken")
    assert store.tasks.count(5) == 5
    assert store.jobs.state(5).waiting
    assert fake_encoder.encoded == [], "nothing is learnt here"


def test_versions_are_listed_as_label_studio_reads_them(
    client: FlaskClient,
    store: Store,
    server: FakeLabelStudio,
    make_round: Callable[..., RoundContext],
    capture: Capture,
) -> None:
    assert client.get("/versions").get_json() == {"versions": []}
    add_labelled_tasks(server, 10)
    run_round(make_round(server))
    response = client.get("/versions").get_json()
    assert response == {"versions": [server.settings["model_version"]]}
    assert response.keys() == capture("19_")["ls_response"].keys()
    of_project = client.get("/versions?project=5").get_json()
    assert of_project == {"versions": response["versions"], "active": server.settings["model_version"]}
    assert client.get("/versions?project=6").get_json() == {"versions": [], "active": None}
    assert client.get("/versions?project=x").status_code == 400


def test_a_rollback_can_be_requested(client: FlaskClient, store: Store) -> None:
    assert client.post("/versions", json={"project": 5, "version": "1"}).status_code == 404
    set_up(store, 5, connection={"ml": 1}, pinned=3)
    response = client.post("/versions", json={"project": 5, "version": "latest"})
    assert (response.status_code, store.projects.ensure(5).pinned) == (202, {})
    set_up(store, 5, label_config=SINGLE)
    unknown_control = client.post("/versions", json={"project": 5, "version": "latest", "control": "\0"})
    assert unknown_control.status_code == 404
    for wrong_control in (None, 7, ["label"]):
        body = {"project": 5, "version": "latest", "control": wrong_control}
        assert client.post("/versions", json=body).status_code == 400
    wrong_versions: tuple[object, ...] = (None, [], {}, 1.5, True)
    for wrong in wrong_versions:
        assert client.post("/versions", json={"project": 5, "version": wrong}).status_code == 400
    for unknown in (17, "17", "x", "\ud800", "\0", "x" * 10_000):
        assert client.post("/versions", json={"project": 5, "version": unknown}).status_code == 404


def test_metrics_are_prometheus_text(
    client: FlaskClient, store: Store, server: FakeLabelStudio, make_round: Callable[..., RoundContext]
) -> None:
    add_labelled_tasks(server, 10)
    set_up(store, 5, connection={"ml": 1})
    run_round(make_round(server))
    client.post("/webhook", json=server.annotate(3, "fruit"))
    run_round(make_round(server))
    response = client.get("/metrics")
    assert response.mimetype == "text/plain"
    lines = response.get_data(as_text=True).split("\n")
    for line in (
        'apprentice_labelled{project="5"} 1.0', 'apprentice_pool{project="5"} 9.0',
        'apprentice_round_waiting{project="5"} 1.0', 'apprentice_round_running{project="5"} 0.0',
        'apprentice_failing{project="5"} 0.0', "apprentice_workers 0.0",
        'apprentice_events_total{action="ANNOTATION_CREATED"} 1.0',
    ):  # fmt: skip
        assert line in lines, line


def test_unknown_actions_share_one_time_series(client: FlaskClient) -> None:
    for n in range(5):
        for action in (f"ANNOTATION_X{chr(65 + n)}", f"TASKS_{chr(65 + n)}", f"evil{n}"):
            client.post("/webhook", json={"action": action, "project": 5})
    series = [
        line
        for line in client.get("/metrics").get_data(as_text=True).split("\n")
        if line.startswith("apprentice_events_total")
    ]
    assert series == ['apprentice_events_total{action="other"} 15.0']


def test_importing_the_application_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "sklearn", "label_studio_ml", "label_studio_sdk", "sentence_transformers"}
    code = (
        "import sys, ml_backend.web.app, ml_backend.web.server\n"
        f"found = {heavy} & set(sys.modules)\nsys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
