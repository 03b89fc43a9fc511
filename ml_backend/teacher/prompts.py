"""The prompts for the labels of texts. A change of their words alone asks no question anew: see `PROMPT_VERSION`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_backend.core.schema import ControlSchema
from ml_backend.core.teacher_types import LABEL, LabelField, Question
from ml_backend.core.types import read_record, record_text
from ml_backend.teacher.prompt_parts import MAX_TEXT_LENGTH, listed_labels, object_schema, question_id, shortened

TOKENS_PER_LABEL, TOKENS_PER_FIELD = 24, 20
"""Maximum number of tokens of a label in a reply, and of a property in addition to its labels."""


@dataclass(frozen=True, slots=True)
class LabelPrompt:
    """The part of a `label_question` that is the same for all texts.

    controls      that are asked about
    descriptions  of the labels, by the name of the control and by label
    refusal       an answer that the teacher may give instead of a label, "" for none
    named         whether also the property of a single control has the control's name, see
                  `ProjectSchema.names_controls`; otherwise its name is `LABEL`
    """

    controls: Sequence[ControlSchema]
    descriptions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    refusal: str = ""
    named: bool = False

    @property
    def fields(self) -> tuple[LabelField, ...]:
        """The properties of the reply, one for each control."""
        is_single = len(self.controls) == 1
        return tuple(
            LabelField(
                control.name if self.named or not is_single else LABEL,
                (*control.labels, *([self.refusal] if self.refusal else [])),
                control.multiple,
                named=self.named and is_single,
            )
            for control in self.controls
        )


def label_question(prompt: LabelPrompt, key: bytes, text: str, teacher: str) -> Question:
    """The question for the labels of a text, with a property of the reply for each control. `key`: the text's content
    key. A control that annotators may not be shown is answered, too, because the teacher cannot know whether they are
    shown it.

    Few-shot examples may be added. Neither they nor the descriptions are part of the id, because a better prompt is no
    reason to ask for a draft again.
    """
    fields = prompt.fields
    is_unnamed = len(fields) == 1 and not prompt.named
    identity = [
        [field.name, list(field.labels), field.multiple, list(control.hints)]
        for field, control in zip(fields, prompt.controls, strict=True)
    ]
    return Question(
        id=question_id(teacher, "label", key.hex(), *(identity[0][1:] if is_unnamed else [identity])),
        purpose="label",
        instructions=_label_instructions(prompt),
        text=_shown_text(text, prompt.controls),
        reply=object_schema({field.name: _labels_schema(field) for field in fields}),
        fields=fields,
        longest=_max_tokens(fields),
    )


def _label_instructions(prompt: LabelPrompt) -> str:
    controls, refusal = prompt.controls, prompt.refusal
    may_refuse = f' If no label fits, or it is not clear which, say "{refusal}".' if refusal else ""
    choices = [_decision(control) for control in controls]
    lists = [listed_labels(control, prompt.descriptions.get(control.name, {})) for control in controls]
    if len(controls) == 1:
        return f"You label texts. Say {choices[0]}, in JSON.{may_refuse}\n\nThe labels:\n{lists[0]}"
    kinds = (
        f'"{control.name}": say {choice}. The labels:\n{labels}'
        for control, choice, labels in zip(controls, choices, lists, strict=True)
    )
    return (
        f"You label texts. A text gets labels of {len(controls)} kinds; decide on each kind by itself. Answer in JSON, "
        f"with one property for each kind, under its name.{may_refuse}\n\n" + "\n\n".join(kinds)
    )


def _decision(control: ControlSchema) -> str:
    """What a reply says for a control, in words."""
    if control.antisymmetric:
        return f"which of the two texts, {' or '.join(map(repr, control.labels))}, an annotator would choose"
    return "every label that holds, or none of them" if control.multiple else "the one label that fits best"


def _shown_text(text: str, controls: Sequence[ControlSchema]) -> str:
    """The text of a task as it is sent: its beginning or, of texts that are compared, the beginning of each, so that
    neither side is at a disadvantage."""
    is_pair = any(control.antisymmetric for control in controls)
    record = read_record(text) if is_pair and len(text) > MAX_TEXT_LENGTH else {}
    if not record:
        return shortened(text)
    max_length = MAX_TEXT_LENGTH // len(record)
    return record_text({name: shortened(str(value), max_length) for name, value in record.items()})


def _labels_schema(field: LabelField) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "string", "enum": list(field.labels)}
    return {"type": "array", "items": value, "uniqueItems": True} if field.multiple else value


def _max_tokens(fields: Sequence[LabelField]) -> int:
    """The maximum number of tokens of a reply. With several fields, a reply may have the name of each field twice,
    because it may state how probable the labels of each are: the bytes of a name are more than its tokens twice."""
    tokens = sum(
        TOKENS_PER_FIELD + TOKENS_PER_LABEL * (min(len(field.labels), 10) if field.multiple else 1) for field in fields
    )
    return tokens if len(fields) == 1 else tokens + sum(len(field.name.encode()) for field in fields)


def as_examples(
    prompt: LabelPrompt, annotated: Sequence[tuple[str, Mapping[str, Sequence[str]]]]
) -> tuple[tuple[str, str], ...]:
    """Few-shot examples from texts and the annotators' labels: pairs of a text and the correct reply to it. A reply
    has no property for a control without labels. `annotated`: texts with their labels by the name of the control"""
    fields = {control.name: field for control, field in zip(prompt.controls, prompt.fields, strict=True)}
    return tuple(
        (
            _shown_text(text, prompt.controls),
            json.dumps(
                {
                    field.name: list(labels[name]) if field.multiple else labels[name][0]
                    for name, field in fields.items()
                    if name in labels
                },
                ensure_ascii=False,
            ),
        )
        for text, labels in annotated
    )
