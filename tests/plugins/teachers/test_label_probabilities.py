"""The probabilities of labels, compared with an enumeration."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import LABELS, SCHEMA, list_question, logprobs, question

from ml_backend.core.arrays import Floats
from ml_backend.core.teacher_types import LabelField, Question
from plugins.teachers.label_probabilities import MIN_PROBABILITY, by_frequency, by_statement, by_tokens
from plugins.teachers.token_logprobs import read

FIELD, LIST_FIELD = LabelField("label", LABELS), LabelField("labels", LABELS, True)
NAMES = st.text(st.sampled_from('abca "\\é/\n'), min_size=1, max_size=6)


@dataclass
class SpelledLabel:
    """The tokens that spell one label, each with all its alternatives, and the exact results.

    exact the probability of each label: the product of the probabilities of its tokens groups labels that part from the
    chosen one at the same token: only the sum of their probabilities is known
    """

    tokens: list[tuple[str, dict[str, float]]]
    exact: dict[str, float]
    groups: list[frozenset[str]]


def spell(draw: st.DrawFn, spelled: Mapping[str, str], chosen: str) -> SpelledLabel:
    """Draws a random tree of tokens that spells these labels, with unrelated tokens in it, and follows the chosen
    label."""
    spelled_label = SpelledLabel([], {}, [])

    def descend(names: list[str], position: int, mass: float, followed: bool) -> None:
        if all(position == len(spelled[name]) for name in names):
            spelled_label.exact[names[0]] = mass
            return
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(spelled[name][position], []).append(name)
        weights = {first: draw(st.integers(0, 9)) for first in groups}
        weights[spelled[names[0]][position]] += 1  # they are not all impossible
        token_of = {}
        for first, group in groups.items():
            shared = spelled[group[0]][position:]
            while not all(spelled[name].startswith(shared, position) for name in group):
                shared = shared[:-1]
            token_of[first] = shared[: draw(st.integers(1, len(shared)))]
        unrelated = {"§": draw(st.integers(0, 9)), " ?": draw(st.integers(0, 3))} if draw(st.booleans()) else {}
        total = sum(weights.values())
        if followed:
            alternatives = {token_of[first]: weights[first] for first in groups} | unrelated
            total_weight = sum(alternatives.values())
            chosen_token = token_of[spelled[chosen][position]]
            spelled_label.tokens.append(
                (chosen_token, {token: weight / total_weight for token, weight in alternatives.items()})
            )
        for first, group in groups.items():
            is_followed = followed and chosen in group
            if followed and not is_followed:
                spelled_label.groups.append(frozenset(group))
            descend(group, position + len(token_of[first]), mass * weights[first] / total, is_followed)

    descend(list(spelled), 0, 1.0, True)
    return spelled_label


@given(st.data())
def test_shares_equal_the_enumeration_of_tokens(data: st.DataObject) -> None:
    labels = tuple(data.draw(st.lists(NAMES, min_size=1, max_size=7, unique=True)))
    chosen = data.draw(st.sampled_from(labels))
    escaped = not chosen.isascii() and data.draw(st.booleans())
    spelled_label = data.draw(
        st.composite(spell)({name: json.dumps(name, ensure_ascii=escaped) for name in labels}, chosen)
    )
    # the first token may include text before the label, and the last one text after it
    before = data.draw(st.sampled_from(["", " ", "\n  ", ":", ": "]))
    after = data.draw(st.sampled_from(["", "}", "\n", ",", " }"]))
    (first, likely), *rest = spelled_label.tokens
    tokens: list[Any] = [(before + first, {before + token: p for token, p in likely.items()}), *rest]
    last, likely = tokens[-1]
    ends = {token for token in likely if token.endswith('"') and token == last}
    tokens[-1] = (last + after, {token + after * (token in ends): p for token, p in likely.items()})
    head = '```json\n{"why": "\\"label\\": no", "label"' + (":" if not before.startswith(":") else "")
    given_tokens = logprobs(head, *tokens, "}" if "}" not in after else "", "\n```", "")
    probabilities = shares_by_tokens(question(labels=labels), (chosen,), given_tokens)
    assert probabilities is not None
    shares = dict(zip(labels, probabilities.tolist(), strict=True))
    assert math.isclose(sum(shares.values()), 1, abs_tol=1e-5)
    assert math.isclose(shares[chosen], spelled_label.exact[chosen], abs_tol=1e-5)
    for group in spelled_label.groups:
        assert math.isclose(
            sum(shares[name] for name in group), sum(spelled_label.exact[name] for name in group), abs_tol=1e-5
        )


def shares_by_tokens(asked: Question, chosen: Sequence[str], logprobs: object) -> Floats | None:
    """Returns the shares of the only field of a question."""
    (field,) = asked.fields
    return by_tokens(field, asked.reply.get("properties", {}).get(field.name, {}), chosen, read(logprobs))


def shares_of(asked: Question, chosen: tuple[str, ...], *tokens: Any) -> list[float]:
    shares: Floats | None = shares_by_tokens(asked, chosen, logprobs(*tokens))
    assert shares is not None
    return [round(share, 4) for share in shares.tolist()]


def test_labels_with_the_same_beginning_are_distinguished_where_they_differ() -> None:
    shares = shares_of(
        question(), LABELS[:1], '{"label":', ' "', ("card", {"card": 0.8, "exchange": 0.2}), "_",
        ("arrival", {"arrival": 0.75, "lost": 0.25}), '"', "}",
    )  # fmt: skip
    assert shares == [0.6, 0.2, 0.2]


def test_tokens_that_fit_no_label_are_ignored() -> None:
    shares = shares_of(
        question(), LABELS[:1], '{"label":', ' "', ("card", {"My": 0.9, "card": 0.06, "exchange": 0.02, "": 0.02}), "_",
        ("arr", {"arr": 0.3, "lost": 0.1, "not": 0.6}), "ival", ('"', {'"': 0.2, '",': 0.5, '."': 0.1, "s": 0.2}), "}",
    )  # fmt: skip
    assert shares == [0.5625, 0.1875, 0.25]


@pytest.mark.parametrize(
    ("likely", "expected"),
    [
        ({"card_lost": 0.6, "The": 0.2, "My": 0.1}, [0.0714, 0.8571, 0.0714]),  # no more than the remainder
        ({"card_lost": 0.4, "The": 0.1, "My": 0.1}, [0.1, 0.8, 0.1]),  # nor than the least likely that is listed
        ({"card_lost": 0.001, "The": 0.5, "My": 0.1}, [0.25, 0.5, 0.25]),  # which may be the label itself
        ({"card_lost": 0.8, "exchange": 0.1}, [0.1, 0.8, 0.1]),
        ({"card_lost": 0.9}, [0.05, 0.9, 0.05]),
        ({"card_lost": 0.0}, [0.0, 1.0, 0.0]),
    ],
)
def test_labels_that_the_server_does_not_list_have_no_more_than_they_can_have(
    likely: dict[str, float], expected: list[float]
) -> None:
    assert shares_of(question(), ("card_lost",), '{"label": "', ("card_lost", likely), '"}') == expected


def test_another_spelling_of_the_same_beginning_is_the_same() -> None:
    shares = shares_of(
        question(), LABELS[:1], '{"label":', (' "', {' "': 0.3, '"': 0.1, ' "ex': 0.1, ' "card_lost"': 0.1, " {": 0.4}),
        "card_arrival", '"}',
    )  # fmt: skip
    assert shares == [round(2 / 3, 4), round(1 / 6, 4), round(1 / 6, 4)]


def test_a_label_that_is_a_prefix_of_another_is_distinguished_by_its_end() -> None:
    asked = question(labels=("card", "card lost"))
    assert shares_of(asked, ("card",), '{"label": "', "card", ('"}', {'"}': 0.7, " lost": 0.2, " us": 0.1})) == [
        round(7 / 9, 4),
        round(2 / 9, 4),
    ]


def test_characters_that_are_cut_in_two_are_put_together() -> None:
    euro = "€".encode()
    entries = logprobs('{"label": "')["content"]
    for part, other in ((euro[:1], b"x"), (euro[1:2], None), (euro[2:], bytes([0xAD]))):
        top = [{"token": "�", "logprob": math.log(0.5 if other else 1), "bytes": list(part)}]
        top += [{"token": "�", "logprob": math.log(0.5), "bytes": list(other)}] if other else []
        entries.append({**top[0], "top_logprobs": top})
    entries += logprobs('"}')["content"]
    shares = shares_by_tokens(question(labels=("€", "xy", "\u20ad")), ("€",), {"content": entries})
    assert shares is not None and shares.tolist() == [0.25, 0.5, 0.25]


def test_the_last_of_several_places_that_may_hold_the_label_is_read() -> None:
    asked = question()
    thinking = '{"label": "card_arrival"} no: {"label": '
    assert shares_of(asked, LABELS[:1], thinking, ('"card_arrival"', {'"card_arrival"': 0.5, '"card_lost"': 0.5}), "}")[
        :2
    ] == [0.5, 0.5]


@pytest.mark.parametrize(
    "wrong",
    [
        None, "", 7, [], {}, {"content": None}, {"content": [{"token": "a"}]}, {"content": [7]}, {"content": "ab"},
        {"content": [{"token": 7, "logprob": 0}]}, {"content": [{"token": "a", "bytes": [999], "logprob": 0}]},
        {"content": [{"token": "a", "bytes": 10**12, "logprob": 0}]},
        {"content": [{"token": "a", "logprob": "x"}]}, {"content": [{"token": "a", "logprob": 0, "top_logprobs": [1]}]},
        logprobs('{"label": "', "card_lost", '"}'), logprobs('{"other": "', "card_arrival", '"}'),
        logprobs('{"label": "', "card_arrival"), logprobs('{"label": 7}'),
    ],
)  # fmt: skip
def test_log_probabilities_that_do_not_spell_the_label_are_ignored(wrong: object) -> None:
    assert shares_by_tokens(question(), LABELS[:1], wrong) is None
    assert shares_by_tokens(question(fields=(replace(LIST_FIELD, name="label"),)), LABELS[:1], wrong) is None


@pytest.mark.parametrize("odd", [-math.inf, math.inf, math.nan, -9999, 5, "-1"])
def test_an_odd_log_probability_leaves_probabilities(odd: Any) -> None:
    entries = logprobs('{"label": ', ('"card_arrival"', {'"card_arrival"': 0.5, '"card_lost"': 0.5}), "}")
    for entry in entries["content"][1]["top_logprobs"]:
        entry["logprob"] = odd
    shares = shares_by_tokens(question(), LABELS[:1], entries)
    assert shares is not None and np.isfinite(shares).all() and abs(shares.sum() - 1) < 1e-5


SEVERAL = (
    '{"labels": [',
    ('"A"', {'"A"': 0.6, '"B"': 0.3, '"C"': 0.1}),
    (",", {",": 0.9, "]": 0.1}),
    ('"B"', {'"B"': 0.7, '"C"': 0.3}),
    ("]", {"]": 0.8, ",": 0.2}),
    "}",
)


def test_each_of_several_labels_has_its_own_probability() -> None:
    asked = list_question(labels=("A", "B", "C"))
    a, b, c = 0.6 / 0.7, 0.9 * 0.7, 1 - (0.6 / 0.7) * (1 - 0.9 * 0.3) * 0.8
    assert shares_of(asked, ("A", "B"), *SEVERAL) == pytest.approx([a, b, c], abs=1e-3)


def test_white_space_and_tokens_that_hold_two_marks_change_nothing() -> None:
    asked = list_question(labels=("A", "B", "C"))
    tokens = (
        '{"labels":', " [", "\n  ", ' "', ("A", {"A": 0.6, "B": 0.3, "C": 0.1}),
        ('",', {'",': 0.8, '"': 0.1, '"]': 0.1}), "\n  ", ' "', ("B", {"B": 0.7, "C": 0.3}),
        '"', "\n", (" ]", {" ]": 0.8, ",": 0.2}), "\n}",
    )  # fmt: skip
    a, b, c = 0.6 / 0.7, 8 / 9 * 0.7, 1 - (0.6 / 0.7) * (1 - 8 / 9 * 0.3) * 0.8
    assert shares_of(asked, ("A", "B"), *tokens) == pytest.approx([a, b, c], abs=1e-3)


def test_an_empty_list_gives_each_label_the_probability_of_having_been_named() -> None:
    asked = list_question(labels=("A", "B"))
    shares = shares_of(asked, (), '{"labels": ', ("[]", {"[]": 0.5, '["': 0.5}), "}")
    assert shares == [0.25, 0.25]
    shares = shares_of(asked, (), '{"labels": [', ("]", {"]": 0.5, '"A"': 0.3, '"B': 0.2}), "}")
    assert shares == [0.3, 0.2]


def test_tokens_that_the_schema_forbids_do_not_change_a_list() -> None:
    array = {"type": "array", "minItems": 1, "maxItems": 1}
    schema = {**SCHEMA, "properties": {"labels": array}}
    asked = list_question(labels=("A", "B"), reply=schema)
    tokens = ('{"labels": [', ('"A"', {'"A"': 0.4, "]": 0.6}), ("]", {"]": 0.1, ",": 0.9}), "}")
    assert shares_of(asked, ("A",), *tokens) == [1.0, MIN_PROBABILITY]
    assert shares_of(replace(asked, reply={}), ("A",), *tokens) == [0.4, 0.9]


def test_a_label_without_any_token_keeps_the_least_probability() -> None:
    assert shares_of(list_question(), ("card_lost",), '{"labels": ["card_lost"]}') == [
        MIN_PROBABILITY,
        1.0,
        MIN_PROBABILITY,
    ]


def test_frequency_has_a_prior() -> None:
    picks = [["card_lost"]] * 3 + [["card_arrival"]] * 2
    np.testing.assert_allclose(by_frequency(FIELD, picks), [(2 + 1 / 3) / 6, (3 + 1 / 3) / 6, 1 / 18], atol=1e-6)
    several = [["card_lost", "card_arrival"], ["card_lost", "card_lost"], []]
    np.testing.assert_allclose(by_frequency(LIST_FIELD, several), [1.5 / 4, 2.5 / 4, 0.5 / 4], atol=1e-6)


@pytest.mark.parametrize(("stated", "sure"), [(0.7, 0.7), (1, 1.0), (7, 1.0), (-3.5, 0.0), (0, 0.0)])
def test_stated_confidence_is_clipped_and_the_rest_shared(stated: float, sure: float) -> None:
    rest = (1 - sure) / 2
    np.testing.assert_allclose(by_statement(FIELD, LABELS[:1], stated), [sure, rest, rest], atol=1e-6)
    np.testing.assert_allclose(by_statement(LIST_FIELD, LABELS[:2], stated), [sure, sure, 1 - sure], atol=1e-6)
    assert by_statement(LabelField("label", ("a",)), ("a",), stated).tolist() == [1.0]
