"""Questions to teachers, their answers, the calls that they take, and the options of a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ml_backend.core.arrays import Floats

Purpose = Literal["label", "describe", "diagnose", "write"]
"""The purpose of a question: to label one task; to describe the labels, or to score the fields of records; to explain
the learner's errors; or to write texts of tasks."""


MAX_TEXT_LENGTH = 8000
"""Characters of a task that a teacher reads, from the beginning."""

LABEL = "label"
"""The property of a reply with the labels of a single control, if the question does not name the control."""


@dataclass(frozen=True, slots=True)
class LabelField:
    """A property of a reply that holds labels, whose probabilities are needed.

    name      the name of the property
    labels    the c values that the property may take
    multiple  whether the property is a list of labels
    named     whether the only property of a reply has the name of its control, which may be `LABEL`; several properties
              always have the names of their controls
    """

    name: str
    labels: tuple[str, ...]
    multiple: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class ValueField:
    """A property of a reply that holds anything else, whose probabilities are not needed.

    name    the name of the property, which is that of its control
    digest  identifies the question about the control: a reply to another question does not answer it
    """

    name: str
    digest: str


ReplyFields = tuple[tuple[LabelField, ...], tuple[ValueField, ...]]
"""The properties of a reply: those that hold labels, and the others."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request to a teacher, as plain data: it can be sent now, written to a file, or sent again after a restart.

    id            identifies the question by its content, so that the same question is not paid for twice
    purpose       the purpose under which the ledger counts the question
    instructions  the task of the teacher (the system message)
    examples      few-shot examples: pairs of a text and the right reply to it, as JSON
    text          the text that the instructions apply to; nothing in it is an instruction
    reply         the JSON schema, of an object, that the reply must satisfy
    fields        the properties of the reply that hold labels, with different names; () if no probabilities are needed
    longest       the maximum number of tokens of the reply
    value_fields  the other properties of the reply that are about controls
    """

    id: str
    purpose: Purpose
    instructions: str
    text: str
    reply: Mapping[str, Any]
    examples: tuple[tuple[str, str], ...] = ()
    fields: tuple[LabelField, ...] = ()
    longest: int = 200
    value_fields: tuple[ValueField, ...] = ()

    @property
    def reply_fields(self) -> ReplyFields:
        """The properties of the reply that are about controls. Questions about other texts have the same."""
        return self.fields, self.value_fields


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made for a question. It is paid for also if it brings no answer.

    outcome  answered; malformed (no JSON, JSON that violates the schema, no label of the project, or a cut-off reply);
             refused (by the teacher); or failed (no reply)
    """

    model: str
    seconds: float
    input_tokens: int
    output_tokens: int
    outcome: Literal["answered", "malformed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question.

    question  the id of the question
    content   the reply, which satisfies the question's schema; None if there is no usable reply
    shares    for each of the question's fields, by name, (c,) float32 probabilities of the field's labels, not
              calibrated; they sum to one unless several labels may hold. None without content, or if the question needs
              no probabilities
    calls     all calls for the question in their order; empty for a teacher that runs in this process at no cost
    problem   why there is no content, "" if there is
    """

    question: str
    content: Mapping[str, Any] | None
    shares: Mapping[str, Floats] | None
    calls: tuple[Call, ...] = ()
    problem: str = ""


SAMPLES_PER_LABEL = 5
"""Number of replies from whose frequencies a label's probability is estimated."""
REASONING_TOKENS = 1000
"""Tokens by which the limit of a question is raised that is asked by file, for a model that reasons before it answers.
Such a question cannot be asked again with a higher limit."""
MAX_TRIES_PER_REPLY, MAX_FAILED_CALLS = 2, 3
"""Maximum number of tries for one usable reply, and of further calls for one question that bring no usable reply."""
BYTES_PER_TOKEN = 3  # a low estimate, so that no cost is underestimated; a Chinese character is about one token


def max_replies(probabilities: str) -> int:
    """The maximum number of replies for one label: the samples and, with `auto`, a reply that has no logprobs."""
    return {"auto": 1 + SAMPLES_PER_LABEL, "samples": SAMPLES_PER_LABEL}.get(probabilities, 1)


def max_calls(replies: int) -> int:
    """The maximum number of calls for a question that needs `replies` replies. Budgets rely on it: no teacher makes
    more."""
    return MAX_TRIES_PER_REPLY * replies + MAX_FAILED_CALLS


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """The options that a teacher is made with. A teacher ignores the options that it does not need.

    model          the name of the model at the endpoint; for a local model, its name on the hub or its path
    url, key       the endpoint and its key; `repr` does not show the key
    timeout        seconds for one call
    concurrency    maximum number of calls at the same time
    probabilities  the source of a label's probability: `logprobs` of the server, the frequency among `samples`, or the
                   confidence that is `stated` in the reply; `auto` takes the first of these that the server offers, or,
                   by file, the stated one
    """

    model: str = ""
    url: str = ""
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    concurrency: int = 4
    probabilities: Literal["auto", "logprobs", "samples", "stated"] = "auto"
