"""The teacher behind an endpoint that is slow, overloaded, wrong, out of credit or unavailable: retries, pauses and
costs."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from asking import ask, ask_one, create_teacher, outcomes, reply_wrongly
from scripted_server import (
    KEY,
    LABELS,
    Reply,
    Request,
    choice,
    label,
    likely_label,
    list_question,
    question,
    refuse,
    serving,
)

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Answer
from ml_backend.demo.server import free_port
from ml_backend.teacher.client import Budget
from plugins.teachers.chat_completions import MAX_TRIES, retry_after
from plugins.teachers.openai import COOL_DOWN_SECONDS, MAX_FAILURES_IN_A_ROW


def test_a_server_that_is_too_slow_is_asked_again() -> None:
    answer, requests = ask_one([Reply(delay=10), Reply()], timeout=2)
    assert outcomes(answer) == ["failed", "answered"] and answer.content is not None
    assert 1.9 < answer.calls[0].seconds < 10, "it is given up before the server replies"
    first, second = (request.headers["idempotency-key"] for request in requests)
    assert first == second, "the server can tell that it is the same question"


def test_a_server_that_never_replies_in_time_fails() -> None:
    answer, _ = ask_one([Reply(delay=5)], timeout=0.1)
    assert outcomes(answer) == ["failed"] * MAX_TRIES and "did not reply within 0.1 s" in answer.problem


def test_errors_of_the_server_are_waited_out() -> None:
    answer, requests = ask_one([refuse(500), refuse(503), refuse(502), Reply()])
    assert outcomes(answer) == ["failed"] * 3 + ["answered"] and answer.content is not None
    assert len({request.headers["idempotency-key"] for request in requests}) == 1


def test_errors_that_do_not_end_fail_the_question() -> None:
    answer, requests = ask_one([refuse(500)])
    assert len(requests) == MAX_TRIES and outcomes(answer) == ["failed"] * MAX_TRIES and "status 500" in answer.problem


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_a_server_asks_for_is_made_by_all(status: int) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply({}, status, {"Retry-After": "0.5"}) if number == 0 else Reply()

    with serving(script) as server:
        answers = ask(create_teacher(server.url), question(0), question(1))
    first, *others = server.requests
    assert len(answers) == 2 and all(later.at - first.at >= 0.5 for later in others)


def test_a_pause_until_a_date_is_made() -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    _, (first, second) = ask_one([Reply({}, 429, {"Retry-After": format_datetime(until, usegmt=True)}), Reply()])
    assert second.at - first.at > 0.5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None), ("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", None), ("nan", None), ("inf", None),
        ("Fri, 31 Dec 2027 23:59:59 GMT", 59), ("Fri, 31 Dec 2027 23:58:00 GMT", 0),
        ("Fri, 31 Dec 2027 23:59:59 -0000", 59), ("Fri, 99 Dec 2027 23:59:59 GMT", None),
    ],
)  # fmt: skip
def test_a_pause_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(header, datetime(2027, 12, 31, 23, 59, 0, tzinfo=UTC)) == seconds


def test_a_pause_that_is_too_long_makes_the_teacher_unavailable() -> None:
    script = [Reply(), Reply({}, 429, {"Retry-After": "3600"})]
    with serving(script) as server:
        answers = create_teacher(server.url).answer([question(n) for n in range(5)])
        assert next(answers).content is not None
        assert outcomes(next(answers)) == ["failed"], "it was a call"
        with pytest.raises(TeacherUnavailableError, match="status 429") as caught:
            next(answers)
    assert caught.value.retry_after == 3600 and not caught.value.fatal and len(server.requests) == 2


def test_pauses_grow_and_are_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[float] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: longest.append(high) or low)
    ask_one([refuse(500)])
    assert longest == [0.001, 0.002, 0.004]


def test_an_unreachable_server_is_reported_after_the_answers_so_far() -> None:
    teacher = create_teacher(f"http://127.0.0.1:{free_port()}/v1")
    answers: list[Answer] = []
    with pytest.raises(TeacherUnavailableError, match="cannot be reached") as caught:
        answers.extend(answer for answer in teacher.answer([question(n) for n in range(9)]))
    assert caught.value.retry_after == COOL_DOWN_SECONDS and not caught.value.fatal


def test_after_some_failures_in_a_row_no_further_question_is_sent() -> None:
    with serving([Reply(), refuse(500)]) as server:
        teacher, answers = create_teacher(server.url), []
        with pytest.raises(TeacherUnavailableError, match="3 questions in a row") as caught:
            for answer in teacher.answer([question(n) for n in range(20)]):
                answers.append(answer)
        assert [outcomes(answer)[-1] for answer in answers] == ["answered"] + ["failed"] * MAX_FAILURES_IN_A_ROW
        assert len(server.requests) == 1 + MAX_FAILURES_IN_A_ROW * MAX_TRIES and not caught.value.fatal
        with pytest.raises(TeacherUnavailableError):  # one more failure is enough now
            list(teacher.answer([question(n) for n in range(20)]))
        assert len(server.requests) == 1 + (MAX_FAILURES_IN_A_ROW + 1) * MAX_TRIES


def test_a_reply_ends_the_row_of_failures() -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply() if request.text in ("text 2", "text 5") else refuse(500)

    with serving(script) as server:
        answers = ask(create_teacher(server.url), *(question(n) for n in range(8)))
    assert [answer.content is None for answer in answers] == [True, True, False, True, True, False, True, True]


# errors that retries do not help against


@pytest.mark.parametrize(
    ("status", "setting"), [(401, "APPRENTICE_TEACHER_KEY"), (403, "APPRENTICE_TEACHER_KEY"), (404, "teacher_model")]
)
def test_a_wrong_key_or_model_names_the_setting(status: int, setting: str) -> None:
    with serving([refuse(status, f"Incorrect key {KEY}")]) as server, pytest.raises(TeacherUnavailableError) as caught:
        list(create_teacher(server.url).answer([question(n) for n in range(5)]))
    message = str(caught.value)
    assert caught.value.fatal and setting in message and "APPRENTICE_TEACHER_URL" in message and str(status) in message
    assert KEY not in message and caught.value.__context__ is None, "nor what the server said of the key"
    assert len(server.requests) == 1


def test_requests_under_way_when_the_teacher_gives_up_are_not_lost() -> None:
    def script(request: Request, number: int) -> Reply:
        return refuse(401) if request.text == "text 0" else Reply(delay=0.3)

    with serving(script) as server:
        answers: list[Answer] = []
        with pytest.raises(TeacherUnavailableError, match="refuses the key"):
            for answer in create_teacher(server.url, concurrency=3).answer([question(n) for n in range(9)]):
                answers.append(answer)
    assert {answer.question: outcomes(answer) for answer in answers} == {
        "q0": ["failed"], "q1": ["answered"], "q2": ["answered"],
    }  # fmt: skip


def test_paid_calls_are_reported_before_the_teacher_gives_up() -> None:
    with serving([Reply(label("nonsense")), refuse(401)]) as server:
        answers = create_teacher(server.url).answer([question()])
        assert outcomes(next(answers)) == ["malformed", "failed"]
        with pytest.raises(TeacherUnavailableError):
            next(answers)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}…"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(TeacherUnavailableError, match="APPRENTICE_TEACHER_KEY") as caught:
        list(create_teacher("http://127.0.0.1:1/v1", key=key).answer([question()]))
    assert caught.value.fatal and "secret" not in str(caught.value)


def test_a_teacher_without_a_model_names_the_setting() -> None:
    with pytest.raises(TeacherUnavailableError, match="teacher_model") as caught:
        list(create_teacher("http://127.0.0.1:1/v1", model="").answer([question()]))
    assert caught.value.fatal


def test_without_a_key_the_librarys_variable_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    _, (request,) = ask_one([Reply()], key="")
    assert "another" not in str(request.headers)


def test_a_request_that_the_server_refuses_is_dropped_and_the_next_one_sent() -> None:
    def script(request: Request, number: int) -> Reply:
        message = f"request exceeds the context size: {request.text}"
        return refuse(400, message, type="exceed_context_size_error") if request.text == "text 0" else Reply()

    with serving(script) as server:
        first, second = ask(create_teacher(server.url), question(0), question(1))
    assert outcomes(first) == ["refused"] and "(400, exceed_context_size_error)" in first.problem
    assert second.content is not None and len(server.requests) == 2


def test_a_server_that_rejects_every_request_is_sent_only_a_few() -> None:
    with serving([refuse(413)]) as server, pytest.raises(TeacherUnavailableError, match="413") as caught:
        list(create_teacher(server.url).answer([question(n) for n in range(9)]))
    assert len(server.requests) == MAX_FAILURES_IN_A_ROW and not caught.value.fatal


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"message": "Insufficient Balance"}), (429, {"code": "insufficient_quota", "type": "insufficient_quota"}),
        (400, {"message": "You have no credit: buy some."}), (422, {"message": "nothing is right"}),
    ],
)  # fmt: skip
def test_a_server_that_rejects_every_request_leaves_all_questions_open(status: int, error: dict[str, str]) -> None:
    with serving([refuse(status, **error)]) as server:
        teacher, answers = create_teacher(server.url, concurrency=2), []
        for _ in range(3):
            with pytest.raises(TeacherUnavailableError) as caught:
                for answer in teacher.answer([question(n) for n in range(8)]):
                    answers.append(answer)
    assert answers and {outcomes(answer)[-1] for answer in answers} == {"failed"}, "none of them may be dropped"
    credit = status in (402, 429)
    assert caught.value.fatal == credit and ("top up the account" in str(caught.value)) == credit


def test_no_question_is_dropped_when_the_credit_runs_out() -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply() if number < 3 else refuse(400, "You have no credit.")

    with serving(script) as server:
        answers: list[Answer] = []
        with pytest.raises(TeacherUnavailableError):
            for answer in create_teacher(server.url).answer([question(n) for n in range(9)]):
                answers.append(answer)
    assert [outcomes(answer) for answer in answers] == [["answered"]] * 3 + [["failed"]] * MAX_FAILURES_IN_A_ROW


def test_a_request_rejected_without_a_reason_is_dropped_after_another_one_is_accepted() -> None:
    def script(request: Request, number: int) -> Reply:
        return refuse(400) if request.text in ("text 0", "text 2") else Reply()

    with serving(script) as server:
        answers = ask(create_teacher(server.url), question(0), question(1), question(2))
    assert [(answer.question, outcomes(answer)) for answer in answers] == [
        ("q0", ["refused"]), ("q1", ["answered"]), ("q2", ["failed"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded"}, {"code": "content_policy_violation"},
        {"type": "exceed_context_size_error"},
        {"message": "This model's maximum context length is 4096 tokens, with 40 in max_tokens", "code": 400},
        {"message": "prompt is too long: 9000 tokens > 8000 maximum"},
    ],
)  # fmt: skip
def test_a_text_that_is_too_long_or_not_allowed_is_refused_for_good(error: dict[str, Any]) -> None:
    answer, requests = ask_one([refuse(400, **error)])
    assert outcomes(answer) == ["refused"] and len(requests) == 1


def test_texts_that_are_filtered_do_not_make_a_server_unavailable() -> None:
    with serving([refuse(400, code="content_filter")]) as server:
        assert (
            len(ask(create_teacher(server.url), *(question(n) for n in range(2 * MAX_FAILURES_IN_A_ROW))))
            == 2 * MAX_FAILURES_IN_A_ROW
        )


def test_a_text_that_the_servers_filter_stops_is_refused() -> None:
    answer, _ = ask_one([refuse(400, "filtered", code="content_filter")])
    assert outcomes(answer) == ["refused"] and "content_filter" in answer.problem


# costs


def worst(request: Request, number: int) -> Reply:
    """Replies too late, with one choice where more are wanted, without log-probabilities, and without token counts."""
    bare = {"choices": [choice({"label": LABELS[number % 3]} if number % 7 else "no")]}
    return Reply(bare, delay=1.0 if number % 4 == 3 else 0.0)


@pytest.mark.parametrize(
    "script", [worst, [refuse(500)], [Reply(delay=1.0)], reply_wrongly, [Reply(label("nonsense"))]]
)
@pytest.mark.parametrize("probabilities", ["auto", "samples", "logprobs", "stated"])
def test_no_question_takes_more_calls_or_costs_more_than_the_budget_assumes(script: Any, probabilities: str) -> None:
    options = ProjectSettings(teacher="openai", teacher_probabilities=probabilities)
    budget = replace(Budget.of(options), input_price=1.0, output_price=10.0)
    questions = [*(question(n) for n in range(4)), list_question(5), question(6, fields=(), text="猫" * 2000)]
    answers: list[Answer] = []
    with serving(script) as server, suppress(TeacherUnavailableError):
        teacher = create_teacher(server.url, probabilities=probabilities, timeout=0.1, concurrency=6)
        for answer in teacher.answer(questions):
            answers.append(answer)
    assert answers
    for answer in answers:
        asked = next(candidate for candidate in questions if candidate.id == answer.question)
        assert len(answer.calls) <= budget.calls(asked)
        assert sum(map(budget.cost, answer.calls)) <= budget.max_cost(asked)


def test_a_failed_call_costs_nothing_only_if_the_server_surely_did_no_work() -> None:
    late, _ = ask_one([Reply(delay=5)], timeout=0.1)
    assert all(call.input_tokens > 20 and call.output_tokens == 40 for call in late.calls)
    beyond, _ = ask_one([refuse(504)])
    assert all(call.input_tokens > 20 and call.output_tokens == 40 for call in beyond.calls)
    for answer in (
        ask_one([refuse(500)])[0],
        *create_teacher(f"http://127.0.0.1:{free_port()}/v1").answer([question()]),
    ):
        assert [(call.input_tokens, call.output_tokens) for call in answer.calls] == [(0, 0)] * MAX_TRIES


def test_a_reply_without_token_counts_has_the_expected_tokens() -> None:
    bare = {key: value for key, value in likely_label().items() if key != "usage"}
    answer, _ = ask_one([Reply(bare)])
    assert outcomes(answer) == ["answered"] and answer.calls[0].input_tokens > 20
    assert answer.calls[0].output_tokens == 40
