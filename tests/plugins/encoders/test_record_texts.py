"""The texts of records: the similarity of two of them has a column of its own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from record_pools import Words, encode, notes, profile

from plugins.encoders.record_texts import RecordTexts, profile_texts
from plugins.encoders.tabular import TabularEncoder

TEXTS = {"first": "text", "second": "text"}


def pairs(n: int = 120) -> list[dict[str, Any]]:
    """Records with two texts that begin with the same letter in every other one."""
    return [
        {"first": f"{'abcde'[row % 5]} word number {row}", "second": f"{'abcde'[(row + row % 2) % 5]} word, row {row}"}
        for row in range(n)
    ]


def similarities(encoder: TabularEncoder, *records: Any) -> list[float]:
    """The column before the one that makes the length 1."""
    return [float(value) for value in encode(encoder, *records)[:, -2]]


def test_two_texts_that_are_alike_have_a_higher_similarity_than_others() -> None:
    records = pairs()
    encoder = TabularEncoder(profile(records, TEXTS, Words()), Words())
    assert encoder.texts == ("first", "second") and encoder.dim == 2 * 26 + 2
    column = np.array(similarities(encoder, *records))
    assert column[::2].min() > 0 > column[1::2].max()
    assert encoder.vector_columns[-2].field == "second"


def test_the_similarity_is_the_standardised_cosine() -> None:
    records = pairs()
    texts = RecordTexts(profile_texts(records, list(TEXTS), Words(), 1.0), Words())
    first, second = (Words().encode([record[name] for record in records]) for name in TEXTS)
    cosines = (first * second).sum(axis=1)
    assert texts.encode(records)[:, -1] == pytest.approx((cosines - cosines.mean()) / cosines.std(), abs=1e-4)


def test_a_missing_text_and_a_phrase_have_the_average_similarity() -> None:
    encoder = TabularEncoder(profile(pairs(), TEXTS, Words()), Words())
    assert similarities(encoder, {"first": "a word alone"}, {"second": "a word alone"}, {}) == [0.0, 0.0, 0.0]
    assert encoder.encode_phrases(["a phrase"])[0, -2] == 0.0


@pytest.mark.parametrize("second", [lambda row: None, lambda row: f"a always the same {row}"], ids=["none", "alike"])
def test_a_pool_without_different_pairs_has_no_such_column(second: Any) -> None:
    records = [{"first": f"a word number {row} of this one", "second": second(row)} for row in range(60)]
    encoder = TabularEncoder(profile(records, TEXTS, Words()), Words())
    assert encoder.dim == 26 * len(encoder.texts) + 1
    assert TabularEncoder(profile(notes(), {}, Words()), Words()).dim == 1 + 26 + 1


def test_a_profile_of_an_earlier_version_keeps_its_columns() -> None:
    stored = json.loads(profile(pairs(), TEXTS, Words()))
    del stored["similarity"]
    encoder = TabularEncoder(json.dumps(stored), Words())
    assert encoder.dim == encode(encoder, *pairs(3)).shape[1] == 2 * 26 + 1
