"""A teacher that writes texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ml_backend.core.arrays import object_rows
from ml_backend.core.draft_checks import MIN_PAIRS, rules_of
from ml_backend.core.texts import texts_at
from ml_backend.kinds.reply_problems import UNUSABLE
from ml_backend.kinds.text.checked_learner import KEEPS_LENGTH, PHRASES
from ml_backend.kinds.text.kind import TEXT
from ml_backend.kinds.text.schema import TextSchema

CONTROL = TextSchema("polite_version", "text", placeholder="Write it politely")
SOURCE = "you are all a bunch of stupid people"


def read(*replies: Any) -> Any:
    return TEXT.read_replies(CONTROL, object_rows(replies), texts_at([SOURCE] * len(replies)))


def test_the_question_names_the_box_and_what_it_says() -> None:
    reply_format = TEXT.reply_format(CONTROL)
    assert "polite version" in reply_format.decision and "Write it politely" in reply_format.details
    other = TextSchema("polite_version", "text", placeholder="Translate it")
    assert TEXT.reply_format(other).digest != reply_format.digest


def test_a_reply_becomes_a_draft_and_one_of_another_form_is_missing() -> None:
    rows = read({"text": " you are all people\n"}, {"text": 3}, "you", None, {"spans": []})
    assert [draft and draft[0] for draft in TEXT.drafts(CONTROL, rows)] == [("you are all people",), *[None] * 4]
    assert rows.tolist()[1:] == [None] * 4


@pytest.mark.parametrize("text", ["", "User: hi", "no no no no no no"])
def test_a_reply_that_must_not_be_shown_is_neither_drafted_nor_distilled(text: str) -> None:
    rows = read({"text": text})
    assert TEXT.drafts(CONTROL, rows) == [None]
    assert TEXT.reply_problem(CONTROL, {"text": text}, SOURCE, 0.0) == UNUSABLE
    assert TEXT.expected(CONTROL, rows, TEXT.reliability(CONTROL, rows[:0], rows[:0], is_trusted=True)).tolist() == [
        None
    ]


def test_drafts_of_a_teacher_are_checked_against_the_accepted_texts() -> None:
    rules = rules_of([SOURCE] * MIN_PAIRS, ["we meet at the old station", *["you are people"] * (MIN_PAIRS - 1)])
    tensors = {KEEPS_LENGTH: np.array([rules.keeps_length]), PHRASES: rules.phrases}
    rows = read({"text": "we meet at the old pub"}, {"text": "people"}, {"text": "you are all people"})
    checked = TEXT.checked(CONTROL, rows, [SOURCE] * 3, tensors)
    assert [row[4] for row in checked] == ["leak", "length", ""]
    assert TEXT.checked(CONTROL, rows, [SOURCE] * 3, {}).tolist() == rows.tolist()


def test_the_reliability_is_the_closeness_of_its_drafts_with_a_prior_of_ten_tasks() -> None:
    rows = read({"text": "you are all people"}, {"text": "you are people"}, None)
    targets = object_rows([("you are all people",), ("you people",), ("nothing",)])
    reliability = TEXT.reliability(CONTROL, rows, targets, is_trusted=False)
    assert reliability.tolist() == pytest.approx([(10 * 0.8 + 1 + 2 / 3) / 12])
    expected = TEXT.expected(CONTROL, rows, reliability)
    assert [row and row[1] for row in expected] == pytest.approx([reliability[0]] * 2 + [None])


def test_what_is_distilled_are_the_drafts() -> None:
    rows = read({"text": "you are all people"}, {"text": "you are people"})
    assert TEXT.distilled_targets(CONTROL, rows).tolist() == [("you are all people",), ("you are people",)]
