"""The teacher behind an endpoint that is slow, full, wrong, out of credit or not there: who waits, what is paid."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from asking import ask, lying, make, one, outcomes
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
from plugins.teachers import chat_completions
from plugins.teachers.chat_completions import TRIES, retry_after
from plugins.teachers.openai import BREAKER, COOL_DOWN


def test_a_server_that_is_too_slow_is_asked_again() -> None:
    answer, requests = one([Reply(delay=5), Reply()], timeout=0.3)
    assert outcomes(answer) == ["failed", "answered"] and answer.content is not None
    assert 0.25 < answer.calls[0].seconds < 3
    first, second = (request.headers["idempotency-key"] for request in requests)
    assert first == second, "the server can tell that it is the same question"


def test_a_server_that_never_replies_in_time_fails() -> None:
    answer, _ = one([Reply(delay=5)], timeout=0.1)
    assert outcomes(answer) == ["failed"] * TRIES and "did not reply within 0.1 s" in answer.problem


def test_errors_of_the_server_are_waited_out() -> None:
    answer, requests = one([refuse(500), refuse(503), refuse(502), Reply()])
    assert outcomes(answer) == ["failed"] * 3 + ["answered"] and answer.content is not None
    assert len({request.headers["idempotency-key"] for request in requests}) == 1


def test_errors_that_do_not_end_fail_the_question() -> None:
    answer, requests = one([refuse(500)])
    assert len(requests) == TRIES and outcomes(answer) == ["failed"] * TRIES and "said 500" in answer.problem


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_a_server_asks_for_is_made_by_all(status: int) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply({}, status, {"Retry-After": "0.5"}) if number == 0 else Reply()

    with serving(script) as server:
        answers = ask(make(server.url), question(0), question(1))
    first, *others = server.requests
    assert len(answers) == 2 and all(later.at - first.at >= 0.5 for later in others)


def test_a_pause_until_a_date_is_made() -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    _, (first, second) = one([Reply({}, 429, {"Retry-After": format_datetime(until, usegmt=True)}), Reply()])
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


def test_a_pause_that_is_too_long_is_left_to_others() -> None:
    script = [Reply(), Reply({}, 429, {"Retry-After": "3600"})]
    with serving(script) as server:
        answers = make(server.url).answer([question(n) for n in range(5)])
        assert next(answers).content is not None
        assert outcomes(next(answers)) == ["failed"], "it was a call"
        with pytest.raises(TeacherUnavailableError, match="said 429") as caught:
            next(answers)
    assert caught.value.retry_after == 3600 and not caught.value.fatal and len(server.requests) == 2


def test_pauses_grow_and_are_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[float] = []
    monkeypatch.setattr(chat_completions.random, "uniform", lambda low, high: longest.append(high) or low)
    one([refuse(500)])
    assert longest == [0.001, 0.002, 0.004]


def test_nobody_there_is_said_after_the_answers_so_far() -> None:
    teacher = make(f"http://127.0.0.1:{free_port()}/v1")
    answers: list[Answer] = []
    with pytest.raises(TeacherUnavailableError, match="cannot be reached") as caught:
        answers.extend(answer for answer in teacher.answer([question(n) for n in range(9)]))
    assert caught.value.retry_after == COOL_DOWN and not caught.value.fatal


def test_after_some_failures_in_a_row_no_further_question_is_sent() -> None:
    with serving([Reply(), refuse(500)]) as server:
        teacher, answers = make(server.url), []
        with pytest.raises(TeacherUnavailableError, match="3 questions in a row") as caught:
            for answer in teacher.answer([question(n) for n in range(20)]):
                answers.append(answer)
        assert [outcomes(answer)[-1] for answer in answers] == ["answered"] + ["failed"] * BREAKER
        assert len(server.requests) == 1 + BREAKER * TRIES and not caught.value.fatal
        with pytest.raises(TeacherUnavailableError):  # one more failure is enough now
            list(teacher.answer([question(n) for n in range(20)]))
        assert len(server.requests) == 1 + (BREAKER + 1) * TRIES


def test_a_reply_ends_the_row_of_failures() -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply() if request.text in ("text 2", "text 5") else refuse(500)

    with serving(script) as server:
        answers = ask(make(server.url), *(question(n) for n in range(8)))
    assert [answer.content is None for answer in answers] == [True, True, False, True, True, False, True, True]


# what no patience helps against


@pytest.mark.parametrize(
    ("status", "setting"), [(401, "APPRENTICE_TEACHER_KEY"), (403, "APPRENTICE_TEACHER_KEY"), (404, "teacher_model")]
)
def test_a_wrong_key_or_model_says_what_to_change(status: int, setting: str) -> None:
    with serving([refuse(status, f"Incorrect key {KEY}")]) as server, pytest.raises(TeacherUnavailableError) as caught:
        list(make(server.url).answer([question(n) for n in range(5)]))
    said = str(caught.value)
    assert caught.value.fatal and setting in said and "APPRENTICE_TEACHER_URL" in said and str(status) in said
    assert KEY not in said and caught.value.__context__ is None, "nor what the server said of the key"
    assert len(server.requests) == 1


def test_what_is_under_way_when_it_gives_up_is_not_lost() -> None:
    def script(request: Request, number: int) -> Reply:
        return refuse(401) if request.text == "text 0" else Reply(delay=0.3)

    with serving(script) as server:
        answers: list[Answer] = []
        with pytest.raises(TeacherUnavailableError, match="refuses the key"):
            for answer in make(server.url, concurrency=3).answer([question(n) for n in range(9)]):
                answers.append(answer)
    assert {answer.question: outcomes(answer) for answer in answers} == {
        "q0": ["failed"], "q1": ["answered"], "q2": ["answered"],
    }  # fmt: skip


def test_what_was_paid_before_it_gave_up_is_told() -> None:
    with serving([Reply(label("nonsense")), refuse(401)]) as server:
        answers = make(server.url).answer([question()])
        assert outcomes(next(answers)) == ["malformed", "failed"]
        with pytest.raises(TeacherUnavailableError):
            next(answers)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}…"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(TeacherUnavailableError, match="APPRENTICE_TEACHER_KEY") as caught:
        list(make("http://127.0.0.1:1/v1", key=key).answer([question()]))
    assert caught.value.fatal and "secret" not in str(caught.value)


def test_a_teacher_without_a_model_says_so() -> None:
    with pytest.raises(TeacherUnavailableError, match="teacher_model") as caught:
        list(make("http://127.0.0.1:1/v1", model="").answer([question()]))
    assert caught.value.fatal


def test_without_a_key_none_is_borrowed_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    _, (request,) = one([Reply()], key="")
    assert "somebody" not in str(request.headers)


def test_a_request_that_the_server_refuses_is_dropped_and_the_next_one_sent() -> None:
    def script(request: Request, number: int) -> Reply:
        said = f"request exceeds the context size: {request.text}"
        return refuse(400, said, type="exceed_context_size_error") if request.text == "text 0" else Reply()

    with serving(script) as server:
        first, second = ask(make(server.url), question(0), question(1))
    assert outcomes(first) == ["refused"] and "(400, exceed_context_size_error)" in first.problem
    assert second.content is not None and len(server.requests) == 2


def test_a_server_that_takes_no_request_is_not_sent_all_of_them() -> None:
    with serving([refuse(413)]) as server, pytest.raises(TeacherUnavailableError, match="413") as caught:
        list(make(server.url).answer([question(n) for n in range(9)]))
    assert len(server.requests) == BREAKER and not caught.value.fatal


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"message": "Insufficient Balance"}), (429, {"code": "insufficient_quota", "type": "insufficient_quota"}),
        (400, {"message": "You have no credit: buy some."}), (422, {"message": "nothing is right"}),
    ],
)  # fmt: skip
def test_a_server_that_refuses_whatever_it_is_sent_leaves_all_questions_as_good_as_they_were(
    status: int, error: dict[str, str]
) -> None:
    with serving([refuse(status, **error)]) as server:
        teacher, answers = make(server.url, concurrency=2), []
        for _ in range(3):
            with pytest.raises(TeacherUnavailableError) as caught:
                for answer in teacher.answer([question(n) for n in range(8)]):
                    answers.append(answer)
    assert answers and {outcomes(answer)[-1] for answer in answers} == {"failed"}, "none of them may be dropped"
    credit = status in (402, 429)
    assert caught.value.fatal == credit and ("top up the account" in str(caught.value)) == credit


def test_credit_that_ends_on_the_way_drops_no_question() -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply() if number < 3 else refuse(400, "You have no credit.")

    with serving(script) as server:
        answers: list[Answer] = []
        with pytest.raises(TeacherUnavailableError):
            for answer in make(server.url).answer([question(n) for n in range(9)]):
                answers.append(answer)
    assert [outcomes(answer) for answer in answers] == [["answered"]] * 3 + [["failed"]] * BREAKER


def test_a_request_alone_that_is_refused_without_a_reason_is_dropped_once_another_one_was_taken() -> None:
    def script(request: Request, number: int) -> Reply:
        return refuse(400) if request.text in ("text 0", "text 2") else Reply()

    with serving(script) as server:
        answers = ask(make(server.url), question(0), question(1), question(2))
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
    answer, requests = one([refuse(400, **error)])
    assert outcomes(answer) == ["refused"] and len(requests) == 1


def test_texts_that_are_filtered_do_not_make_a_server_unavailable() -> None:
    with serving([refuse(400, code="content_filter")]) as server:
        assert len(ask(make(server.url), *(question(n) for n in range(2 * BREAKER)))) == 2 * BREAKER


def test_a_text_that_the_servers_filter_stops_is_refused() -> None:
    answer, _ = one([refuse(400, "filtered", code="content_filter")])
    assert outcomes(answer) == ["refused"] and "content_filter" in answer.problem


# what it costs


def worst(request: Request, number: int) -> Reply:
    """Is too late, gives one choice where more are wanted and no log-probabilities, does not say what it counted."""
    bare = {"choices": [choice({"label": LABELS[number % 3]} if number % 7 else "no")]}
    return Reply(bare, delay=1.0 if number % 4 == 3 else 0.0)


@pytest.mark.parametrize("script", [worst, [refuse(500)], [Reply(delay=1.0)], lying, [Reply(label("nonsense"))]])
@pytest.mark.parametrize("probabilities", ["auto", "samples", "logprobs", "stated"])
def test_no_question_takes_more_calls_or_costs_more_than_is_reckoned_with(script: Any, probabilities: str) -> None:
    options = ProjectSettings(teacher="openai", teacher_probabilities=probabilities)  # type: ignore[arg-type]
    budget = replace(Budget.of(options), input_price=1.0, output_price=10.0)
    asked = [*(question(n) for n in range(4)), list_question(5), question(6, field="", labels=(), text="猫" * 2000)]
    answers: list[Answer] = []
    with serving(script) as server, suppress(TeacherUnavailableError):
        teacher = make(server.url, probabilities=probabilities, timeout=0.1, concurrency=6)
        for answer in teacher.answer(asked):
            answers.append(answer)
    assert answers
    for answer in answers:
        its = next(each for each in asked if each.id == answer.question)
        assert len(answer.calls) <= budget.calls(its)
        assert sum(map(budget.cost, answer.calls)) <= budget.expected(its)


def test_a_call_that_came_to_nothing_is_for_nothing_only_if_it_was_surely_not_at_work() -> None:
    late, _ = one([Reply(delay=5)], timeout=0.1)
    assert all(call.input_tokens > 20 and call.output_tokens == 40 for call in late.calls)
    beyond, _ = one([refuse(504)])
    assert all(call.input_tokens > 20 and call.output_tokens == 40 for call in beyond.calls)
    for answer in (one([refuse(500)])[0], *make(f"http://127.0.0.1:{free_port()}/v1").answer([question()])):
        assert [(call.input_tokens, call.output_tokens) for call in answer.calls] == [(0, 0)] * TRIES


def test_a_reply_that_is_not_counted_costs_what_is_expected() -> None:
    bare = {key: value for key, value in likely_label().items() if key != "usage"}
    answer, _ = one([Reply(bare)])
    assert outcomes(answer) == ["answered"] and answer.calls[0].input_tokens > 20
    assert answer.calls[0].output_tokens == 40


# what the model does wrong
