"""The prompts for the labels of texts. A change of their words alone asks no question anew: see `PROMPT_VERSION`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ml_backend.core.schema import ControlSchema, compares_pair
from ml_backend.core.teacher_types import LABEL, MAX_TEXT_LENGTH, LabelField, Question, ReplyFields, ValueField
from ml_backend.core.types import LabelValue, read_record, record_text
from ml_backend.kinds.base import ReplyFormat
from ml_backend.kinds.lookup import kind_of
from ml_backend.teacher.prompt_parts import object_schema, question_id, shortened


@dataclass(frozen=True)  # without slots, for the cached properties: one prompt serves many texts
class LabelPrompt:
    """The part of a `label_question` that is the same for all texts.

    controls      that are asked about
    descriptions  of the labels, by the name of the control and by label
    refusal       an answer that the teacher may give instead of a label, "" for none
    named         whether also the property of a single control has the control's name, see
                  `ProjectSchema.names_controls`; otherwise its name is `LABEL`. A property without labels always has
                  the control's name
    """

    controls: Sequence[ControlSchema]
    descriptions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    refusal: str = ""
    named: bool = False

    @cached_property
    def asked_controls(self) -> list[ControlSchema]:
        """The controls that a teacher is asked about."""
        return [control for control in self.controls if kind_of(control).reply_format(control) is not None]

    @cached_property
    def formats(self) -> dict[str, ReplyFormat]:
        """The format of each property of the reply, one for each of `asked_controls`, by the name of the property."""
        formats = {}
        for control in self.asked_controls:
            of_control = self.descriptions.get(control.name, {})
            if reply_format := kind_of(control).reply_format(control, of_control, self.refusal):
                is_named = self.named or len(self.controls) > 1 or not reply_format.labels
                formats[control.name if is_named else LABEL] = reply_format
        return formats

    @cached_property
    def fields(self) -> tuple[LabelField, ...]:
        """The properties of the reply whose probabilities are needed."""
        formats = self.formats
        return tuple(
            LabelField(name, reply.labels, reply.multiple, named=self.named and len(formats) == 1)
            for name, reply in formats.items()
            if reply.labels
        )

    @cached_property
    def value_fields(self) -> tuple[ValueField, ...]:
        """The other properties of the reply."""
        return tuple(ValueField(name, reply.digest) for name, reply in self.formats.items() if not reply.labels)

    @property
    def reply_fields(self) -> ReplyFields:
        """As `Question.reply_fields`."""
        return self.fields, self.value_fields


def label_question(prompt: LabelPrompt, key: bytes, text: str, teacher: str) -> Question:
    """The question for the labels of a text, with a property of the reply for each control. `key`: the text's content
    key. A control that annotators may not be shown is answered, too, because the teacher cannot know whether they are
    shown it.

    Few-shot examples may be added. Neither they nor the descriptions are part of the id, because a better prompt is no
    reason to ask for a draft again.
    """
    formats = prompt.formats
    is_unnamed = len(formats) == 1 and not prompt.named and not prompt.value_fields
    identity = [[name, *reply.identity] for name, reply in formats.items()]
    return Question(
        id=question_id(teacher, "label", key.hex(), *(identity[0][1:] if is_unnamed else [identity])),
        purpose="label",
        instructions=_label_instructions(formats, prompt.refusal),
        text=_shown_text(text, prompt.controls),
        reply=object_schema({name: reply.schema for name, reply in formats.items()}),
        fields=prompt.fields,
        value_fields=prompt.value_fields,
        longest=_max_tokens(formats),
    )


def _label_instructions(formats: Mapping[str, ReplyFormat], refusal: str) -> str:
    is_offered = refusal and any(refusal in reply.labels for reply in formats.values())
    may_refuse = f' If no label fits, or it is not clear which, say "{refusal}".' if is_offered else ""
    if len(formats) == 1:
        [only] = formats.values()
        return f"You label texts. Say {only.decision}, in JSON.{may_refuse}\n\n{only.details}"
    kinds = (f'"{name}": say {reply.decision}. {reply.details}' for name, reply in formats.items())
    return (
        f"You label texts. A text gets labels of {len(formats)} kinds; decide on each kind by itself. Answer in JSON, "
        f"with one property for each kind, under its name.{may_refuse}\n\n" + "\n\n".join(kinds)
    )


def _shown_text(text: str, controls: Sequence[ControlSchema]) -> str:
    """The text of a task as it is sent: its beginning or, of texts that are compared, the beginning of each, so that
    neither side is at a disadvantage."""
    is_pair = any(map(compares_pair, controls))
    record = read_record(text) if is_pair and len(text) > MAX_TEXT_LENGTH else {}
    if not record:
        return shortened(text)
    max_length = MAX_TEXT_LENGTH // len(record)
    return record_text({name: shortened(str(value), max_length) for name, value in record.items()})


def _max_tokens(formats: Mapping[str, ReplyFormat]) -> int:
    """The maximum number of tokens of a reply. With several properties, a reply may have the name of each property
    twice, because it may state how probable the labels of each are: the bytes of a name are more than its tokens
    twice."""
    tokens = sum(reply_format.max_tokens for reply_format in formats.values())
    return tokens if len(formats) == 1 else tokens + sum(len(name.encode()) for name in formats)


def as_examples(
    prompt: LabelPrompt, annotated: Sequence[tuple[str, Mapping[str, LabelValue]]]
) -> tuple[tuple[str, str], ...]:
    """Few-shot examples from texts and the annotators' labels: pairs of a text and the correct reply to it. A reply
    has no property for a control without a value. `annotated`: texts with their values by the name of the control"""
    by_property = dict(zip(prompt.formats, prompt.asked_controls, strict=True))
    return tuple(
        (
            _shown_text(text, prompt.controls),
            json.dumps(
                {
                    name: kind_of(control).reply_of(control, values[control.name], text[:MAX_TEXT_LENGTH])
                    for name, control in by_property.items()
                    if control.name in values
                },
                ensure_ascii=False,
            ),
        )
        for text, values in annotated
    )
