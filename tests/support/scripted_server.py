"""A chat-completions endpoint on loopback whose replies a test scripts."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ml_backend.core.arrays import Floats
from ml_backend.core.teacher_types import LabelField, Question

KEY = "sk-this-is-the-secret-key"
LABELS = ("card_arrival", "card_lost", "exchange rate")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": list(LABELS)}},
    "required": ["label"],
    "additionalProperties": False,
}
LIST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"labels": {"type": "array", "items": {"type": "string", "enum": list(LABELS)}, "uniqueItems": True}},
    "required": ["labels"],
    "additionalProperties": False,
}


def question(number: int = 0, labels: tuple[str, ...] = LABELS, **values: Any) -> Question:
    """Returns a question for the label of one text."""
    defaults: dict[str, Any] = {
        "id": f"q{number}",
        "purpose": "label",
        "instructions": "Say which label the text has.",
        "text": f"text {number}",
        "reply": SCHEMA,
        "fields": (LabelField("label", labels),),
        "longest": 40,
    }
    return Question(**{**defaults, **values})


def list_question(number: int = 0, labels: tuple[str, ...] = LABELS, **values: Any) -> Question:
    """Returns a question for all labels of one text that hold."""
    return question(number, **{"reply": LIST_SCHEMA, "fields": (LabelField("labels", labels, True),), **values})


def two_field_question(number: int = 0, **values: Any) -> Question:
    """Returns a question for one label and for a list of labels of one text, in the fields "Größe" and "tone"."""
    properties = {"Größe": SCHEMA["properties"]["label"], "tone": LIST_SCHEMA["properties"]["labels"]}
    reply = {**SCHEMA, "properties": properties, "required": list(properties)}
    fields = LabelField("Größe", LABELS), LabelField("tone", LABELS, True)
    return question(number, **{"reply": reply, "fields": fields, **values})


def only_shares(answer: Any) -> Floats:
    """Returns the probabilities of an answer, or of a reading, to a question with one field."""
    (shares,) = answer.shares.values()
    return shares  # type: ignore[no-any-return]


def choice(content: Any, **values: Any) -> dict[str, Any]:
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    return {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **values}


def completion(*choices: dict[str, Any], tokens: tuple[int, int] = (10, 5)) -> dict[str, Any]:
    used = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return {"object": "chat.completion", "model": "m", "choices": list(choices), "usage": used}


def label(name: str = LABELS[0], **values: Any) -> dict[str, Any]:
    """Returns a completion with this label."""
    return completion(choice({"label": name}, **values))


def logprobs(*tokens: str | tuple[str, Mapping[str, float]]) -> dict[str, Any]:
    """Returns log-probabilities of tokens: certain ones, or pairs of a token and the probabilities of candidates."""
    entries = []
    for token in tokens:
        text, likely = (token, {token: 1.0}) if isinstance(token, str) else token
        top = [
            {"token": likely_token, "logprob": math.log(p) if p else -9999.0, "bytes": list(likely_token.encode())}
            for likely_token, p in likely.items()
        ]
        entries.append({**next(entry for entry in top if entry["token"] == text), "top_logprobs": top})
    return {"content": entries}


def likely_label(name: str = LABELS[0], probability: float = 0.8) -> dict[str, Any]:
    """Returns a completion with this label and its log-probabilities. The other labels share the rest evenly."""
    rest = (1 - probability) / (len(LABELS) - 1)
    likely = {f'"{candidate}"': probability if candidate == name else rest for candidate in LABELS}
    return label(name, logprobs=logprobs('{"label": ', (f'"{name}"', likely), "}"))


@dataclass(frozen=True)
class Reply:
    """`body`: JSON, or bytes as they are."""

    body: Any = field(default_factory=likely_label)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(frozen=True)
class Request:
    at: float
    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def text(self) -> str:
        text: str = json.loads(self.body["messages"][-1]["content"])["text"]
        return text

    @property
    def system(self) -> str:
        content: str = self.body["messages"][0]["content"]
        return content


@dataclass
class Server:
    url: str
    requests: list[Request]


@contextmanager
def serving(script: Callable[[Request, int], Reply] | Sequence[Reply]) -> Iterator[Server]:
    """Serves by a function of the request and its number, or these replies in turn, the last one for ever."""
    lock, stop = threading.Lock(), threading.Event()
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                requests.append(Request(time.monotonic(), json.loads(raw), headers, raw))
                number = len(requests) - 1
            say = script(requests[number], number) if callable(script) else script[min(number, len(script) - 1)]
            stop.wait(say.delay)
            body = say.body if isinstance(say.body, bytes) else json.dumps(say.body).encode()
            try:
                self.send_response(say.status)
                for name, value in {"Content-Type": "application/json", **say.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # nobody waits for it any more

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}/v1", requests)
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def refuse(status: int, message: str = "no", **error: Any) -> Reply:
    return Reply({"error": {"message": message, "type": "invalid_request_error", "code": None, **error}}, status)
