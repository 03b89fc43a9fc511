"""The questions for the labels of one control, which stay as they are, and of several controls in one call."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator
from scripted_server import choice, completion
from scripted_teacher import ScriptedTeacher

from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import MAX_TEXT_LENGTH, LabelField
from ml_backend.core.types import LabelValue, read_record, record_text
from ml_backend.simulation.cached_teacher import PROJECT_ID, CachedTeacher
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.teacher.client import Budget, TeacherClient
from ml_backend.teacher.prompts import LabelPrompt
from plugins.teachers import chat_messages, stated_confidence
from plugins.teachers.chat_completions import expected_tokens

KEY = bytes(range(16))
TOPIC = ChoicesSchema("topic", "text", ("fruit", "métal"), multiple=False, hints=("grows on trees", ""))
TONES = ChoicesSchema("tone & style", "text", ("angry", "calm", "brief"), multiple=True, conditional=True)
DESCRIPTIONS = {"topic": {"fruit": "it grows"}, "tone & style": {"calm": "at ease"}}
FREE = Budget(0.0, 0.0, 0.0, 0.0, 0)

# recorded from the release before questions could have several fields
ONE_LABEL = "You label texts. Say the one label that fits best, in JSON."
ALL_LABELS = "You label texts. Say every label that holds, or none of them, in JSON."
OR_UNCLEAR = ' If no label fits, or it is not clear which, say "unclear".'
LISTED = "\n\nThe labels:\n- fruit: it grows\n- métal"
EARLIER_QUESTIONS = [
    (False, "", "5b546075c6b0a96bafb4c8e3124321df", "9124d7b5734fb9331008baee23fa3042", ONE_LABEL, 44),
    (False, "unclear", "a2d3fbd45f6f0020403aa22c345e69d9", "b9b37cf4a50a0ba0354de3e81be7cd99", ONE_LABEL, 44),
    (True, "", "55f116c873a2f1cec2c85dc6a5a938b5", "25fe64e40b6a4d6a90bde19e4cbcc2aa", ALL_LABELS, 68),
    (True, "unclear", "a562df5245fc80fb6617714bbf6e4faa", "409ed13a17a69c7483de6936dfe979ef", ALL_LABELS, 92),
]


@pytest.mark.parametrize(("multiple", "refusal", "digest", "cache_key", "opening", "longest"), EARLIER_QUESTIONS)
def test_the_question_about_a_single_control_is_that_of_earlier_releases(
    store: Store, multiple: bool, refusal: str, digest: str, cache_key: str, opening: str, longest: int
) -> None:
    control = replace(TOPIC, multiple=multiple, hints=() if multiple else TOPIC.hints)
    asked = prompts.label_question(LabelPrompt([control], DESCRIPTIONS, refusal), KEY, "an apple", "openai:small")
    labels = ("fruit", "métal", *([refusal] if refusal else []))
    assert asked.id == f"label-{digest}" and asked.longest == longest
    assert asked.instructions == f"{opening}{OR_UNCLEAR if refusal else ''}{LISTED}"
    assert asked.fields == (LabelField("label", labels, multiple),)
    value = {"type": "string", "enum": list(labels)}
    assert asked.reply == {
        "type": "object",
        "properties": {"label": {"type": "array", "items": value, "uniqueItems": True} if multiple else value},
        "required": ["label"],
        "additionalProperties": False,
    }

    examples = prompts.as_examples(LabelPrompt([control]), [("zinc", {"topic": ("métal",)})])
    assert examples == (("zinc", '{"label": ["métal"]}' if multiple else '{"label": "métal"}'),)
    cached = CachedTeacher(store, TeacherClient(store, PROJECT_ID, ScriptedTeacher("fruit"), FREE))
    list(cached.answer([replace(asked, examples=examples)]))
    assert [question.id for question in store.questions.all(PROJECT_ID)] == [cache_key], "recorded replies are found"


def test_several_controls_are_asked_about_at_once_with_a_property_for_each() -> None:
    asked = prompts.label_question(LabelPrompt([TOPIC, TONES], DESCRIPTIONS), KEY, "an apple", "openai:small")
    assert asked.instructions == (
        "You label texts. A text gets labels of 2 kinds; decide on each kind by itself. Answer in JSON, with one "
        "property for each kind, under its name.\n\n"
        '"topic": say the one label that fits best. The labels:\n- fruit: it grows\n- métal\n\n'
        '"tone & style": say every label that holds, or none of them. The labels:\n- angry\n- calm: at ease\n- brief'
    )
    assert asked.fields == (LabelField("topic", TOPIC.labels), LabelField("tone & style", TONES.labels, True))
    validator = Draft202012Validator(asked.reply)
    assert validator.is_valid({"topic": "fruit", "tone & style": []})
    assert not validator.is_valid({"topic": "fruit"}), "a control that may be hidden is answered, too"
    assert not validator.is_valid({"topic": "calm", "tone & style": ["calm"]})


def test_the_controls_their_names_and_their_order_identify_the_question() -> None:
    variants = [
        [TOPIC],
        [TOPIC, TONES],
        [TONES, TOPIC],
        [replace(TOPIC, name="subject"), TONES],
        [TOPIC, replace(TONES, multiple=False)],
        [TOPIC, replace(TONES, hints=("rude", "", ""))],
    ]
    ids = [prompts.label_question(LabelPrompt(controls), KEY, "an apple", "openai:small").id for controls in variants]
    assert len(set(ids)) == len(variants)
    described = prompts.label_question(LabelPrompt([TOPIC, TONES], DESCRIPTIONS), KEY, "an apple", "openai:small")
    assert described.id == ids[1]


def test_the_question_about_one_of_several_controls_names_it() -> None:
    subject = replace(TOPIC, name="subject")
    asked = [prompts.label_question(LabelPrompt([control], named=True), KEY, "x", "t") for control in (TOPIC, subject)]
    plain = prompts.label_question(LabelPrompt([TOPIC]), KEY, "x", "t")
    assert len({question.id for question in (*asked, plain)}) == 3
    assert [question.fields[0].name for question in asked] == ["topic", "subject"]
    assert asked[0].reply["required"] == ["topic"] and asked[0].instructions == plain.instructions
    assert prompts.as_examples(LabelPrompt([TOPIC], named=True), [("zinc", {"topic": ("métal",)})]) == (
        ("zinc", '{"topic": "métal"}'),
    )


def test_the_question_about_a_control_with_the_name_label_is_another_one_in_a_project_with_several_controls() -> None:
    alone, beside_others = (LabelPrompt([replace(TOPIC, name="label")], named=named) for named in (False, True))
    assert [prompt.fields[0].name for prompt in (alone, beside_others)] == ["label", "label"]
    assert [prompt.fields[0].named for prompt in (alone, beside_others)] == [False, True]
    ids = {prompts.label_question(prompt, KEY, "x", "t").id for prompt in (alone, beside_others)}
    assert len(ids) == 2


def test_a_refusal_may_take_the_place_of_the_labels_of_each_control() -> None:
    asked = prompts.label_question(LabelPrompt([TOPIC, TONES], refusal="unclear"), KEY, "an apple", "openai:small")
    assert all(field.labels[-1] == "unclear" for field in asked.fields) and OR_UNCLEAR in asked.instructions


def test_examples_have_the_labels_of_the_controls_that_annotators_have_answered() -> None:
    annotated: list[tuple[str, dict[str, LabelValue]]] = [
        ("zinc", {"topic": ("métal",), "tone & style": ("calm", "brief")}),
        ("plum", {"tone & style": ()}),
        ("iron", {"topic": ("métal",)}),
    ]
    examples = prompts.as_examples(LabelPrompt([TOPIC, TONES]), annotated)
    assert [(text, json.loads(reply)) for text, reply in examples] == [
        ("zinc", {"topic": "métal", "tone & style": ["calm", "brief"]}),
        ("plum", {"tone & style": []}),
        ("iron", {"topic": "métal"}),
    ]


def test_a_reply_without_one_of_the_properties_is_malformed() -> None:
    asked = prompts.label_question(LabelPrompt([TOPIC, TONES]), KEY, "an apple", "openai:small")
    reading = chat_messages.read(asked, completion(choice({"topic": "fruit"})))
    assert (reading.content, reading.shares, reading.outcome) == (None, None, "malformed")
    assert "required" in reading.problem
    reading = chat_messages.read(replace(asked, reply={}), completion(choice({"topic": "fruit"})))
    assert reading.outcome == "malformed" and '"tone & style"' in reading.problem


@pytest.mark.parametrize("n_controls", [1, 2, 30])
def test_the_budget_covers_the_longest_request_and_reply_for_any_number_of_controls(n_controls: int) -> None:
    names = [f"the kind with the number {number}" for number in range(n_controls)]
    controls = [replace(TONES, name=name) for name in names]
    asked = prompts.label_question(LabelPrompt(controls), KEY, "an apple", "openai:small")
    request = chat_messages.body(stated_confidence.with_confidence(asked), "small")
    sent_bytes = len(json.dumps(request, ensure_ascii=False).encode())
    by_input = Budget.of(ProjectSettings(teacher_input_price=1.0))
    assert sent_bytes <= by_input.max_cost(asked) * 1e6 / by_input.calls(asked) * 3
    assert expected_tokens(request)[0] <= by_input.max_cost(asked) * 1e6 / by_input.calls(asked)

    fields = [field.name for field in asked.fields]
    reply = dict.fromkeys(fields, TONES.labels) | {"confidence": dict.fromkeys(fields, 0.95)}
    assert asked.longest >= len(json.dumps(reply)) / 4, "an English token has about four characters"
    by_output = Budget.of(ProjectSettings(teacher_output_price=1.0, teacher_probabilities="stated"))
    assert by_output.max_cost(asked) * 1e6 >= by_output.calls(asked) * asked.longest


BETTER = ChoicesSchema("better", "t1", ("left", "right"), multiple=False, tag="Pairwise", antisymmetric=True)


def test_the_question_about_a_comparison_shows_both_texts_by_their_sides() -> None:
    text = record_text({"left": "an apple", "right": "a nail"})
    asked = prompts.label_question(LabelPrompt([BETTER]), KEY, text, "t")
    assert asked.text == text
    assert "which of the two texts, 'left' or 'right', an annotator would choose" in asked.instructions
    assert asked.fields == (LabelField("label", ("left", "right"), False),)
    both = prompts.label_question(LabelPrompt([TOPIC, BETTER]), KEY, text, "t")
    assert '"better": say which of the two texts' in both.instructions
    assert '"topic": say the one label that fits best' in both.instructions


def test_of_long_texts_that_are_compared_the_beginning_of_each_is_sent() -> None:
    text = record_text({"left": "l" * 20_000, "right": "r" * 9000, "prompt": "Which?"})
    shown = read_record(prompts.label_question(LabelPrompt([BETTER]), KEY, text, "t").text)
    assert shown["prompt"] == "Which?"
    assert len(shown["left"]) == len(shown["right"]) == MAX_TEXT_LENGTH // 3 + len(" …")
    [(example, _)] = prompts.as_examples(LabelPrompt([BETTER]), [(text, {"better": ("left",)})])
    assert read_record(example) == shown
