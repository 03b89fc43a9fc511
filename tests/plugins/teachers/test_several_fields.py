"""A question with several fields: one call, and the probabilities of each field from each source."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from asking import ask_one, outcomes
from scripted_server import LABELS, Reply, Request, choice, completion, logprobs, two_field_question
from teacher_contract import check

from ml_backend.core.teacher_types import SAMPLES_PER_LABEL, Answer, LabelField, TeacherOptions
from plugins.teachers.batch import BatchTeacher
from plugins.teachers.label_probabilities import MIN_PROBABILITY

CONTENT = {"Größe": "card_lost", "tone": ["card_arrival"]}


def shares_of(answer: Answer) -> dict[str, list[float]]:
    assert answer.shares is not None
    return {name: [round(share, 3) for share in shares.tolist()] for name, shares in answer.shares.items()}


@pytest.mark.parametrize("name", ["Größe", "Gr\\u00f6\\u00dfe"])
def test_the_tokens_of_each_property_give_its_probabilities(name: str) -> None:
    tokens = logprobs(
        f'{{"{name}": ', ('"card_lost"', {'"card_lost"': 0.6, '"card_arrival"': 0.3, '"exchange rate"': 0.1}),
        ', "tone": [', ('"card_arrival"', {'"card_arrival"': 0.8, "]": 0.2}), ("]", {"]": 0.9, ', "card_lost"': 0.1}),
        "}",
    )  # fmt: skip
    reply = f'{{"{name}": "card_lost", "tone": ["card_arrival"]}}'
    answer, requests = ask_one([Reply(completion(choice(reply, logprobs=tokens)))], two_field_question())
    assert answer.content == CONTENT and outcomes(answer) == ["answered"] and len(requests) == 1
    assert shares_of(answer) == {"Größe": [0.3, 0.6, 0.1], "tone": [0.8, 0.1, MIN_PROBABILITY]}


def test_properties_are_found_in_any_order_and_a_value_is_not_taken_for_a_property() -> None:
    fields = LabelField("tone", ("kind", "tone")), LabelField("kind", ("tone", "kind"))
    properties = {field.name: {"type": "string", "enum": list(field.labels)} for field in fields}
    asked = two_field_question(fields=fields, reply={"type": "object", "properties": properties})
    tokens = logprobs(
        '{"kind": ', ('"tone"', {'"tone"': 0.75, '"kind"': 0.25}),
        ', "tone": ', ('"kind"', {'"kind"': 0.5, '"to': 0.5}), "}",
    )  # fmt: skip
    reply = completion(choice('{"kind": "tone", "tone": "kind"}', logprobs=tokens))
    answer, _ = ask_one([Reply(reply)], asked)
    assert shares_of(answer) == {"tone": [0.5, 0.5], "kind": [0.75, 0.25]}


def test_a_property_whose_tokens_are_not_found_counts_as_one_sample() -> None:
    tokens = logprobs('{"Größe": ', ('"card_lost"', {'"card_lost"': 0.6, '"card_arrival"': 0.4}), ", …}")
    answer, _ = ask_one([Reply(completion(choice(CONTENT, logprobs=tokens)))], two_field_question())
    assert shares_of(answer) == {"Größe": [0.4, 0.6, 0.0], "tone": [0.75, 0.25, 0.25]}


def test_samples_are_counted_by_property_and_the_most_frequent_reply_is_kept() -> None:
    samples = [
        CONTENT, {"Größe": "card_lost", "tone": []}, {"tone": ["card_arrival"], "Größe": "card_lost"},
        {"Größe": "card_arrival", "tone": ["card_arrival"]}, {"Größe": "card_arrival", "tone": []},
    ]  # fmt: skip

    def script(request: Request, number: int) -> Reply:
        assert request.body["n"] == SAMPLES_PER_LABEL
        return Reply(completion(*map(choice, samples)))

    answer, requests = ask_one(script, two_field_question(), probabilities="samples")
    assert answer.content == CONTENT and len(requests) == 1
    expected = {"Größe": [(2 + 1 / 3) / 6, (3 + 1 / 3) / 6, 1 / 18], "tone": [3.5 / 6, 0.5 / 6, 0.5 / 6]}
    assert answer.shares is not None and answer.shares.keys() == expected.keys()
    for name, shares in expected.items():
        np.testing.assert_allclose(answer.shares[name], shares, atol=1e-6)


def test_a_confidence_is_stated_for_each_property() -> None:
    reply = {**CONTENT, "confidence": {"Größe": 0.9, "tone": 0.7}}
    answer, (request,) = ask_one([Reply(completion(choice(reply)))], two_field_question(), probabilities="stated")
    schema = request.body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["confidence"]["required"] == ["Größe", "tone"] == schema["required"][:2]
    assert schema["required"][2] == "confidence" and 'In "confidence", say for each of them' in request.system
    assert answer.content == CONTENT
    assert shares_of(answer) == {"Größe": [0.05, 0.9, 0.05], "tone": [0.7, 0.3, 0.3]}


@pytest.mark.parametrize("stated", [0.9, {"Größe": 0.9}, {"Größe": 0.9, "tone": "high"}])
def test_a_reply_that_states_no_confidence_for_a_property_is_malformed(stated: Any) -> None:
    reply = completion(choice({**CONTENT, "confidence": stated}))
    answer, _ = ask_one([Reply(reply)], two_field_question(), probabilities="stated")
    assert answer.content is None and outcomes(answer) == ["malformed", "malformed"]


def test_a_control_that_is_named_like_the_confidence_gets_its_own_labels() -> None:
    asked = two_field_question()
    properties = {"tone": asked.reply["properties"]["tone"], "confidence": asked.reply["properties"]["Größe"]}
    reply = {**asked.reply, "properties": properties, "required": list(properties)}
    fields = LabelField("tone", LABELS, True), LabelField("confidence", LABELS)
    content = {"tone": ["card_arrival"], "confidence": "card_lost"}
    answer, _ = ask_one(
        [Reply(completion(choice({**content, "confidence_": {"tone": 0.7, "confidence": 0.9}})))],
        replace(asked, reply=reply, fields=fields),
        probabilities="stated",
    )
    assert answer.content == content
    assert shares_of(answer) == {"tone": [0.7, 0.3, 0.3], "confidence": [0.05, 0.9, 0.05]}


@pytest.mark.parametrize("wrong", [{"Größe": "card_lost"}, {**CONTENT, "Größe": "new"}, {**CONTENT, "tone": ["new"]}])
def test_a_reply_with_a_missing_property_or_another_label_is_asked_for_again(wrong: dict[str, Any]) -> None:
    replies = [Reply(completion(choice(wrong))), Reply(completion(choice(CONTENT)))]
    answer, requests = ask_one(replies, two_field_question(), probabilities="logprobs")
    assert outcomes(answer) == ["malformed", "answered"] and answer.content == CONTENT
    assert "could not be used" in requests[1].system


@pytest.mark.parametrize("probabilities", ["stated", "samples", "logprobs"])
def test_a_batch_file_asks_about_all_fields_and_its_replies_come_back(probabilities: Any) -> None:
    asked = {question.id: question for question in map(two_field_question, range(3))}
    options = TeacherOptions(model="m", probabilities=probabilities)
    bodies = {
        entry["custom_id"]: entry["body"] for entry in map(json.loads, BatchTeacher.write(asked.values(), options))
    }
    assert bodies.keys() == asked.keys()
    stated = {"confidence": {"Größe": 0.9, "tone": 0.7}} if probabilities == "stated" else {}
    lines = [
        json.dumps(
            {
                "custom_id": question_id,
                "response": {
                    "status_code": 200, "body": completion(*[choice({**CONTENT, **stated})] * body.get("n", 1)),
                },
            }
        )
        for question_id, body in bodies.items()
    ]  # fmt: skip
    answers = list(BatchTeacher.read(lines, asked, Counter()))
    check(list(asked.values()), answers)
    assert [answer.content for answer in answers] == [CONTENT] * 3
    for answer in answers:
        shares = shares_of(answer)
        assert np.argmax(shares["Größe"]) == 1 and np.argmax(shares["tone"]) == 0
        if stated:
            assert shares == {"Größe": [0.05, 0.9, 0.05], "tone": [0.7, 0.3, 0.3]}
