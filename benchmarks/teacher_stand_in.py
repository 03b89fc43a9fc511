"""A stand-in for a teacher: a chat-completions endpoint on loopback that is slow, needs no CPU and is mostly right."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ml_backend.core.settings import ProjectSettings

REPLY_SECONDS = 0.5
RIGHT = 0.8  # share of the labels that are not drawn at random

AT_WORK = ProjectSettings(
    teacher="openai",
    teacher_model="stand-in",
    teacher_probabilities="stated",
    teacher_labels=2000,
    teacher_daily_calls=0,
)
"""Options of a project whose queue and pool the teacher labels continuously."""


@contextmanager
def teacher(label_of: Mapping[str, str], labels: Sequence[str]) -> Iterator[str]:
    """Yields the address of an endpoint that labels texts. It replies to other questions with an empty object."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stop.wait(REPLY_SECONDS)
            content = json.dumps(_reply(body, label_of, labels))
            choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 200, "completion_tokens": 10}
            reply = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _reply(body: Mapping[str, Any], label_of: Mapping[str, str], labels: Sequence[str]) -> dict[str, Any]:
    if "label" not in body["response_format"]["json_schema"]["schema"]["properties"]:
        return {}
    text = json.loads(body["messages"][-1]["content"])["text"]
    label = label_of.get(text) if random.random() < RIGHT else None
    return {"label": label or random.choice(labels), "confidence": 0.85}
