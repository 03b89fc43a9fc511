"""Sources of the probabilities of a teacher behind an endpoint, with servers that lack some parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from asking import ask, ask_one, create_teacher, outcomes
from scripted_server import (
    LABELS,
    SCHEMA,
    Reply,
    Request,
    choice,
    completion,
    label,
    list_question,
    only_shares,
    question,
    refuse,
    serving,
)

from ml_backend.core.teacher_types import SAMPLES_PER_LABEL


def dull(request: Request, number: int) -> Reply:
    """Has no log-probabilities, and returns as many choices as are requested."""
    labels = [LABELS[0], LABELS[1], LABELS[0], LABELS[0], LABELS[0]]
    return Reply(completion(*(choice({"label": name}) for name in labels[: request.body.get("n", 1)])))


def strict(*parameters: str) -> Any:
    """Returns a server that rejects these parameters and has no log-probabilities."""

    def script(request: Request, number: int) -> Reply:
        for name in parameters:
            if name in request.body:
                return refuse(400, f"Unsupported parameter: '{name}' is not supported here.")
        return dull(request, number)

    return script


def test_without_log_probabilities_several_replies_are_counted() -> None:
    with serving(dull) as server:
        teacher = create_teacher(server.url)
        first, second = ask(teacher, question(0), question(1))
    assert [request.body.get("n", 1) for request in server.requests] == [1, SAMPLES_PER_LABEL, SAMPLES_PER_LABEL], (
        "found out once"
    )
    assert server.requests[2].body["temperature"] == 1
    assert outcomes(first) == ["answered"] * 2 and outcomes(second) == ["answered"]
    assert first.shares is not None and second.shares is not None
    np.testing.assert_allclose(only_shares(first), [(5 + 1 / 3) / 7, (1 + 1 / 3) / 7, 1 / 21], atol=1e-6)
    np.testing.assert_allclose(only_shares(second), [(4 + 1 / 3) / 6, (1 + 1 / 3) / 6, 1 / 18], atol=1e-6)


def test_a_server_that_refuses_log_probabilities_is_not_asked_for_them_again() -> None:
    with serving(strict("logprobs")) as server:
        first, second = ask(create_teacher(server.url), question(0), question(1))
    assert outcomes(first) == ["failed", "answered", "answered"] and outcomes(second) == ["answered"]
    assert ["logprobs" in request.body for request in server.requests] == [True, False, False, False]


@pytest.mark.parametrize("refusing", [True, False])
def test_a_server_that_gives_one_choice_at_a_time_is_asked_for_each(refusing: bool) -> None:
    def ignoring(request: Request, number: int) -> Reply:
        return Reply(label(LABELS[number % 2]))

    with serving(strict("n") if refusing else ignoring) as server:
        first, second = ask(create_teacher(server.url, probabilities="samples"), question(0), question(1))
    assert outcomes(first) == ["failed"] * refusing + ["answered"] * SAMPLES_PER_LABEL
    assert outcomes(second) == ["answered"] * SAMPLES_PER_LABEL
    assert ["n" in request.body for request in server.requests] == [True] + [False] * (
        2 * SAMPLES_PER_LABEL - 1 + refusing
    )
    assert all(request.body["temperature"] == 1 for request in server.requests)
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(set(keys)) == len(keys), "each is another sample"
    assert first.shares is not None and only_shares(first).max() < 1


def test_the_message_of_llama_cpp_about_too_many_choices_is_understood() -> None:
    def script(request: Request, number: int) -> Reply:
        message = "Field 'n': Value must be between 1 <= value <= 2, but got 5"
        return refuse(400, message, code=400) if "n" in request.body else Reply(label())

    answer, requests = ask_one(script, probabilities="samples")
    assert len(requests) == 1 + SAMPLES_PER_LABEL and answer.content is not None


@pytest.mark.parametrize(
    ("message", "values", "parameter"),
    [
        ("response_format is not supported", {}, "response_format"),
        ("Invalid schema", {"param": "response_format"}, "response_format"),
        ("Unsupported parameter: use 'max_completion_tokens'", {"param": "max_tokens"}, "max_tokens"),
        ("'temperature' does not support 0 with this model", {}, "temperature"),
    ],
)
def test_a_parameter_that_is_refused_is_left_out_from_then_on(message: str, values: Any, parameter: str) -> None:
    def script(request: Request, number: int) -> Reply:
        return refuse(400, message, **values) if parameter in request.body else Reply()

    with serving(script) as server:
        first, second = ask(create_teacher(server.url), question(0), question(1))
    assert outcomes(first) == ["failed", "answered"] and outcomes(second) == ["answered"]
    last = server.requests[-1]
    if parameter == "response_format":
        assert "JSON schema" in last.system and '"card_arrival"' in last.system
    if parameter == "max_tokens":
        assert last.body["max_completion_tokens"] == 40


def test_a_server_that_takes_no_bounds_in_a_schema_still_enforces_the_labels() -> None:
    def script(request: Request, number: int) -> Reply:
        return (
            refuse(400, "Invalid schema: 'maxItems' is not permitted") if "maxItems" in str(request.body) else Reply()
        )

    reply = {**SCHEMA, "properties": {**SCHEMA["properties"], "why": {"type": "array", "maxItems": 2}}}
    with serving(script) as server:
        first, second = ask(create_teacher(server.url), *(replace(question(n), reply=reply) for n in range(2)))
    assert outcomes(first) == ["failed", "answered"] and outcomes(second) == ["answered"]
    sent = server.requests[-1].body["response_format"]["json_schema"]["schema"]["properties"]
    assert sent["label"]["enum"] and sent["why"] == {"type": "array"}


def test_a_parameter_whose_omission_does_not_help_is_sent_again_later() -> None:
    def script(request: Request, number: int) -> Reply:
        return refuse(400, "max_tokens and logprobs!") if request.text == "text 0" else Reply()

    with serving(script) as server:
        first, second = ask(create_teacher(server.url), question(0), question(1))
    assert first.content is None and outcomes(second) == ["answered"]
    assert {"logprobs", "max_tokens"} <= set(server.requests[-1].body)


def test_no_further_samples_are_requested_after_unusable_ones() -> None:
    answer, requests = ask_one([Reply(label("nonsense"))], probabilities="samples")
    assert answer.content is None and len(requests) == 2 and "n" in requests[1].body
    assert "could not be used" in requests[1].system


def test_a_stated_confidence_is_asked_for_and_not_kept() -> None:
    reply = completion(choice({"label": "card_lost", "confidence": 0.9}))
    answer, (request,) = ask_one([Reply(reply)], probabilities="stated")
    assert "logprobs" not in request.body and "n" not in request.body and '"confidence"' in request.system
    schema = request.body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["label", "confidence"] and not schema["additionalProperties"]
    assert answer.shares is not None
    np.testing.assert_allclose(only_shares(answer), [0.05, 0.9, 0.05], atol=1e-6)
    assert answer.content == {"label": "card_lost"}
    answer, requests = ask_one([Reply(label())], probabilities="stated")
    assert answer.content is None and len(requests) == 2, "it was not stated"


def test_a_question_that_has_a_confidence_by_itself_is_left_as_it_is() -> None:
    schema = {"type": "object", "properties": {"label": {}, "confidence": {"type": "number"}}}
    reply = {"label": "card_lost", "confidence": 0.9}
    answer, (request,) = ask_one([Reply(completion(choice(reply)))], question(reply=schema), probabilities="stated")
    assert answer.content == reply and request.body["response_format"]["json_schema"]["schema"] == schema
    assert answer.shares is not None
    np.testing.assert_allclose(only_shares(answer), [0.05, 0.9, 0.05], atol=1e-6)


def test_with_the_setting_logprobs_missing_ones_are_not_replaced_by_more_calls() -> None:
    answer, requests = ask_one(dull, probabilities="logprobs")
    assert len(requests) == 1 and answer.shares is not None


def test_a_question_without_labels_costs_one_call() -> None:
    asked = question(fields=(), reply={"type": "object"})
    for mode in ("auto", "samples"):
        answer, (request,) = ask_one([Reply(completion(choice({"description": "x"})))], asked, probabilities=mode)
        assert answer.content == {"description": "x"} and answer.shares is None
        assert request.body["temperature"] == 0 and not {"logprobs", "n"} & set(request.body)


def test_several_labels_are_sampled_too() -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply(completion(*[choice({"labels": ["card_lost", "card_arrival"]})] * request.body.get("n", 1)))

    answer, _ = ask_one(script, list_question(), probabilities="samples")
    assert answer.shares is not None
    np.testing.assert_allclose(only_shares(answer), [5.5 / 6, 5.5 / 6, 0.5 / 6], atol=1e-6)
