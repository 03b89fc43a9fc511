"""Spans that are drafted because their words were marked elsewhere, against counting by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ml_backend.core.arrays import Floats, Rows, TrainingSet, object_rows
from ml_backend.core.texts import texts_at
from ml_backend.core.types import DraftRule
from ml_backend.kinds.spans.schema import SpansSchema
from plugins.learners.crf.gazetteer import count_texts
from plugins.learners.crf.learner import Crf
from plugins.learners.crf.repeats import repeat_rate
from plugins.learners.crf.tags import spans_of_words
from plugins.learners.crf.word_table import content_numbers, read_words

CONTROL = SpansSchema("", "", ("Name",))
Marked = tuple[str, tuple[str, ...]]
"""A text, and the words that are marked in it, each at its first place."""


def targets(texts: Sequence[Marked]) -> Rows:
    return object_rows(
        [
            (tuple((text.index(word), text.index(word) + len(word), "Name", 1.0) for word in marked), 0)
            for text, marked in texts
        ]
    )


def no_vectors(texts: Sequence[object]) -> Floats:
    return np.zeros((len(texts), 1), np.float32)


def drafted(texts: Sequence[Marked], others: Sequence[str], rule: DraftRule) -> list[list[str]]:
    """The words that a learner of the texts drafts in other texts."""
    read = texts_at([text for text, _ in texts])
    train = TrainingSet(
        no_vectors(texts), targets(texts), np.ones(len(texts), np.float32), CONTROL, texts=read,
        pool_texts=texts_at(list(others)), draft_rule=rule,
    )  # fmt: skip
    tensors = Crf().fit(train, 0).tensors
    predicted = Crf().predict(tensors, no_vectors(others), texts_at(list(others)))
    return [[text[start:end] for start, end, *_ in row[0]] for text, row in zip(others, predicted, strict=True)]


def test_what_was_marked_once_is_drafted_wherever_it_occurs_if_the_setting_says_so() -> None:
    texts = [("it rains on day 1", ()), ("we met Zorblatt there", ("Zorblatt",)), *[("no one came", ())] * 6]
    others = ["then zorblatt said that Zorblatt left", "no one came"]
    assert drafted(texts, others, DraftRule(repeats=True))[0] == ["zorblatt", "Zorblatt"]
    assert "zorblatt" not in drafted(texts, others, DraftRule(repeats=False))[0]


def test_a_phrase_that_is_mostly_not_marked_is_left_out() -> None:
    seen = [(f"the bank is closed on day {day}", ()) for day in range(12)]
    texts = [("the Bank of England is old", ("Bank",)), ("Zorblatt is old", ("Zorblatt",)), *seen]
    [words] = drafted(texts, ["Zorblatt went to the bank"], DraftRule(repeats=True))
    assert words == ["Zorblatt"]


def test_the_rate_counts_the_places_of_other_texts_that_are_marked_too() -> None:
    texts = [("Ann and Bob", ("Ann", "Bob")), ("Ann sings", ("Ann",)), ("Ann is a name", ()), ("Bob too", ("Bob",))]
    table = read_words(texts_at([text for text, _ in texts]), np.arange(4))
    spans = spans_of_words(targets(texts), table, ["Name"])
    gazetteer = count_texts(1, table.words, table.lengths, spans, content_numbers(table))
    counted = gazetteer.read(table.words, table.lengths, content_numbers(table))
    # Ann: marked elsewhere in texts 0, 1, 2, and marked in 0 and 1; Bob: marked elsewhere and here in texts 0 and 3
    assert repeat_rate(counted, np.arange(4), spans) == pytest.approx((4 + 1) / (5 + 2))
    assert gazetteer.phrase_counts[gazetteer.phrase_rows["ann",]].tolist() == [2, 3]


def test_names_that_are_often_other_words_are_not_drafted_for_a_high_precision() -> None:
    random = np.random.default_rng(0)
    names = ["Ann", "Bob", "Eve", "Rose", "Will"]
    texts: list[Marked] = []
    for day in range(60):
        name = names[random.integers(5)]
        # "Rose" and "Will" are names in one half of their places
        is_name = name not in ("Rose", "Will") or random.random() < 0.5
        texts.append((f"then {name} went on day {day}", (name,) if is_name else ()))
    others = [f"then {name} went on day {day}" for day, name in enumerate(names * 4)]
    at_low, at_high = (
        {word for words in drafted(texts, others, DraftRule(precision=precision)) for word in words}
        for precision in (0.5, 0.9)
    )
    assert at_low == {*names}
    assert at_high == {"Ann", "Bob", "Eve"}
