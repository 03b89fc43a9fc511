"""Derives the probability of each label from a teacher's reply: from its tokens, from several replies, or from a stated
confidence.

Token probabilities as class probabilities: Kadavath et al., "Language Models (Mostly) Know What They Know" (arXiv
2207.05221). They are not calibrated here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.teacher_types import LabelField, Question
from plugins.teachers.stated_confidence import stated_confidence
from plugins.teachers.token_logprobs import Token, read, spans

END_OF_LIST = "\0"  # a name that no label has, for the end of a list of labels
MIN_PROBABILITY = 0.001  # of a label where several may hold and no token leads to it
_VALUE_ENDS = b",]} \t\r\n"  # bytes that may follow a value


def by_reply(
    question: Question, chosen: Mapping[str, Sequence[str]], content: Mapping[str, Any], logprobs: object
) -> dict[str, Floats]:
    """Returns for each field of a question, by name, the shares (c,) from one reply: from its tokens, else from a
    confidence that it states, else as of one sample.

    chosen    the labels that the reply names, by the name of the field
    content   the reply
    logprobs  the log-probabilities of its tokens, if there are any
    """
    tokens = read(logprobs)
    shares: dict[str, Floats] = {}
    for field in question.fields:
        labels, confidence = chosen[field.name], stated_confidence(question, field, content)
        shares_by_tokens = by_tokens(field, question.reply.get("properties", {}).get(field.name, {}), labels, tokens)
        if shares_by_tokens is not None:
            shares[field.name] = shares_by_tokens
        elif confidence is not None:
            shares[field.name] = by_statement(field, labels, confidence)
        else:
            shares[field.name] = by_frequency(field, [labels])
    return shares


def by_tokens(
    field: LabelField, schema: Mapping[str, Any], chosen: Sequence[str], tokens: Sequence[Token]
) -> Floats | None:
    """Returns the shares (c,) of a field from the tokens of a reply, None if there are none or they do not spell the
    labels that were chosen. With several fields, they are the probabilities given the labels that the reply names
    before. `schema`: the JSON schema of the field.

    A single label gets the product of the probabilities of its tokens, each renormalised over the tokens with which
    some label continues: a server may report probabilities before its grammar is applied. The alternatives of each
    token go to the labels that they lead to, evenly where one leads to several. A server lists only the likeliest
    alternatives: the labels that none of them leads to have together the probability of the least likely alternative,
    or the remainder to one if that is less, because no unlisted token can have more.

    With several labels, a chosen label gets that probability against the end of the list and the labels that were not
    chosen. A label that was not chosen gets the probability of having been named in any place instead, including the
    one after the last.
    """
    reply_bytes = b"".join(token.text for token in tokens)
    label_spans = spans(reply_bytes, field, chosen)
    if label_spans is None:
        return None
    # if the reply writes "€" as "\u20ac", the other labels are written so, too
    is_escaped = b"\\u" in reply_bytes[label_spans[0][0] : label_spans[-1][1]]
    forms = {label: json.dumps(label, ensure_ascii=is_escaped).encode("utf-8", "replace") for label in field.labels}
    if not field.multiple:
        start, stop = label_spans[0]
        forms[chosen[0]] = _compact(reply_bytes[start:stop])
        probabilities = _form_probabilities(tokens, reply_bytes, (start, stop), forms, chosen[0])
        return np.array([probabilities[label] for label in field.labels], np.float32)
    shares = dict.fromkeys(field.labels, 0.0)
    for i, (form_name, (start, stop)) in enumerate(zip((*chosen, END_OF_LIST), label_spans, strict=True)):
        if i == schema.get("maxItems", len(field.labels)):
            break  # the schema ends the list here
        separator = b"," if i else b""
        possible_forms = {label: separator + form for label, form in forms.items() if label not in chosen}
        if i >= schema.get("minItems", 0):
            possible_forms[END_OF_LIST] = b"]"
        possible_forms[form_name] = _compact(reply_bytes[start:stop])
        for label, probability in _form_probabilities(
            tokens, reply_bytes, (start, stop), possible_forms, form_name
        ).items():
            if label == form_name:
                shares[label] = probability
            elif label != END_OF_LIST:
                shares[label] = 1 - (1 - shares[label]) * (1 - probability)
    return np.array([min(max(shares[label], MIN_PROBABILITY), 1.0) for label in field.labels], np.float32)


def by_frequency(field: LabelField, label_sets: Sequence[Sequence[str]]) -> Floats:
    """Returns the frequency (c,) of each label among several replies, with a prior of one more reply without
    information."""
    counts = Counter(label for labels in label_sets for label in set(labels))
    frequencies = np.array([counts[label] for label in field.labels], np.float32)
    return np.asarray(
        (frequencies + (0.5 if field.multiple else 1 / len(frequencies))) / (len(label_sets) + 1), np.float32
    )


def by_statement(field: LabelField, chosen: Sequence[str], confidence: float) -> Floats:
    """Returns the shares (c,) from the confidence that the reply states. A single label has the confidence, and the
    others share the remainder evenly; of several labels each chosen one has the confidence, and each other label one
    minus it."""
    probability = min(max(confidence, 0.0), 1.0)
    other_count = len(field.labels) - 1
    if not field.multiple and not other_count:
        return np.ones(1, np.float32)
    other_probability = 1 - probability if field.multiple else (1 - probability) / other_count
    return np.array([probability if label in chosen else other_probability for label in field.labels], np.float32)


def _form_probabilities(
    tokens: Sequence[Token], reply_bytes: bytes, span: tuple[int, int], forms: Mapping[str, bytes], chosen: str
) -> dict[str, float]:
    """Returns the probability of each label in `forms` at the `span` of the reply that spells `chosen`. The
    probabilities sum to one. `forms`: the bytes that spell each label; `span`: start and end byte."""
    start, stop = span
    shares = dict.fromkeys(forms, 0.0)
    remaining, possible = 1.0, frozenset(forms)
    for token in tokens:
        if token.stop <= start or token.start >= stop or not token.text:
            continue
        head, before = reply_bytes[token.start : start], reply_bytes[start : token.start]
        followed = _possible_labels(head, before, token.text, forms) & possible
        masses: dict[frozenset[str], float] = {}
        for text, probability in token.alternatives.items():
            reachable = _possible_labels(head, before, text, forms) & possible
            if reachable and (reachable != possible or reachable == followed):  # else it excludes all labels, or none
                masses[reachable] = masses.get(reachable, 0.0) + probability
        if unlisted := possible.difference(*masses):
            masses[unlisted] = min(*token.alternatives.values(), max(1 - sum(token.alternatives.values()), 0.0))
        total = sum(masses.values())
        if total > 0:
            for reachable, mass in masses.items():
                for label in reachable if reachable != followed else ():
                    shares[label] += remaining * mass / total / len(reachable)
            remaining *= masses.get(followed, 0.0) / total
        possible = followed
    shares[chosen] += remaining
    return shares


def _possible_labels(head: bytes, before: bytes, text: bytes, forms: Mapping[str, bytes]) -> frozenset[str]:
    """Returns the labels that remain possible if a token `text` follows `before`, the bytes from the start of the span.
    `head`: the bytes before the span with which the token has to begin, if it starts there."""
    if not text or not (text.startswith(head) or head.startswith(text)):
        return frozenset()
    if len(text) <= len(head):
        return frozenset(forms)
    prefix = _compact(before + text.removeprefix(head))
    return frozenset(label for label, form in forms.items() if _may_spell(prefix, form))


def _may_spell(prefix: bytes, form: bytes) -> bool:
    return form.startswith(prefix) or (prefix.startswith(form) and prefix[len(form)] in _VALUE_ENDS)


def _compact(text: bytes) -> bytes:
    """Returns the text without the insignificant white space before its string."""
    outside, quote, inside = text.partition(b'"')
    return b"".join(outside.split()) + quote + inside
