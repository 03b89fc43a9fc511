"""Checks of drafts before annotators see them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.draft_checks import (
    CHAT,
    COPY,
    EMPTY,
    LEAK,
    LENGTH,
    LOOP,
    MIN_PAIRS,
    NO_RULES,
    PROBLEMS,
    WORSE,
    attribute_problem,
    draft_problem,
    is_copy,
    rules_of,
)

SOURCE = "you are all a bunch of stupid people"
REWRITINGS = ([SOURCE] * MIN_PAIRS, [f"you are all number {row}" for row in range(MIN_PAIRS)])


@pytest.mark.parametrize(
    ("draft", "problem"),
    [
        ("you are all people", ""),
        (SOURCE, ""),
        ("", EMPTY),
        (" \n", EMPTY),
        ("I do not , I do not , I do not , know", LOOP),
        ("no no no no no", LOOP),
        ("no, no, no, no, no, no!", LOOP),
        ("no, no, no, no!", ""),
        ("very very very bad", ""),
        ("what?!?!?!?!?!", ""),
        ("bad!!!!!!!!!!", ""),
        ("one two three four one two three four", ""),
        ("Assistant: you are all people", CHAT),
        ("you are people<|im_end|>", CHAT),
        ("[INST] you are people [/INST]", CHAT),
        ("### Response\nyou are people", CHAT),
        ("ask the assistant: he knows", ""),
        ("# a heading", ""),
    ],
)
def test_a_draft_without_accepted_texts(draft: str, problem: str) -> None:
    assert draft_problem(draft, SOURCE) == problem
    assert problem in ("", *PROBLEMS)


def test_what_the_source_has_is_no_problem_of_its_draft() -> None:
    for text in ("no no no no no", "User: hello\nSystem: good day", "<|im_end|> is a token"):
        assert draft_problem(text, text) == ""
        assert draft_problem(text, SOURCE) != ""


@given(st.text(max_size=60))
def test_a_copy_of_a_source_with_words_has_no_problem(source: str) -> None:
    rules = rules_of(*REWRITINGS)
    assert draft_problem(source, source, rules, may_leak=True) in ("", EMPTY)
    assert is_copy(f" {source}\n", source)


def test_a_draft_has_about_the_length_of_its_source_if_accepted_texts_have_it() -> None:
    rules = rules_of(*REWRITINGS)
    assert draft_problem("two words", SOURCE, rules) == LENGTH
    assert draft_problem("three good words", SOURCE, rules) == ""
    assert draft_problem(" ".join(f"w{n}" for n in range(25)), SOURCE, rules) == LENGTH
    assert draft_problem("two words", "", rules) == "", "a source without words has no length to compare with"


def test_the_length_counts_only_for_rewritings_and_from_some_accepted_texts_on() -> None:
    sources, accepted = REWRITINGS
    for rules in (NO_RULES, rules_of(sources[1:], accepted[1:]), rules_of(sources, ["yes", "no", *accepted[2:]])):
        assert draft_problem("two words", SOURCE, rules) == ""


def test_a_language_model_must_not_repeat_the_text_of_another_task() -> None:
    rules = rules_of(
        ["s1", "s2", "s3"], ["Meet me at the old station", "Thank you for your mail", "thank you for your letter"]
    )
    leaked = "they meet me at the station"
    assert draft_problem(leaked, "they met", rules, may_leak=True) == LEAK
    assert draft_problem(leaked, "they met", rules) == "", "a learner may write what it has learnt"
    assert draft_problem(leaked, "She said MEET ME AT THE door", rules, may_leak=True) == "", "it is in the source"
    assert draft_problem("Thank you for your help", "help", rules, may_leak=True) == "", (
        "a common phrase belongs to nobody"
    )


def test_rules_are_the_same_for_the_same_texts_whatever_their_order() -> None:
    sources, accepted = REWRITINGS
    first, second = rules_of(sources, accepted), rules_of(sources[::-1], accepted[::-1])
    assert first.keeps_length == second.keeps_length
    assert first.phrases.tolist() == second.phrases.tolist() == sorted(first.phrases.tolist())


@pytest.mark.parametrize(
    ("draft_failure", "source_failure", "copied", "problem"),
    [
        (0.9, 0.9, True, COPY),
        (0.5, 0.5, True, ""),
        (0.1, 0.9, False, ""),
        (0.9, 0.9, False, ""),
        (0.9, 0.8, False, WORSE),
        (0.2, 0.1, False, WORSE),
    ],
)
def test_an_attribute_model_rejects_flagged_copies_and_what_is_worse_than_the_source(
    draft_failure: float, source_failure: float, copied: bool, problem: str
) -> None:
    assert attribute_problem(draft_failure, source_failure, is_copy=copied) == problem
    assert not problem or PROBLEMS[problem]
