"""The learner of spans, on texts in which a word tells the span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_word_encoder import WORD_DIM, FakeWordEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_contract import LearnerContract

from ml_backend.core.arrays import Rows, Tensors, TrainingSet, object_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts, WordVectors, texts_at
from ml_backend.core.types import DraftRule
from plugins.learners.crf import model_cache, training
from plugins.learners.crf.draft_choice import PoolSample, predict_held_out, with_thresholds
from plugins.learners.crf.lbfgs import Limits
from plugins.learners.crf.learner import Crf
from plugins.learners.crf.model import N_FOLDS, pack, unpack
from plugins.learners.crf.training import LabelledTexts
from plugins.learners.crf.word_table import read_words

NAMES = ("Ann", "Bob", "Eve", "Kim", "Lea", "Max")
OTHERS = ("sees", "the", "house", "and", "a", "cat", "today")
Spans = tuple[tuple[int, int, str, float], ...]
learner = Crf()


def read(texts: Sequence[str]) -> Texts:
    return texts_at(texts, FakeWordEncoder().encode_with_words(texts)[1])


def make_texts(n: int, seed: int = 0) -> tuple[list[str], list[Spans]]:
    """Texts of about six words, some of them names, and the spans of the names."""
    random = np.random.default_rng(seed)
    texts, spans = [], []
    for row in range(n):
        words = [str(word) for word in random.choice(OTHERS, 5)]
        if row % 3:
            words[int(random.integers(5))] = str(random.choice(NAMES))
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        texts.append(" ".join([*words, str(row)]))
        spans.append(
            tuple((int(s), int(s) + len(w), "A", 1.0) for s, w in zip(starts, words, strict=False) if w in NAMES)
        )
    return texts, spans


def training_set(texts: Sequence[str], spans: Sequence[Spans], **options: Any) -> TrainingSet:
    train = TrainingSet(
        vectors=np.zeros((len(texts), 4), np.float32),
        targets=object_rows([(of_text, 0) for of_text in spans]),
        weights=np.ones(len(texts), np.float32),
        control=ControlSchema("spans", "text", ("A", "B"), kind="spans"),
        texts=read(texts),
    )
    return replace(train, **options)


def predict(tensors: Tensors, texts: Sequence[str], of_texts: Texts | None = None) -> list[Any]:
    return [*learner.predict(tensors, np.zeros((len(texts), 4), np.float32), of_texts or read(texts))]


def drafts(predicted: Iterable[Any]) -> list[set[tuple[int, int, str]]]:
    return [{span[:3] for span in drafted} for drafted, *_ in predicted]


class TestContract(LearnerContract):
    least_score = 0.85

    @pytest.fixture
    def learner(self) -> Crf:
        return learner

    def training_set(self, n: int) -> TrainingSet:
        return training_set(*make_texts(n, seed=n))

    def wrong(self, targets: Rows) -> Rows:
        return object_rows([(() if spans else ((0, 3, "A", 1.0),), 0) for spans, _ in targets])

    def assert_are_sound(self, predicted: Rows, targets: Rows) -> None:
        assert len(predicted) == len(targets)
        for drafted, others, measures in predicted:
            assert all(0 <= start < end and label in ("A", "B") for start, end, label, _ in (*drafted, *others))
            assert all(0 <= probability <= 1 for *_, probability in (*drafted, *others))
            assert len(measures) == 3 and np.isfinite(measures).all()

    def assert_are_near(self, first: Rows, second: Rows, error: float) -> None:
        for row, other in zip(first, second, strict=True):
            probabilities = [
                {span[:3]: span[3] for part in predicted[:2] for span in part} for predicted in (row, other)
            ]
            assert probabilities[0] == pytest.approx(probabilities[1], abs=error)


def test_the_seed_of_a_fit_changes_nothing() -> None:
    train = training_set(*make_texts(20))
    first, second = learner.fit(train, 0), learner.fit(train, 1)
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])


def test_names_are_found_in_new_texts() -> None:
    texts, spans = make_texts(60)
    fit = learner.fit(training_set(texts, spans, pool_texts=read(make_texts(50, seed=2)[0])), 0)
    new_texts, new_spans = make_texts(30, seed=1)
    expected = [{span[:3] for span in of_text} for of_text in new_spans]
    assert sum(a == b for a, b in zip(drafts(predict(fit.tensors, new_texts)), expected, strict=True)) >= 27
    assert sum(a == {s[:3] for s in b} for a, b in zip(drafts(fit.held_out), spans, strict=True)) >= 50


def test_of_many_texts_a_part_is_fitted_and_all_are_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MAX_FITTED_TEXTS", 60)
    texts, spans = make_texts(90)
    fit = learner.fit(training_set(texts, spans), 0)
    assert sum(a == {s[:3] for s in b} for a, b in zip(drafts(fit.held_out), spans, strict=True)) >= 75


@pytest.mark.parametrize("is_warm", [False, True])
@given(row=st.integers(0, 19))
@settings(max_examples=5, deadline=None)
def test_the_held_out_prediction_of_a_text_does_not_depend_on_its_label(is_warm: bool, row: int) -> None:
    texts = [f"{'abcde'[number % 5]} b{number} {'cd'[number % 2]}" for number in range(20)]
    spans: list[Spans] = [((0, 1, "A", 1.0),) if number % 3 else () for number in range(20)]
    other = [*spans]
    other[row] = ((0, len(texts[row]), "A", 1.0),) if not spans[row] else ()
    serving: Tensors = {}
    if is_warm:  # the serving model was fitted without the text
        rest = [number for number in range(20) if number != row]
        serving = learner.fit(training_set([texts[r] for r in rest], [spans[r] for r in rest]), 0).tensors
    held_out = [
        learner.fit(training_set(texts, of_texts, earlier_tensors=serving, pool_texts=read(["other text"])), 0).held_out
        for of_texts in (spans, other)
    ]
    assert held_out[0][row] == held_out[1][row]


@pytest.mark.parametrize("copy", ["Then Zorblatt left 3", "then  ZORBLATT left 3"])
def test_the_held_out_prediction_of_a_text_does_not_depend_on_the_labels_of_its_copies(copy: str) -> None:
    texts, spans = make_texts(20)
    texts, start = [*texts, "Then Zorblatt left 3", copy], copy.lower().index("zorblatt")
    marked: Spans = ((start, start + 8, "A", 1.0),)
    held_out = [
        learner.fit(training_set(texts, [*spans, (), of_copy], draft_rule=DraftRule(repeats=True)), 0).held_out[-2]
        for of_copy in ((), marked)
    ]
    assert held_out[0] == held_out[1]


@pytest.mark.parametrize("is_partial", [0, 1])
def test_the_words_of_ties_and_of_partly_known_texts_are_not_counted(is_partial: int) -> None:
    texts, spans = make_texts(30)
    unknown: Spans = () if is_partial else ((0, 8, "A", 0.5),)
    targets = object_rows([*((of_text, 0) for of_text in spans), (unknown, is_partial)])
    fit = learner.fit(replace(training_set([*texts, "Zorblatt"], [*spans, ()]), targets=targets), 0)
    gazetteer = unpack(fit.tensors).gazetteer
    assert gazetteer.word_counts[gazetteer.rows["zorblatt"]].tolist() == [0, 0]


def test_the_precision_that_drafts_keep_is_measured_without_the_texts_that_report_it() -> None:
    """The labels of a fold do not change by which of their probabilities its texts are drafted."""
    texts, spans = make_texts(60)
    table, train = read_words(read(texts), np.arange(60)), training_set(texts, spans)
    model = unpack(learner.fit(train, 0).tensors)
    labelled = LabelledTexts.of(table, train.targets, train.weights)
    unmarked = object_rows(
        [((), 0) if fold == 0 else target for fold, target in zip(labelled.folds, train.targets, strict=True)]
    )
    counted = model.read(table, leaves_out_copies=True)
    scores = model.scores(table, counted, range(N_FOLDS))
    held_out = [spans for spans, _ in predict_held_out(model, labelled, counted, scores)]
    thresholds = [
        with_thresholds(model, of_targets, held_out, PoolSample(None, np.arange(0)), DraftRule(0.8)).thresholds
        for of_targets in (labelled, replace(labelled, targets=unmarked))
    ]
    assert thresholds[0][0] == thresholds[1][0]
    assert (thresholds[0][1:] < thresholds[1][1:]).all()


def test_nothing_is_left_of_a_label_that_was_removed() -> None:
    """Neither in the parameters nor in the counts, although the serving model was fitted on it."""
    texts, spans = make_texts(40)
    serving = learner.fit(training_set([*texts, "Zorblatt"], [*spans, ((0, 8, "A", 1.0),)]), 0).tensors
    assert b"zorblatt" in bytes(serving["gazetteer.words"])
    after = learner.fit(training_set(texts, spans, earlier_tensors=serving), 0).tensors
    expected = learner.fit(training_set(texts, spans), 0).tensors
    for name, tensor in expected.items():
        np.testing.assert_array_equal(after[name], tensor)


def test_a_fit_from_the_serving_model_comes_to_that_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "COLD_LIMITS", Limits(200, 1e-5))
    texts, spans = make_texts(40)
    serving = learner.fit(training_set(texts[:39], spans[:39]), 0).tensors
    # standardised as the serving model is
    cold = learner.fit(training_set(texts, spans, earlier_tensors=serving), 0).tensors
    for _ in range(10):
        serving = learner.fit(training_set(texts, spans, earlier_tensors=serving), 0).tensors
    for name, tensor in cold.items():
        if name.endswith(("weights", "bias")):
            assert np.abs(np.asarray(serving[name], np.float32) - np.asarray(tensor, np.float32)).max() < 0.05


def test_a_model_is_the_same_after_it_was_stored() -> None:
    texts, spans = make_texts(12)
    overlapping = [(*of_text, (0, len(text), "B", 1.0)) for text, of_text in zip(texts, spans, strict=True)]
    tensors = learner.fit(training_set(texts, overlapping), 0).tensors
    stored = pack(unpack(tensors))
    assert unpack(tensors).layers == [["A"], ["B"]]
    assert stored.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(stored[name], tensor)


@pytest.mark.parametrize("texts", [["", "  ", "\n"], ["", "Ann sleeps"], ["..."]])
def test_texts_without_words_are_fitted_and_predicted(texts: list[str]) -> None:
    spans: list[Spans] = [((0, 3, "A", 1.0),) if text.startswith("Ann") else () for text in texts]
    fit = learner.fit(training_set(texts, spans, pool_texts=read([""])), 0)
    assert len(fit.held_out) == len(texts)
    for predicted in (*fit.held_out, *predict(fit.tensors, ["", "one"])):
        assert np.isfinite(predicted[2]).all()


def test_without_spans_nothing_is_drafted() -> None:
    texts, _ = make_texts(6)
    fit = learner.fit(training_set(texts, [()] * 6), 0)
    assert predict(fit.tensors, texts) == [((), (), (0.0, 0.0, 0.0))] * 6


def test_two_hundred_labels_are_learnt() -> None:
    labels = tuple(f"L{number:03}" for number in range(200))
    texts = [f"{number}x" for number in range(200)] * 2
    spans: list[Spans] = [((0, len(text), labels[int(text[:-1])], 1.0),) for text in texts]
    train = training_set(texts, spans)
    fit = learner.fit(replace(train, control=replace(train.control, labels=labels)), 0)
    assert sum(bool(drafted) for drafted in drafts(predict(fit.tensors, texts[:200]))) >= 150


def test_the_vectors_of_another_encoder_mean_nothing() -> None:
    texts, spans = make_texts(30)
    tensors = learner.fit(training_set(texts, spans), 0).tensors

    def resized(width: int) -> Texts:
        words = read(texts).words(np.arange(len(texts)))
        return texts_at(texts, [WordVectors(w.starts, w.ends, np.resize(w.vectors, (len(w), width))) for w in words])

    assert predict(tensors, texts, resized(WORD_DIM + 1)) == predict(tensors, texts, resized(0))
    train = replace(training_set(texts, spans, earlier_tensors=tensors), texts=resized(5))
    refitted = learner.fit(train, 0).tensors
    assert unpack(refitted).of_words.vector_size == 5


def test_the_earlier_fit_is_judged_by_heads_that_did_not_see_the_text() -> None:
    texts, spans = make_texts(24)
    serving = learner.fit(training_set(texts[:20], spans[:20]), 0)
    train = training_set(texts, spans, earlier_tensors=serving.tensors)
    earlier = object_rows([*train.targets[:20], *[None] * 4])
    fit = learner.fit(replace(train, earlier=earlier), 0)
    assert fit.held_out_earlier is not None
    assert drafts(fit.held_out_earlier[:20]) == drafts(serving.held_out)
    without_serving = learner.fit(replace(train, earlier=earlier, earlier_tensors=None), 0).held_out_earlier
    assert without_serving is not None
    assert without_serving[:20].tolist() == serving.held_out.tolist()


def test_texts_are_needed() -> None:
    train = training_set(["Ann"], [()])
    with pytest.raises(ValueError, match="texts"):
        learner.fit(replace(train, texts=None), 0)
    with pytest.raises(ValueError, match="texts"):
        learner.predict({}, np.zeros((1, 4), np.float32))


def test_rows_of_weight_zero_have_no_part_in_the_fit() -> None:
    """As the monitor fits learners of earlier times."""
    texts = [f"nothing on day {n}" for n in range(10)] + [f"then Zorblatt came {n}" for n in range(4)]
    spans: list[Spans] = [()] * 10 + [((5, 13, "A", 1.0),)] * 4
    weights = np.array([1] * 10 + [0] * 4, np.float32)
    fit = learner.fit(training_set(texts, spans, weights=weights), 0)
    assert drafts(fit.held_out) == [set()] * 14
    assert drafts(predict(fit.tensors, ["then Zorblatt came 9"])) == [set()]


@pytest.mark.parametrize("changed", ["the text has changed since", ""])
def test_a_text_that_has_changed_since_it_was_counted_is_judged(changed: str) -> None:
    texts, spans = make_texts(30)
    serving = learner.fit(training_set(texts, spans), 0)
    train = training_set([changed, *texts[1:]], [(), *spans[1:]], earlier_tensors=serving.tensors)
    earlier = training_set(texts, spans).targets
    fit = learner.fit(replace(train, earlier=earlier), 0)
    assert fit.held_out_earlier is not None and len(fit.held_out_earlier) == 30


def test_the_serving_model_is_judged_on_new_texts_as_it_predicts_them() -> None:
    """Its counts do not have the new texts, so that nothing is left out for these."""
    texts, spans = make_texts(40)
    serving = learner.fit(training_set(texts[:30], spans[:30]), 0)
    train = training_set(texts, spans, earlier_tensors=serving.tensors)
    earlier = object_rows([*train.targets[:30], *[None] * 10])
    judged = learner.fit(replace(train, earlier=earlier), 0).held_out_earlier
    assert judged is not None
    probabilities = [p for row in judged for part in row[:2] for *_, p in part]
    assert probabilities and all(0 <= p <= 1 for p in probabilities)
    expected = [{span[:3] for span in of_text} for of_text in spans[30:]]
    assert sum(a == b for a, b in zip(drafts(judged[30:]), expected, strict=True)) >= 7


def test_artifacts_have_words_and_phrases_in_no_order_of_texts() -> None:
    texts = ["zebras yawn at Anna Berg", "no one"]
    tensors = learner.fit(training_set(texts, [((15, 24, "A", 1.0),), ()]), 0).tensors
    words = bytes(tensors["gazetteer.words"]).decode().split("\n")
    assert words == sorted(words) and "zebras" in words


def test_the_tensors_of_a_model_are_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[Tensors] = []

    def count(tensors: Tensors) -> Any:
        unpacked.append(tensors)
        return unpack(tensors)

    monkeypatch.setattr(model_cache.unpack_once, "_unpack", count)
    (texts, spans), others = make_texts(30), make_texts(20, seed=3)
    tensors = learner.fit(training_set(texts, spans), 0).tensors
    of_others = learner.fit(training_set(*others), 0).tensors
    first = predict(tensors, texts)
    for _ in range(3):
        assert predict(dict(tensors), texts) == first
    assert len(unpacked) == 1
    predict(of_others, texts)
    predict({**tensors, "thresholds": np.ones_like(tensors["thresholds"])}, texts)
    assert len(unpacked) == 3, "other tensors are another model"
