"""What the doctor says of a teacher: without asking it anything, and without a key in its words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from plugin_overrides import OverridePlugins
from projects import set_up

from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer, Call, TeacherOptions
from ml_backend.core.types import content_key
from ml_backend.demo.server import free_port
from ml_backend.monitoring import doctor
from ml_backend.monitoring.doctor import Finding, Subject
from ml_backend.rendering.doctor_text import finding_sentences
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.teacher.health import check_teacher

KEY = "sk-this-is-the-secret-key"
SCHEMA = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal")),))


class Models(HTTPServer):
    """Lists its models to whoever has the key; remembers what it was asked for."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps({"data": [{"id": "small"}, {"id": "large"}]})
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Models

    def do_GET(self) -> None:
        self.server.paths.append(f"{self.command} {self.path}")
        status = self.server.status if self.headers["Authorization"] == f"Bearer {KEY}" else 401
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.server.body.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def models() -> Iterator[Models]:
    server = Models()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def examine(make_settings: Callable[..., Settings], store: Store) -> Callable[..., list[str]]:
    """The findings with these settings, as text; the project's own ones in `extra_params`."""

    def check(extra_params: dict[str, Any], **values: Any) -> list[str]:
        set_up(store, 5, connection={"ml": 1}, extra_params=extra_params)
        lines = []
        for found in check_teacher(make_settings(**values), store, store.projects.ensure(5)):
            finding = Finding(found.state, Subject.TEACHER, found.code, found.values, 5)
            lines += [f"{found.state}: {sentence}" for sentence in finding_sentences(finding)]
        assert not any(KEY in line for line in lines)
        return lines

    return check


def openai(**values: Any) -> dict[str, Any]:
    return {"teacher": "openai", "teacher_model": "small", **values}


def test_the_embedded_teacher_needs_nothing(examine: Callable[..., list[str]]) -> None:
    assert examine({}) == []


def test_a_server_that_answers_and_has_the_model_is_good_and_is_asked_nothing_else(
    examine: Callable[..., list[str]], models: Models, store: Store
) -> None:
    host = models.url.removeprefix("http://").removesuffix("/v1")
    server, state = examine(openai(), teacher_url=models.url, teacher_key=KEY)
    assert server == f"good: {host} answers and has small"
    assert state.startswith("notice: nothing has been asked yet")
    assert models.paths == ["GET /v1/models"] and store.ledger.spent(5)[""].calls == 0


@pytest.mark.parametrize(
    ("params", "values", "words"),
    [
        ({"teacher_model": ""}, {}, "wrong: openai needs a model: set teacher_model"),
        ({"teacher_model": "huge"}, {}, "does not list the model 'huge' (it lists: small, large): set teacher_model"),
        ({}, {"teacher_key": "another"}, "refuses the key (401): set APPRENTICE_TEACHER_KEY"),
        ({}, {"teacher_key": "two\nlines"}, "wrong: APPRENTICE_TEACHER_KEY has characters that no key has"),
        ({}, {"teacher_url": ""}, "good: OpenAI's own endpoint, with a key"),
        ({}, {"teacher_url": "", "teacher_key": ""}, "wrong: OpenAI's own endpoint, which is used without APPRENTICE"),
    ],
)
def test_what_is_missing_is_named_by_its_setting(
    examine: Callable[..., list[str]], models: Models, params: dict[str, Any], values: dict[str, Any], words: str
) -> None:
    findings = examine(openai(**params), **{"teacher_url": models.url, "teacher_key": KEY, **values})
    assert any(words in line for line in findings), findings


def test_a_server_that_is_not_there_is_named_without_what_may_be_secret_in_its_address(
    examine: Callable[..., list[str]],
) -> None:
    port = free_port()
    findings = examine(openai(), teacher_url=f"http://me:{KEY}@127.0.0.1:{port}/v1")
    assert findings[0].startswith(f"wrong: nothing answers at 127.0.0.1:{port}: start the teacher's server, or set")


@pytest.mark.parametrize(("status", "body"), [(404, "nothing"), (200, "no json"), (200, "[]"), (200, '{"data": [7]}')])
def test_a_server_that_lists_nothing_is_no_fault(
    examine: Callable[..., list[str]], models: Models, status: int, body: str
) -> None:
    models.status, models.body = status, body
    findings = examine(openai(), teacher_url=models.url, teacher_key=KEY)
    assert findings[0].startswith("notice: ") and f"answers ({status}), but does not list its models" in findings[0]


@pytest.mark.parametrize(
    ("url", "noticed"),
    [
        ("http://127.0.0.1:1/v1", False), ("http://[::1]:1/v1", False), ("http://10.1.2.3/v1", False),
        ("http://localhost:1/v1", False), ("http://llama:1/v1", False), ("http://llama.local/v1", False),
        ("", True), ("https://93.184.216.34/v1", True), ("https://api.example.com/v1", True),
    ],
)  # fmt: skip
def test_a_price_is_missed_only_where_somebody_else_may_charge_for_it(
    examine: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, url: str, noticed: bool
) -> None:
    import httpx

    def refuse(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("not in a test")

    monkeypatch.setattr(httpx, "get", refuse)
    advice = "set teacher_input_price and teacher_output_price"
    assert any(advice in line for line in examine(openai(), teacher_url=url)) == noticed
    assert not any(advice in line for line in examine(openai(teacher_output_price=2.0), teacher_url=url))


def ask(store: Store, name: str, text: str, *, answered: bool) -> None:
    asked = prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text), text, name)
    store.questions.add(5, name, [(asked, content_key(text))])
    if answered:
        call = Call("small", 0.1, 100, 10, "answered")
        store.questions.store_answer(5, Answer(asked.id, {"label": "fruit"}, None, (call,)), [0.5])


def test_what_came_of_it_so_far_is_told(examine: Callable[..., list[str]], models: Models, store: Store) -> None:
    values = {"teacher_url": models.url, "teacher_key": KEY}
    name = "openai:small"
    ask(store, name, "one", answered=True)
    ask(store, name, "two", answered=False)
    assert examine(openai(), **values)[-1] == "good: 1 question answered, 1 waiting"
    state = {"name": name, "model": "small", "problem": "The server said 500.", "until": store.clock.now() + 60}
    set_up(store, 5, teacher=state)
    assert examine(openai(), **values)[-1].startswith("wrong: The server said 500.; it is asked again in ")
    set_up(store, 5, teacher={**state, "until": 0.0})
    assert examine(openai(), **values)[-1] == "wrong: The server said 500."
    assert examine(openai(teacher_model="large"), **values)[-1].startswith("notice: nothing has been asked"), (
        "a new one"
    )
    spent = examine(openai(teacher_daily_calls=1), **values)[-1]
    assert spent.startswith("notice: the teacher's budget of today is spent (1 of teacher_daily_calls 1)")


def test_questions_that_wait_for_a_batch_are_told_with_the_command(
    examine: Callable[..., list[str]], store: Store
) -> None:
    ask(store, "batch:small", "one", answered=False)
    findings = examine({"teacher": "batch", "teacher_model": "small", "teacher_input_price": 1.0})
    assert findings == ["notice: 1 question waits: `apprentice teach --project 5 --export FILE`"]


def test_a_teacher_that_cannot_be_loaded_says_what_is_missing(
    examine: Callable[..., list[str]], override_plugins: OverridePlugins
) -> None:
    def fail(_: TeacherOptions) -> None:
        raise ImportError("No module named 'openai'")

    override_plugins({"teacher.openai": fail})
    (findings,) = examine(openai())
    assert findings.startswith("wrong: openai cannot be loaded (No module named 'openai'): install what it needs")


def test_the_doctor_looks_at_the_teacher_even_where_label_studio_does_not_answer(
    make_settings: Callable[..., Settings], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_encoder", lambda _: iter(()))
    set_up(store, 5, connection={"ml": 1}, extra_params={"teacher": "batch"})
    findings = {finding.subject: finding for finding in doctor.examine(make_settings(port=free_port()), 5)}
    assert findings[Subject.TEACHER].state in ("wrong", "notice")
