"""The layers of an encoder that words are read after are chosen by cross-validation on the labelled texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from layered_word_encoder import GOOD, LayeredWordEncoder, sentence

from ml_backend.core import registry
from ml_backend.core.arrays import TrainingSet, object_rows
from ml_backend.core.texts import Layers, texts_at
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.model import word_layers
from ml_backend.model.word_layers import LayerComparison, choose_layers, is_choice_due
from ml_backend.pool.layer_choice import LayerChoice

COMPARISON = LayerComparison(LayeredWordEncoder(), None, now=1000.0, labelled=60)
LEARNER = registry.learner("crf")


def in_use(layers: Layers, labelled: int = 60) -> LayerChoice:
    return LayerChoice("fake", layers, (), 0.0, labelled, ())


@pytest.fixture(scope="module")
def train() -> TrainingSet:
    """60 texts, two thirds with a name that occurs once."""
    texts, names = zip(*map(sentence, range(60)), strict=True)
    spans = [() if name is None else ((*name, "Name", 1.0),) for name in names]
    return TrainingSet(
        vectors=np.zeros((60, 4), np.float32),
        targets=object_rows([(of_text, 0) for of_text in spans]),
        weights=np.ones(60, np.float32),
        control=SpansSchema("spans", "text", ("Name",)),
        texts=texts_at(texts),
    )


def test_the_layer_that_tells_the_spans_is_chosen(train: TrainingSet) -> None:
    choice = choose_layers(COMPARISON, LEARNER, train)
    scores = dict(choice.scores)
    assert (choice.layers, choice.previous, choice.since, choice.labelled) == (GOOD, (), 1000.0, 60)
    assert scores[GOOD] > 0.9 and max(scores[(3, 4)], scores[(1, 2)]) < 0.6


@pytest.mark.parametrize("layers", [GOOD, (1, 2), ()])
def test_layers_that_are_hardly_worse_than_others_are_kept(
    train: TrainingSet, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_layers, "MIN_GAIN", 2.0)
    choice = choose_layers(replace(COMPARISON, in_use=in_use(layers)), LEARNER, train)
    assert (choice.layers, choice.previous) == (layers, layers)


def test_an_encoder_without_a_choice_keeps_its_layers(train: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LayeredWordEncoder, "layer_candidates", lambda _: [()])
    choice = choose_layers(COMPARISON, LEARNER, train)
    assert (choice.layers, choice.scores) == ((), ())


@pytest.mark.parametrize(
    ("choice", "labelled", "marked", "is_due"),
    [
        (None, 49, 49, False),
        (None, 50, 19, False),
        (None, 50, 20, True),
        (in_use(GOOD), 239, 239, False),
        (in_use(GOOD), 240, 1, True),
    ],
)
def test_layers_are_compared_seldom(choice: LayerChoice | None, labelled: int, marked: int, *, is_due: bool) -> None:
    assert is_choice_due(choice, labelled, marked) == is_due
