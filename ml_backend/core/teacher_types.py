"""The vocabulary of teachers: what is asked of them, what comes of it, and how often they may be called for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ml_backend.core.types import Floats

Purpose = Literal["label", "describe", "diagnose", "write"]


@dataclass(frozen=True, slots=True)
class Question:
    """One request to a teacher, as plain data: to be sent now, written to a file, or sent again after a restart.

    id            the same question has the same id wherever it is asked, so that nothing is paid for twice
    purpose       what it is for, on the ledger
    instructions  what to do (the system's message)
    examples      pairs of a text and the right reply to it, as JSON
    text          what it is to be done with: data, of which nothing is an instruction
    reply         the JSON schema, of an object, that the reply must satisfy
    field         the property of the reply that holds the labels, "" if no probabilities are wanted
    labels        the values that `field` may take; `multiple`: whether it is a list of them
    longest       tokens that the reply may have
    """

    id: str
    purpose: Purpose
    instructions: str
    text: str
    reply: Mapping[str, Any]
    examples: tuple[tuple[str, str], ...] = ()
    field: str = ""
    labels: tuple[str, ...] = ()
    multiple: bool = False
    longest: int = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made for a question, paid for whatever came of it.

    outcome  answered, or why not: malformed (no JSON, off the schema, no label of the project, cut off), refused (the
             teacher would not), failed (no reply at all)
    """

    model: str
    seconds: float
    input_tokens: int
    output_tokens: int
    outcome: Literal["answered", "malformed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question.

    content  the reply, which satisfies the question's schema; None if there is none worth keeping
    shares   (c,) float32 the probability of each of the question's labels, not calibrated; they sum to one unless
             several may hold. None if there is no content, or none were wanted
    calls    every call it took, the last one last; none if the teacher works here and costs nothing
    problem  why there is no content, "" if there is
    """

    question: str
    content: Mapping[str, Any] | None
    shares: Floats | None
    calls: tuple[Call, ...] = ()
    problem: str = ""


SAMPLES = 5
"""Replies that a label's probability is told from by their frequency."""
REASONING = 1000
"""Tokens of a reply by file in which a model may reason before it answers: nobody is there to ask again for more."""
ASKED, IN_VAIN = 2, 3
"""A reply is asked for so often until it is of use; and so many calls of a question may bring none."""
BYTES_A_TOKEN = 3  # cautious for English; a Chinese character is three bytes, and about a token


def most_replies(probabilities: str) -> int:
    """How many replies a label may need: samples, and the one that shows that it needs them."""
    return {"auto": 1 + SAMPLES, "samples": SAMPLES}.get(probabilities, 1)


def most_calls(replies: int) -> int:
    """The most calls for a question that needs so many replies. A teacher keeps to it: budgets reckon with it."""
    return ASKED * replies + IN_VAIN


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """What a teacher is made with. Each uses what concerns it.

    model          its name at the endpoint, or of a local model: a hub's name or a path
    url, key       the endpoint; the key is in no repr
    timeout        seconds for one call; `concurrency`: calls at the same time
    probabilities  where a label's probability comes from: `logprobs` of the server, the frequency among `samples`, the
                   confidence that is `stated`; `auto` takes the first of them that the server offers, by file the last
    """

    model: str = ""
    url: str = ""
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    concurrency: int = 4
    probabilities: Literal["auto", "logprobs", "samples", "stated"] = "auto"
