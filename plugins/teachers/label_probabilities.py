"""How probable each label is by a teacher's reply: by its tokens, by several replies, or by what it says of itself.

Token probabilities as class probabilities: Kadavath et al., "Language Models (Mostly) Know What They Know"
(arXiv 2207.05221). They are not calibrated here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ml_backend.core.teacher_types import Question
from ml_backend.core.types import Floats
from plugins.teachers.token_logprobs import Token, read, spans

END = "\0"  # beside the labels: that a list of them ends here
UNSEEN = 0.001  # of several labels, the least that one has which nothing speaks of
CONFIDENCE = "confidence"
STATE = f'In "{CONFIDENCE}", say how probable it is that this is right, from 0 to 1.'
_AFTER = b",]} \t\r\n"  # what may follow a value


def by_tokens(question: Question, chosen: Sequence[str], logprobs: object) -> Floats | None:
    """(c,) from the `logprobs` of a choice, None if they are absent or do not spell the labels that were chosen.

    A single label has the product of the probabilities of its tokens, each of them among those only that some label
    goes on with: a server may tell the probabilities that were before its grammar. The alternatives of each token go
    to the labels that they lead to, evenly where one leads to several. The labels that none of them leads to, because a
    server lists only the likeliest, have together what the least likely of those has, or what is left over if that is
    less: one of them cannot have had more.

    Of several labels, a chosen one has that probability against the end of the list and the labels that were not
    chosen; one of those has that of having been said in any place instead, the one after the last included.
    """
    tokens = read(logprobs)
    spelled = b"".join(token.text for token in tokens)
    places = spans(spelled, question, chosen)
    if places is None:
        return None
    escaped = b"\\u" in spelled[places[0][0] : places[-1][1]]  # "\u20ac" for "€": then the other labels, too
    forms = {label: json.dumps(label, ensure_ascii=escaped).encode("utf-8", "replace") for label in question.labels}
    if not question.multiple:
        start, stop = places[0]
        forms[chosen[0]] = _compact(spelled[start:stop])
        found = _walk(tokens, spelled, (start, stop), forms, chosen[0])
        return np.array([found[label] for label in question.labels], np.float32)
    shape = question.reply.get("properties", {}).get(question.field, {})
    shares = dict.fromkeys(question.labels, 0.0)
    for place, (said, (start, stop)) in enumerate(zip((*chosen, END), places, strict=True)):
        if place == shape.get("maxItems", len(question.labels)):
            break  # the list had to end
        between = b"," if place else b""
        here = {label: between + form for label, form in forms.items() if label not in chosen}
        if place >= shape.get("minItems", 0):
            here[END] = b"]"
        here[said] = _compact(spelled[start:stop])
        for label, share in _walk(tokens, spelled, (start, stop), here, said).items():
            if label == said:
                shares[label] = share
            elif label != END:
                shares[label] = 1 - (1 - shares[label]) * (1 - share)
    return np.array([min(max(shares[label], UNSEEN), 1.0) for label in question.labels], np.float32)


def by_frequency(question: Question, picks: Sequence[Sequence[str]]) -> Floats:
    """(c,) how often each label is among several replies, with a prior: one more reply that says nothing."""
    counts = Counter(label for pick in picks for label in set(pick))
    found = np.array([counts[label] for label in question.labels], np.float32)
    return np.asarray((found + (0.5 if question.multiple else 1 / len(found))) / (len(picks) + 1), np.float32)


def by_statement(question: Question, chosen: Sequence[str], confidence: float) -> Floats:
    """(c,) from the confidence that the reply states. A single label has it, the others have the rest, evenly; of
    several labels each chosen one has it, and each of the others what is missing to one.
    """
    sure = min(max(confidence, 0.0), 1.0)
    others = len(question.labels) - 1
    if not question.multiple and not others:
        return np.ones(1, np.float32)
    rest = 1 - sure if question.multiple else (1 - sure) / others
    return np.array([sure if label in chosen else rest for label in question.labels], np.float32)


def stating(question: Question) -> Question:
    """The question with a confidence in its reply, if it has none by itself."""
    shape = question.reply
    properties, required = shape.get("properties", {}), shape.get("required", ())
    if CONFIDENCE in properties:
        return question
    more = {"properties": {**properties, CONFIDENCE: {"type": "number"}}, "required": [*required, CONFIDENCE]}
    return replace(question, instructions=f"{question.instructions}\n\n{STATE}", reply={**shape, **more})


def unstated(question: Question, content: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The content of a reply to `stating(question)` as one to the question itself."""
    if content is None or CONFIDENCE in question.reply.get("properties", {}):
        return content
    return {name: value for name, value in content.items() if name != CONFIDENCE}


def _walk(
    tokens: Sequence[Token], spelled: bytes, span: tuple[int, int], forms: Mapping[str, bytes], said: str
) -> dict[str, float]:
    """The probability of each of `forms`, of which the reply has `said` in this span. They sum to one."""
    start, stop = span
    shares = dict.fromkeys(forms, 0.0)
    left, possible = 1.0, frozenset(forms)
    for token in tokens:
        if token.stop <= start or token.start >= stop or not token.text:
            continue
        head, before = spelled[token.start : start], spelled[start : token.start]
        taken = _leads_to(head, before, token.text, forms) & possible
        masses: dict[frozenset[str], float] = {}
        for text, probability in token.likely.items():
            fits = _leads_to(head, before, text, forms) & possible
            if fits and (fits != possible or fits == taken):  # else it leads nowhere, or tells nothing
                masses[fits] = masses.get(fits, 0.0) + probability
        if unlisted := possible.difference(*masses):
            masses[unlisted] = min(*token.likely.values(), max(1 - sum(token.likely.values()), 0.0))
        total = sum(masses.values())
        if total > 0:
            for fits, mass in masses.items():
                for label in fits if fits != taken else ():
                    shares[label] += left * mass / total / len(fits)
            left *= masses.get(taken, 0.0) / total
        possible = taken
    shares[said] += left
    return shares


def _leads_to(head: bytes, before: bytes, text: bytes, forms: Mapping[str, bytes]) -> frozenset[str]:
    """What may still come of it if `text` stands after `before`; `head` is what it has to begin with."""
    if not text or not (text.startswith(head) or head.startswith(text)):
        return frozenset()
    if len(text) <= len(head):
        return frozenset(forms)
    begun = _compact(before + text.removeprefix(head))
    return frozenset(label for label, form in forms.items() if _begins(begun, form))


def _begins(begun: bytes, form: bytes) -> bool:
    return form.startswith(begun) or (begun.startswith(form) and begun[len(form)] in _AFTER)


def _compact(text: bytes) -> bytes:
    """Without the white space before the string that it has, which means nothing."""
    outside, quote, inside = text.partition(b'"')
    return b"".join(outside.split()) + quote + inside
