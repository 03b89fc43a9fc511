"""The client with a scripted server on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote_plus

import jwt
import pytest

from ml_backend.core.exceptions import (
    AccessDeniedError,
    LabelStudioError,
    NotFoundError,
    RequestRefusedError,
    UnreachableError,
)
from ml_backend.demo.server import free_port
from ml_backend.label_studio.client import LabelStudioClient

KEY = "c0ffee" * 6 + "beef"


class Scripted(ThreadingHTTPServer):
    """Responds with `status` and `content`, and records the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.content = b"{}"
        self.wait = threading.Event()
        self.slow = False
        self.requests: list[tuple[str, str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
        if self.server.slow:
            self.server.wait.wait(20)
        status, content = self.server.status, self.server.content
        if self.path == "/api/token/refresh/" and status == 200:
            content = json.dumps({"access": token(3600)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def token(seconds: float) -> str:
    return jwt.encode({"exp": time.time() + seconds}, "x" * 32, "HS256")


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents the SDK from sleeping between two tries."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    made = Scripted()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.wait.set()
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def client(scripted: Scripted) -> Iterator[LabelStudioClient]:
    made = LabelStudioClient(scripted.url + "/", KEY, timeout=5)
    yield made
    made.close()


def test_a_call_returns_the_parsed_response_and_sends_the_key(client: LabelStudioClient, scripted: Scripted) -> None:
    scripted.content = b'{"id": 5}'
    assert client.project(5) == {"id": 5}
    [(method, path, presented, _)] = scripted.requests
    assert (method, path.partition("?")[0], presented) == ("GET", "/api/projects/5", f"Token {KEY}")
    assert client.token_kind == "legacy token"


def test_a_body_is_sent_as_json(client: LabelStudioClient, scripted: Scripted) -> None:
    client.change_project(5, model_version="v1", sampling="x")
    method, path, _, body = scripted.requests[0]
    assert (method, path.partition("?")[0]) == ("PATCH", "/api/projects/5")
    assert json.loads(body) == {"model_version": "v1", "sampling": "x"}


def test_a_list_is_sent_as_a_list(client: LabelStudioClient, scripted: Scripted) -> None:
    client.call("POST", "api/projects/5/import/predictions", body=[{"task": 1, "score": 0.0}])
    assert json.loads(scripted.requests[0][3]) == [{"task": 1, "score": 0.0}]


def test_an_empty_response_is_none(client: LabelStudioClient, scripted: Scripted) -> None:
    scripted.status, scripted.content = 204, b""
    assert client.call("DELETE", "api/ml/3") is None


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # in the SDK's own code
def test_a_personal_token_is_exchanged_for_an_access_token(scripted: Scripted) -> None:
    personal = token(10**6)
    made = LabelStudioClient(scripted.url, personal, timeout=5)
    assert made.token_kind == "personal access token"
    made.project(5)
    refreshed = next(request for request in scripted.requests if request[1] == "/api/token/refresh/")
    assert json.loads(refreshed[3]) == {"refresh": personal}
    assert scripted.requests[-1][2].startswith("Bearer ")
    assert personal not in scripted.requests[-1][2]
    made.close()


def test_a_personal_token_that_has_expired_or_is_refused_is_denied(scripted: Scripted) -> None:
    with pytest.raises(AccessDeniedError) as expired:
        LabelStudioClient(scripted.url, token(-10), timeout=5).project(5)
    scripted.status = 401
    personal = token(10**6)
    made = LabelStudioClient(scripted.url, personal, timeout=5)
    with pytest.raises(AccessDeniedError) as refused:
        made.project(5)
    made.close()
    for error in (expired, refused):
        assert personal not in str(error.value)


def test_without_a_key_no_client_is_created() -> None:
    with pytest.raises(AccessDeniedError, match="APPRENTICE_LABEL_STUDIO_API_KEY"):
        LabelStudioClient("http://127.0.0.1:1", "")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, NotFoundError),
        (400, RequestRefusedError),
        (409, RequestRefusedError),
        (500, RequestRefusedError),
        (503, RequestRefusedError),
    ],
)
@pytest.mark.parametrize(
    "content", [b"", b"<html>oops</html>", b'{"detail": "no, because"}', b"[1]", b'"text"', b"\xff"]
)
def test_every_refusal_is_an_error_of_its_kind(
    client: LabelStudioClient, scripted: Scripted, status: int, kind: type[LabelStudioError], content: bytes
) -> None:
    scripted.status, scripted.content = status, content
    with pytest.raises(kind) as error:
        client.call("PATCH", "api/projects/5", body={"text": "task text"})
    assert type(error.value) is kind
    assert str(status) in str(error.value)
    assert KEY not in str(error.value)
    assert "task text" not in str(error.value)
    if b"because" in content:
        assert "no, because" in str(error.value)


def test_the_key_is_not_in_the_error_even_if_the_server_repeats_it(
    client: LabelStudioClient, scripted: Scripted
) -> None:
    scripted.status, scripted.content = 401, json.dumps({"detail": f"Invalid token {KEY}"}).encode()
    with pytest.raises(AccessDeniedError) as error:
        client.project(5)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("content", [b"<html>a login page</html>", b"{", b"\xff\xfe"])
def test_a_success_that_is_no_json_is_refused(client: LabelStudioClient, scripted: Scripted, content: bytes) -> None:
    scripted.content = content
    with pytest.raises(RequestRefusedError, match="JSON"):
        client.project(5)


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b""])
def test_a_project_that_is_no_object_is_empty(client: LabelStudioClient, scripted: Scripted, content: bytes) -> None:
    scripted.content = content
    assert client.project(5) == {}


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("POST", 1), ("PATCH", 1), ("DELETE", 1)])
def test_only_get_requests_are_retried(client: LabelStudioClient, scripted: Scripted, method: str, tries: int) -> None:
    scripted.status = 503
    with pytest.raises(RequestRefusedError):
        client.call(method, "api/projects/5")
    assert len(scripted.requests) == tries


def test_a_refused_connection_is_unreachable() -> None:
    port = free_port()
    made = LabelStudioClient(f"http://127.0.0.1:{port}", KEY, timeout=2)
    with pytest.raises(UnreachableError, match=str(port)) as error:
        made.project(5)
    assert KEY not in str(error.value)
    made.close()


def test_a_server_without_a_response_in_time_is_unreachable(client: LabelStudioClient, scripted: Scripted) -> None:
    scripted.slow = True
    with pytest.raises(UnreachableError):
        client.call("POST", "api/projects/5", timeout=0.2)


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[", "ftp://host", "http://host:99999", "http://a b/"])
def test_an_invalid_address_is_unreachable(url: str) -> None:
    with pytest.raises(LabelStudioError) as error:
        LabelStudioClient(url, KEY, timeout=1).project(5)
    assert KEY not in str(error.value)


def test_pages_are_read_to_the_end(client: LabelStudioClient, scripted: Scripted) -> None:
    scripted.content = json.dumps({"total": 5, "tasks": [{"id": 1}, {"id": 2}]}).encode()
    pages = client.task_pages(5, size=2, fields="all")
    assert len(list(pages)) == 2, "a server that repeats a page does not cause an endless loop"
    paths = [unquote_plus(path) for _, path, _, _ in scripted.requests]
    assert all("project=5" in path and "fields=all" in path and "page=1" in path for path in paths)
    assert all('"ordering": ["tasks:id"]' in path for path in paths), "in an order that nothing changes"
    assert '"operator": "greater", "type": "Number", "value": 2' in paths[1], "behind the last one of the first page"


def test_an_empty_list_is_one_empty_page(client: LabelStudioClient, scripted: Scripted) -> None:
    scripted.content = b'{"total": 0, "tasks": []}'
    assert list(client.task_pages(5)) == [[]]
