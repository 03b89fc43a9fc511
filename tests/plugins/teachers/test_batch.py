"""The teacher that is asked by file: questions become a file of requests, and a file of replies becomes answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scripted_server import KEY, choice, completion, label, likely_label, only_shares, question
from teacher_contract import CONTRACT_QUESTIONS, TeacherContract, check

from ml_backend.core.ports import BatchFormat, Teacher
from ml_backend.core.teacher_types import REASONING_TOKENS, Answer, Question, TeacherOptions
from plugins.teachers import batch, chat_messages, stated_confidence
from plugins.teachers.batch import BatchTeacher

BATCH: BatchFormat = BatchTeacher
QUESTIONS = {item.id: item for item in (question(n) for n in range(4))}


class TestBatchTeacherKeepsTheContract(TeacherContract):
    @pytest.fixture
    def teacher(self) -> Iterator[Teacher]:
        yield BatchTeacher(TeacherOptions(model="m", key=KEY))


def line(question_id: str, body: Any = None, status: int = 200, error: Any = None) -> str:
    response = {"status_code": status, "request_id": "r", "body": likely_label() if body is None else body}
    return json.dumps({"id": "b", "custom_id": question_id, "response": response, "error": error}) + "\n"


def read(*lines: str) -> tuple[list[Answer], dict[str, int]]:
    ignored: Counter[str] = Counter()
    answers = list(BATCH.read(lines, QUESTIONS, ignored))
    check(list(QUESTIONS.values()), answers)
    return answers, dict(ignored)


def test_its_questions_wait_for_an_export() -> None:
    teacher = BatchTeacher(TeacherOptions(model="m"))
    assert teacher.name == "batch:m" and list(teacher.answer(CONTRACT_QUESTIONS)) == []


def test_a_line_is_the_request_that_would_be_sent() -> None:
    lines = list(BATCH.write([*CONTRACT_QUESTIONS, *CONTRACT_QUESTIONS], TeacherOptions(model="m")))
    assert len(lines) == len(CONTRACT_QUESTIONS), "each question once"
    for asked, line in zip(CONTRACT_QUESTIONS, lines, strict=True):
        assert "\n" not in line and line.isascii()
        longer = batch.with_reasoning_tokens(asked)
        sent = stated_confidence.with_confidence(longer) if asked.fields else longer
        assert json.loads(line) == {
            "custom_id": asked.id, "method": "POST", "url": "/v1/chat/completions",
            "body": chat_messages.body(sent, "m", rejected={"temperature", "max_tokens"}),
        }  # fmt: skip


def test_the_file_of_the_questions_is_no_file_of_replies() -> None:
    answers, ignored = read(*BATCH.write(CONTRACT_QUESTIONS, TeacherOptions(model="m")))
    assert answers == [] and ignored == {"question": len(CONTRACT_QUESTIONS)}


@pytest.mark.parametrize(
    ("probabilities", "has"),
    [
        ("auto", {"max_completion_tokens"}),
        ("logprobs", {"logprobs", "top_logprobs", "max_tokens", "temperature"}),
        ("samples", {"n", "max_tokens"}), ("stated", {"max_completion_tokens"}),
    ],
)  # fmt: skip
def test_the_source_of_probabilities_decides_which_parameters_are_sent(probabilities: Any, has: set[str]) -> None:
    plain = question(1, fields=())
    options = TeacherOptions(model="m", probabilities=probabilities)
    first, second = (json.loads(written)["body"] for written in BATCH.write([question(), plain], options))
    always = {"model", "messages", "response_format"}
    assert set(first) == always | has and first.get("n", 5) == 5
    assert set(second) == always | has - {"n", "logprobs", "top_logprobs"}, "no probabilities are wanted of it"
    assert ("confidence" in first["messages"][0]["content"]) == (probabilities in ("auto", "stated"))


def test_a_model_may_reason_before_it_answers() -> None:
    written = [json.loads(line)["body"] for line in BATCH.write([question()], TeacherOptions(model="m"))]
    assert written[0]["max_completion_tokens"] == question().longest + REASONING_TOKENS
    reasoned = '<think>It says {"label": "card_arrival"}, but …</think>\n{"label": "card_lost", "confidence": 0.75}'
    (answer,), _ = read(line("q0", completion(choice(reasoned))))
    assert answer.content == {"label": "card_lost"} and answer.shares is not None and only_shares(answer).max() == 0.75


def test_after_an_unusable_reply_a_usable_one_is_taken_from_the_same_file() -> None:
    ignored: Counter[str] = Counter()
    lines = (line("q0", label("nonsense")), line("q0", label("card_lost")), line("q0"))
    contents = [answer.content for answer in BATCH.read(lines, QUESTIONS, ignored)]
    assert contents == [None, {"label": "card_lost"}] and ignored == {"repeated": 1}


def test_a_confidence_that_was_stated_is_read_and_not_kept() -> None:
    (answer,), _ = read(line("q0", completion(choice({"label": "card_lost", "confidence": 0.9}))))
    assert answer.content == {"label": "card_lost"} and answer.shares is not None
    np.testing.assert_allclose(only_shares(answer), [0.05, 0.9, 0.05], atol=1e-6)
    (answer,), _ = read(line("q0", completion(choice({"label": "nonsense", "confidence": 0.9}))))
    assert answer.content is None and [call.outcome for call in answer.calls] == ["malformed"]


def test_a_reply_without_token_counts_has_the_expected_tokens() -> None:
    bare = {key: value for key, value in likely_label().items() if key != "usage"}
    (answer,), _ = read(line("q0", bare))
    assert answer.calls[0].input_tokens > 20 and answer.calls[0].output_tokens == 40


def test_the_replies_are_read_as_those_of_a_server() -> None:
    samples = completion(*[choice({"label": "card_lost"})] * 3)
    (first, second), ignored = read(line("q1"), line("q0", samples))
    assert (first.question, first.content) == ("q1", {"label": "card_arrival"}) and not ignored
    assert first.shares is not None
    np.testing.assert_allclose(only_shares(first), [0.8, 0.1, 0.1], atol=1e-6)
    assert second.shares is not None and only_shares(second).argmax() == 1
    (call,) = first.calls
    assert (call.model, call.input_tokens, call.output_tokens, call.outcome) == ("m", 10, 5, "answered")


def test_lines_that_are_no_replies_are_counted() -> None:
    broken = ["no json\n", "[" * 100_000, "[]\n", '{"custom_id": 7}\n', line("q1")[:60]]
    answers, ignored = read(line("q0"), "\n", line("x"), line("q0"), *broken)
    assert [answer.question for answer in answers] == ["q0"]
    assert ignored == {"unreadable": 5, "unknown": 1, "repeated": 1}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line("q0", {}, 500), "500, unknown error"),
        (line("q0", {"error": {"code": "rate_limit_exceeded", "message": "text 0"}}, 429), "429, rate_limit_exceeded"),
        (line("q0", "nonsense", 400), "400, unknown error"),
        ('{"custom_id": "q0", "response": null, "error": {"code": "batch_expired"}}', "(batch_expired)"),
        ('{"custom_id": "q0", "response": null, "error": {"code": "text 0"}}', "(unknown error)"),
        ('{"custom_id": "q0"}', "(unknown error)"),
    ],
)  # fmt: skip
def test_a_failed_request_is_a_failed_call(bad: str, reason: str) -> None:
    (answer,), ignored = read(bad)
    assert answer.content is None and reason in answer.problem and not ignored
    assert [call.outcome for call in answer.calls] == ["failed"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (label("nonsense"), "malformed"), (label(finish_reason="length"), "malformed"), ("no", "malformed"),
        (label(finish_reason="content_filter"), "refused"), (7, "malformed"),
    ],
)  # fmt: skip
def test_an_unusable_reply_is_paid_for(body: Any, outcome: str) -> None:
    (answer,), _ = read(line("q0", body))
    assert answer.content is None and answer.problem and [call.outcome for call in answer.calls] == [outcome]


def test_a_question_goes_out_and_comes_back() -> None:
    asked: dict[str, Question] = {item.id: item for item in CONTRACT_QUESTIONS if item.fields == question().fields}
    requests = [json.loads(item) for item in BATCH.write(asked.values(), TeacherOptions(model="m"))]
    replies = [line(item["custom_id"]) for item in reversed(requests)]
    answers = list(BATCH.read(replies, asked, Counter()))
    check(list(asked.values()), answers)
    assert {answer.question for answer in answers} == set(asked)
