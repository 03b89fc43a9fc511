"""The learner of written texts, with the installed writers and with writers made for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_word_encoder import FakeWordEncoder

from ml_backend.core import registry
from ml_backend.core.arrays import Rows, Tensors, TrainingSet, object_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.text_drafts import AcceptedTexts, TextDrafts
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.word_distance import closeness
from plugins.learners.closeness_calibration import N_FOLDS, calibrated, fit_lines
from plugins.learners.writers import Writers

SOURCES = [
    f"{'bad' if row % 2 else 'good'} house number {row} was {('seen', 'built', 'sold')[row % 3]}" for row in range(40)
]
ACCEPTED = [source.replace("bad ", "") for source in SOURCES]
learner = Writers(registry.writers())


class Constant:
    """Drafts one text, with the same confidence for each source."""

    min_kept_share = 0.0

    def __init__(self, text: str) -> None:
        self._text = text

    def fit(self, accepted: AcceptedTexts, earlier: Tensors | None) -> Tensors:
        return {"n": np.array([len(accepted)])}

    def draft(self, tensors: Tensors, sources: Texts, vectors: Any, *, held_out: bool = False) -> TextDrafts:
        n = len(sources)
        return TextDrafts([self._text] * n, np.full(n, 0.9), np.full(n, 0.25))


def training_set(sources: Sequence[str], targets: Sequence[tuple[str, ...]], **options: Any) -> TrainingSet:
    vectors, words = FakeWordEncoder().encode_with_words(sources)
    train = TrainingSet(
        vectors=vectors,
        targets=object_rows([*targets]),
        weights=np.ones(len(sources), np.float32),
        control=ControlSchema("rewrite", "text", kind="text"),
        texts=texts_at(sources, words),
    )
    return replace(train, **options)


def predict(tensors: Tensors, sources: Sequence[str], of: Writers = learner) -> Rows:
    vectors, words = FakeWordEncoder().encode_with_words(sources)
    return of.predict(tensors, vectors, texts_at(sources, words))


TARGETS = [(text,) for text in ACCEPTED]


def test_edits_are_drafted_for_new_tasks_with_a_confidence_and_a_doubt() -> None:
    fit = learner.fit(training_set(SOURCES, TARGETS), 0)
    (text, confidence, doubt, is_copy), copied = predict(fit.tensors, ["bad house was sold", "good house was sold"])
    assert (text, is_copy) == ("house was sold", False)
    assert 0.5 < confidence <= 1 and 0 <= doubt <= 1
    assert copied[0] == "good house was sold" and copied[3]


def test_the_measures_are_the_mean_closeness_of_the_held_out_drafts() -> None:
    train = training_set(SOURCES, TARGETS)
    only = Writers({"edits": registry.writers()["edits"]})
    fit = only.fit(train, 0)
    measured = only.measures(fit.tensors)
    of_rows = [closeness(row[0], text) for row, text in zip(fit.held_out, ACCEPTED, strict=True)]
    assert measured["closeness"]["edits"] == pytest.approx(np.mean(of_rows), abs=1e-6)
    assert measured["copies"] == pytest.approx(
        np.mean([closeness(a, b) for a, b in zip(SOURCES, ACCEPTED, strict=True)]), abs=1e-6
    )
    assert measured["accepted"] == 40
    assert {*learner.measures(learner.fit(train, 0).tensors)["closeness"]} == {"edits", "nearest"}


def test_no_edits_are_drafted_where_accepted_texts_keep_few_of_the_words() -> None:
    answers = [("the answer is yes", "the answer is no")[row % 2] for row in range(40)]
    fit = learner.fit(training_set(SOURCES, [(text,) for text in answers]), 0)
    measured = learner.measures(fit.tensors)
    assert [*measured["closeness"]] == ["nearest"] and measured["kept_share"] < 0.5
    assert {row[0] for row in fit.held_out} <= {*answers}


def test_the_writer_that_was_nearer_to_the_accepted_texts_writes() -> None:
    both = Writers({"far": Constant("something else entirely"), "near": Constant("house number")})
    fit = both.fit(training_set(SOURCES, TARGETS), 0)
    assert {row[0] for row in predict(fit.tensors, SOURCES, both)} == {"house number"}


def test_of_several_accepted_texts_the_nearest_counts() -> None:
    one = Writers({"one": Constant("house number")})
    fit = one.fit(training_set(SOURCES, [(text, "house number") for text in ACCEPTED]), 0)
    assert one.measures(fit.tensors)["closeness"] == {"one": 1.0}


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_draft_is_none(text: str) -> None:
    one = Writers({"one": Constant(text)})
    fit = one.fit(training_set(SOURCES, TARGETS), 0)
    assert {*fit.held_out} == {()} and {*predict(fit.tensors, SOURCES, one)} == {()}


def test_rows_without_weight_or_text_have_no_part_in_the_fit() -> None:
    targets = [("nonsense",) if row < 5 else () if row < 10 else target for row, target in enumerate(TARGETS)]
    weights = np.array([0.0] * 5 + [1.0] * 35, np.float32)
    fit = learner.fit(training_set(SOURCES, targets, weights=weights), 0)
    rest = learner.fit(training_set(SOURCES[10:], TARGETS[10:]), 0)
    assert {*fit.tensors} == {*rest.tensors}
    assert all(np.array_equal(fit.tensors[name], rest.tensors[name]) for name in rest.tensors)
    assert [*fit.held_out[:10]] == [*predict(rest.tensors, SOURCES[:10])]


def test_without_accepted_texts_nothing_is_drafted() -> None:
    fit = learner.fit(training_set(SOURCES, [()] * 40), 0)
    assert {*fit.held_out} == {()} and {*predict(fit.tensors, SOURCES)} == {()}


def test_the_serving_writers_are_judged_without_what_they_learnt_from_a_task() -> None:
    first = training_set(SOURCES, TARGETS)
    serving = learner.fit(first, 0)
    fit = learner.fit(replace(first, earlier=first.targets, earlier_tensors=serving.tensors), 0)
    assert fit.held_out_earlier is not None
    assert [*fit.held_out_earlier] == [*serving.held_out]


def test_earlier_targets_of_another_learner_are_fitted() -> None:
    train = training_set(SOURCES, TARGETS)
    earlier = object_rows([target if row < 30 else None for row, target in enumerate(TARGETS)])
    fit = learner.fit(replace(train, earlier=earlier), 0)
    part = learner.fit(training_set(SOURCES[:30], TARGETS[:30]), 0)
    assert fit.held_out_earlier is not None
    assert [*fit.held_out_earlier[:30]] == [*part.held_out]
    assert [*fit.held_out_earlier[30:]] == [*predict(part.tensors, SOURCES[30:])]


def test_a_fit_does_not_start_from_writers_that_have_seen_a_removed_text() -> None:
    serving = learner.fit(training_set(SOURCES, TARGETS), 0)
    part = training_set(SOURCES[1:], TARGETS[1:])
    after = learner.fit(replace(part, earlier_tensors=serving.tensors), 0)
    cold = learner.fit(part, 0)
    assert all(np.array_equal(cold.tensors[name], after.tensors[name]) for name in cold.tensors)


def test_texts_are_needed() -> None:
    train = training_set(SOURCES, TARGETS)
    with pytest.raises(ValueError, match="pass them"):
        learner.fit(replace(train, texts=None), 0)
    with pytest.raises(ValueError, match="pass them"):
        learner.predict(learner.fit(train, 0).tensors, train.vectors)


def test_a_line_is_a_regression_with_a_slope_that_is_never_below_zero() -> None:
    random = np.random.default_rng(0)
    confidences, folds = random.random(5000), random.integers(0, N_FOLDS, 5000)
    weights = np.ones(5000, np.float32)
    lines = fit_lines(confidences, 0.2 + 0.5 * confidences, weights, folds)
    assert np.allclose(lines, (0.5, 0.2), atol=0.01)
    assert (fit_lines(confidences, 1 - confidences, weights, folds)[:, 0] == 0).all()
    assert (calibrated(np.array([(3.0, -1.0)] * 3), np.array([0.0, 0.5, 1.0])) == [0, 0.5, 1]).all()


def test_the_line_of_a_fold_does_not_depend_on_its_closeness() -> None:
    random = np.random.default_rng(1)
    confidences, closeness_of, folds = random.random(50), random.random(50), np.arange(50) % N_FOLDS
    weights = np.ones(50, np.float32)
    changed = np.where(folds == 2, 0.0, closeness_of)
    before, after = (fit_lines(confidences, values, weights, folds) for values in (closeness_of, changed))
    assert (before[2] == after[2]).all() and (before[1] != after[1]).any()
