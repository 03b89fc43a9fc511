"""The web application refuses malformed requests without an error of the server."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from fake_label_studio import SINGLE, FakeLabelStudio
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from malformed_requests import any_json

from ml_backend.web import label_studio_routes


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/predict", 405), ("PUT", "/", 405)]
)
def test_errors_are_json(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert list(response.get_json()) == ["error"]


def test_an_unexpected_error_shows_neither_trace_nor_text(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("patient 17 is called Miller")

    monkeypatch.setattr(label_studio_routes, "store_event", broken)
    response = client.post("/webhook", json={"action": "X", "project": 5})
    assert response.status_code == 500
    printed = capsys.readouterr()
    output = response.get_data(as_text=True) + printed.out + printed.err
    assert "Miller" not in output
    assert "Traceback" not in output
    assert "RuntimeError" in printed.out + printed.err


configurations = st.sampled_from([SINGLE, SINGLE.replace("fruit", "\0"), SINGLE + "\ud800", "<View/>"])


tasks = st.fixed_dictionaries({"data": any_json | st.fixed_dictionaries({"text": any_json})}, optional={"id": any_json})


projects = st.fixed_dictionaries(
    {"id": st.just(5)},
    optional={
        "label_config": st.sampled_from([SINGLE, SINGLE + "\0", SINGLE.replace("fruit", "\ud800"), "\ud800", ""])
    },
)


requests = st.fixed_dictionaries(
    {},
    optional={
        "project": st.just(5) | st.just("5.17") | projects | any_json,
        "schema": st.just(SINGLE) | any_json,
        "label_config": configurations | any_json,
        "extra_params": any_json,
        "params": any_json,
        "tasks": any_json | st.lists(tasks, max_size=3),
        "action": st.sampled_from(["ANNOTATION_CREATED", "TASKS_CREATED", "ANNOTATIONS_DELETED", "START_TRAINING"]),
        "annotation": any_json,
        "annotations": any_json,
        "task": any_json,
    },
)  # fmt: skip


def dumped(body: Any) -> str:
    return json.dumps(body)  # lone surrogates, NaN and huge numbers as Python writes them


@given(body=requests | any_json)
@hypothesis_settings(max_examples=1000)
@pytest.mark.slow
def test_no_json_body_causes_an_error_of_the_server(body: Any, client: FlaskClient) -> None:
    try:
        data = dumped(body)
    except ValueError:  # an integer of too many digits
        return
    for path in ("/predict", "/setup", "/webhook"):  # drawing a body takes longer than answering it
        response = client.post(path, data=data, content_type="application/json")
        assert response.status_code < 500, (path, body, response.get_data(as_text=True))
        reply = response.get_json()
        assert isinstance(reply, dict), path
        if path == "/predict" and response.status_code == 200:
            assert len(reply["results"]) == len(body["tasks"])
            assert all(set(result) == {"result", "score", "model_version"} for result in reply["results"])


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
@given(data=st.binary(max_size=200))
@hypothesis_settings(max_examples=200)
def test_raw_bytes_are_a_bad_request(path: str, data: bytes, client: FlaskClient) -> None:
    assert client.post(path, data=data).status_code == 400


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook", "/versions"])
@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"project":' + b"9" * 10_000 + b"}", b"\xff\xfe", b'"\\ud800"', b"NaN"],
    ids=["lists", "objects", "digits", "bytes", "surrogate", "nan"],
)
def test_json_that_breaks_parsers_is_a_bad_request(client: FlaskClient, path: str, data: bytes) -> None:
    response = client.post(path, data=data)
    assert response.status_code == 400
    assert list(response.get_json()) == ["error"]


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 1000
    response = client.post("/webhook", data=b'{"a": "' + b"x" * 2000 + b'"}')
    assert response.status_code in (400, 413)


def test_no_url_in_a_task_is_ever_requested(
    client: FlaskClient, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*args: Any) -> None:
        raise AssertionError(f"tried to reach {args}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, called)
    monkeypatch.setattr(socket, "getaddrinfo", called)
    url = "http://169.254.169.254/latest/meta-data"
    server.label_config = SINGLE
    client.post("/webhook", json=server.add_tasks([url]))
    for config in (SINGLE, SINGLE.replace('value="$text"', 'value="$text" valueType="url"'),
                   f'<!DOCTYPE v SYSTEM "{url}">{SINGLE}'):  # fmt: skip
        body = {"project": 5, "schema": config, "hostname": url, "label_config": config,
                "tasks": [{"id": 1, "data": {"text": url, "image": url}}]}  # fmt: skip
        assert client.post("/setup", json=body).status_code == 200
        assert client.post("/predict", json=body).status_code == 200
