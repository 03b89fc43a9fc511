"""Access to the web application, and what a refused client learns."""

from __future__ import annotations

import base64
import hmac
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, FakeLabelStudio
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ml_backend.core.settings import Settings
from ml_backend.demo.server import free_port
from ml_backend.storage import Store
from ml_backend.web import app as module
from ml_backend.web.app import create_app
from ml_backend.web.server import make_server

SECRET = "correct horse battery"


OPEN = [("GET", "/"), ("GET", "/health"), ("GET", "/ready")]


CLOSED = [
    ("POST", "/setup"), ("POST", "/predict"), ("POST", "/webhook"), ("GET", "/versions"), ("POST", "/versions"),
    ("GET", "/metrics"),
]  # fmt: skip


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def locked(make_settings: Callable[..., Settings], store: Store, fake_encoder: FakeEncoder) -> FlaskClient:
    """The application with a secret."""
    return create_app(make_settings(secret=SECRET), store).test_client()


def test_every_endpoint_is_either_open_or_tested_to_be_closed(client: FlaskClient) -> None:
    rules = client.application.url_map.iter_rules()
    routes = {(method, rule.rule) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert routes == {*OPEN, *CLOSED}


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    "header",
    [
        None, "", "Basic", "Basic ", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(), basic("apprentice", ""), basic("apprentice", "wrong"),
        basic("apprentice", SECRET + "x"), basic("apprentice", SECRET[:-1]), basic("admin", SECRET), basic("", SECRET),
        basic("apprentice:", SECRET), "Bearer", "Bearer ", "Bearer wrong", f"Token {SECRET}", SECRET,
        'Digest username="apprentice"', "Bearer \xe9", "Negotiate " + "A" * 5000,
    ],
)  # fmt: skip
def test_without_the_secret_nothing_is_served(locked: FlaskClient, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = locked.open(path, method=method, headers=headers, json={})
    assert response.status_code == 401
    assert list(response.get_json()) == ["error"]
    assert SECRET not in response.get_data(as_text=True)


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("header", [basic("apprentice", SECRET), f"Bearer {SECRET}"])
def test_with_the_secret_everything_is_served(locked: FlaskClient, method: str, path: str, header: str) -> None:
    response = locked.open(path, method=method, headers={"Authorization": header}, json={})
    assert response.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_health_and_readiness_need_no_secret(locked: FlaskClient, method: str, path: str) -> None:
    assert locked.open(path, method=method).status_code in (200, 503)


@given(junk=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
@hypothesis_settings(max_examples=300)
def test_a_request_with_any_other_authorization_is_refused(junk: str, locked: FlaskClient) -> None:
    for header in (junk, f"Basic {junk}", f"Bearer {junk}"):
        assert locked.get("/versions", headers={"Authorization": header}).status_code == 401


def test_the_secret_is_compared_in_constant_time(locked: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    class RecordingHmac:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(module, "hmac", RecordingHmac)
    locked.get("/versions", headers={"Authorization": basic("apprentice", "wrong")})
    locked.get("/versions", headers={"Authorization": f"Bearer {SECRET}"})
    assert [left == right for left, right in compared] == [False, True]


def test_without_the_secret_an_unknown_path_is_refused_like_a_known_one(locked: FlaskClient) -> None:
    assert locked.get("/no/such/path").status_code == 401


@pytest.mark.parametrize("address", ["192.168.1.5", "10.0.0.1", "8.8.8.8", "::2", "fe80::1", "128.0.0.1"])
def test_without_a_configured_secret_only_this_machine_is_served(client: FlaskClient, address: str) -> None:
    for method, path in CLOSED:
        response = client.open(path, method=method, json={}, environ_base={"REMOTE_ADDR": address})
        assert response.status_code == 403
    for address_ in ("127.0.0.1", "127.3.2.1", "::1"):
        assert client.get("/versions", environ_base={"REMOTE_ADDR": address_}).status_code == 200


PROXIED = {
    "Forwarded": "for=192.0.2.60;proto=https", "Via": "1.1 proxy", "X-Real-IP": "192.0.2.60",
    "X-Forwarded-For": "192.0.2.60", "X-Forwarded-Host": "backend.example", "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443", "x-forwarded-anything": "",
}  # fmt: skip


@pytest.mark.parametrize("header", PROXIED)
def test_without_a_configured_secret_no_request_from_a_proxy_is_served(client: FlaskClient, header: str) -> None:
    for method, path in CLOSED:
        response = client.open(path, method=method, json={}, headers={header: PROXIED[header]})
        assert response.status_code == 403
        assert "APPRENTICE_SECRET" in response.get_json()["error"]
    ordinary = {"Accept": "*/*", "User-Agent": "python-requests/2.32", "X-Request-ID": "17", "Connection": "keep-alive"}
    assert client.get("/versions", headers=ordinary).status_code == 200


@pytest.mark.parametrize("header", PROXIED)
def test_with_the_secret_a_request_from_a_proxy_is_served(locked: FlaskClient, header: str) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", header: PROXIED[header]}
    assert locked.get("/versions", headers=headers).status_code == 200


def test_the_server_passes_the_headers_of_proxies_to_the_application(
    client: FlaskClient, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(port=free_port())
    server = make_server(client.application, settings)
    running = threading.Thread(target=server.run)
    running.start()
    try:
        for header, value in [("X-Request-ID", "17"), *PROXIED.items()]:
            response = httpx.get(f"{settings.address}/versions", headers={header: value, "Connection": "close"})
            assert response.status_code == (403 if header in PROXIED else 200), header
        while server.active_channels:  # waitress wants them to end before it does
            time.sleep(0.01)
    finally:
        server.close()
        running.join()


def test_neither_texts_nor_secrets_are_logged_or_repeated(
    locked: FlaskClient, server: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "patient 17 is called Miller"
    headers = {"Authorization": basic("apprentice", SECRET)}
    event = server.add_tasks([text])
    replies = [
        locked.post("/webhook", json=event, headers=headers),
        locked.post("/webhook", json={**event, "project": None, "note": text}, headers=headers),
        locked.post("/webhook", json=[text], headers=headers),
        locked.post("/webhook", data=f'{{"text": "{text}"', headers=headers),
        locked.post("/predict", json={"project": text, "tasks": [{"data": {"text": text}}]}, headers=headers),
        locked.post("/predict", json={"project": 5, "label_config": SINGLE, "tasks": [{"data": {"text": text}}]},
                    headers=headers),
        locked.post("/setup", json={"project": 5, "schema": text, "access_token": "t0ken"}, headers=headers),
        locked.get("/versions", headers={"Authorization": basic("apprentice", "wr0ng")}),
    ]  # fmt: skip
    printed = capsys.readouterr()
    output = "".join(reply.get_data(as_text=True) for reply in replies) + printed.out + printed.err
    for secret in ("Miller", SECRET, "t0ken", "wr0ng"):
        assert secret not in output, secret
