"""The contract of teachers that draft, and the similarity of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.types import label_words
from plugins.encoders.minilm import MiniLM
from plugins.teachers.similarity import Similarity

TEXTS = ("My card has not arrived yet", "How do I exchange dollars for euros?", "The app forgot my passcode", "")
LABELS = ("card_arrival", "ExchangeRate", "forgotten-passcode")
ENCODER = MiniLM()


def schema(multiple: bool, labels: tuple[str, ...] = LABELS, hints: tuple[str, ...] = ()) -> ProjectSchema:
    return ProjectSchema(
        InputSpec(text_field="text"), (ChoicesSchema("choice", "text", labels, multiple=multiple, hints=hints),)
    )


@pytest.fixture(params=[lambda: Similarity(ENCODER.encode)])
def teacher(request: pytest.FixtureRequest) -> Similarity:
    instance: Similarity = request.param()
    return instance


@pytest.mark.parametrize("multiple", [False, True])
def test_drafts_are_probabilities(teacher: Similarity, multiple: bool) -> None:
    drafts = teacher.draft(TEXTS, ENCODER.encode(TEXTS), schema(multiple).controls[0])
    assert drafts.shape == (4, 3) and drafts.dtype == np.float32
    assert ((drafts >= 0) & (drafts <= 1)).all()
    if not multiple:
        np.testing.assert_allclose(drafts.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("multiple", [False, True])
def test_the_nearest_name_is_drafted(teacher: Similarity, multiple: bool) -> None:
    drafts = teacher.draft(TEXTS[:3], ENCODER.encode(TEXTS[:3]), schema(multiple).controls[0])
    assert drafts.argmax(axis=1).tolist() == [0, 1, 2]


def test_no_texts_give_no_rows(teacher: Similarity) -> None:
    assert teacher.draft([], np.empty((0, 384), dtype=np.float32), schema(False).controls[0]).shape == (0, 3)


def test_hints_improve_the_drafts_of_uninformative_names() -> None:
    labels, hints = ("A", "B"), ("cards and their delivery", "money in foreign currencies")
    drafts = Similarity(ENCODER.encode).draft(TEXTS, ENCODER.encode(TEXTS), schema(False, labels, hints).controls[0])
    assert drafts[:2].argmax(axis=1).tolist() == [0, 1]


def test_labels_are_encoded_once_for_the_same_names_and_hints() -> None:
    calls: list[int] = []

    def encode(texts: Sequence[str]) -> Floats:
        calls.append(len(texts))
        return np.eye(len(texts), 8, dtype=np.float32)

    teacher, vectors = Similarity(encode), np.eye(2, 8, dtype=np.float32)
    for _ in range(3):
        teacher.draft(["a", "b"], vectors, schema(False).controls[0])
    assert len(calls) == 1
    teacher.draft(["a", "b"], vectors, schema(False, hints=("", "x", "")).controls[0])
    assert len(calls) == 2


def test_vectors_of_another_encoder_are_refused(teacher: Similarity) -> None:
    with pytest.raises(ApprenticeError, match="7 dimensions, but its encoder gives 384"):
        teacher.draft(["a"], np.ones((1, 7), dtype=np.float32), schema(False).controls[0])


def test_chunks_do_not_change_the_drafts(teacher: Similarity) -> None:
    vectors = cast(Floats, ENCODER.encode(TEXTS).astype(np.float16))  # as stored
    whole = teacher.draft(TEXTS, vectors, schema(True).controls[0])
    in_chunks = Similarity(ENCODER.encode, chunk_rows=3)
    np.testing.assert_allclose(in_chunks.draft(TEXTS, vectors, schema(True).controls[0]), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("abbreviation_question", "abbreviation question"),
        ("AbbreviationQuestion", "abbreviation question"),
        ("HTTPError-code", "HTTP error code"),
        ("card  arrival", "card arrival"),
        ("why_is_my_PIN_wrong?", "why is my PIN wrong"),
        ("NOT_SPAM", "NOT SPAM"),
        ("+", "+"),
    ],
)
def test_label_names_are_split_into_words(label: str, words: str) -> None:
    assert label_words(label) == words


@given(st.text(min_size=1))
def test_label_words_are_never_empty_and_do_not_change_when_applied_again(label: str) -> None:
    assert label_words(label)
    assert label_words(label_words(label)) == label_words(label)
