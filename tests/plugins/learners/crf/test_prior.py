"""A prior of a teacher's labels: it is converted to another fit, and annotations choose it. The choice is kept for a
while."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_word_encoder import FakeWordEncoder
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import DistillationData, Fit, PseudoLabels, Tensors, TrainingSet, object_rows
from ml_backend.core.texts import Texts, texts_at
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.scoring import expected_errors
from plugins.learners.crf import prior_choice
from plugins.learners.crf.chain import Chain
from plugins.learners.crf.features import Features, as_sparse
from plugins.learners.crf.fit import Field
from plugins.learners.crf.gazetteer import Gazetteer, count_texts, empty_gazetteer, joined
from plugins.learners.crf.learner import Crf
from plugins.learners.crf.model import Model, unpack
from plugins.learners.crf.prior import PHRASE_BLOCKS, converted_fields, digest
from plugins.learners.crf.tags import Layers
from plugins.learners.crf.training import fit_model
from plugins.learners.crf.word_features import WordFeatures

CONTROL = SpansSchema("", "", ("Person", "Place", "Thing"))
NAMES, PLACES = ("ann", "bob", "carla", "dan"), ("paris", "rome", "oslo", "lima")


def sentences(n: int, seed: int, first: int = 0, end: int = 4) -> tuple[list[str], list[Any]]:
    """Sentences in which some words are names and places, and their right targets. first, end: of the names and places
    that occur"""
    random, texts, targets = np.random.default_rng(seed), [], []
    for number in range(n):
        name, place = str(random.choice(NAMES[first:end])), str(random.choice(PLACES[first:end]))
        text, marked = (
            (f"{name} went to {place} {number}", [(name, "Person"), (place, "Place")]),
            (f"nobody saw it {number} times", []),
            (f"in {place} it rained {number} days", [(place, "Place")]),
        )[number % 3]
        starts = [(text.index(word), word, label) for word, label in marked]
        texts.append(text)
        targets.append((tuple((start, start + len(word), label, 1.0) for start, word, label in starts), 0))
    return texts, targets


def as_texts(texts: list[str]) -> Texts:
    return texts_at(texts, FakeWordEncoder().encode_with_words(texts)[1])


def wrong(texts: list[str]) -> list[Any]:
    """The last word of each text is a person, and its second word is a place."""
    words = [text.split(" ") for text in texts]
    return [
        (((len(w[0]) + 1, len(w[0]) + 1 + len(w[1]), "Place", 1.0), (len(t) - len(w[-1]), len(t), "Person", 1.0)), 0)
        for t, w in zip(texts, words, strict=True)
    ]


def distilled(texts: list[str], targets: list[Any]) -> dict[str, Tensors]:
    vectors, weights = np.zeros((len(texts), 1), np.float32), np.ones(len(texts), np.float32)
    labels = PseudoLabels(vectors, object_rows(targets), weights, as_texts(texts))
    none = PseudoLabels(vectors[:0], object_rows([]), weights[:0])
    return Crf().distil(DistillationData(labels, none, vectors, CONTROL), 0)


def fitted(sentences_: list[str], targets: list[Any], priors: dict[str, Tensors], **options: Any) -> Fit:
    n, texts = len(targets), as_texts(sentences_)
    vectors, weights = np.zeros((n, 1), np.float32), np.ones(n, np.float32)
    train = TrainingSet(vectors, object_rows(targets), weights, CONTROL, priors=priors, texts=texts)
    return Crf().fit(replace(train, **options), 0)


@pytest.fixture(scope="module")
def right() -> dict[str, Tensors]:
    return distilled(*sentences(60, seed=1))


def test_no_labels_or_no_spans_give_no_prior() -> None:
    texts, _ = sentences(6, seed=0)
    assert distilled([], []) == {} == distilled(texts, [((), 0)] * 6)


def test_priors_are_the_same_each_time_and_one_keeps_no_words(right: dict[str, Tensors]) -> None:
    again = distilled(*sentences(60, seed=1))
    assert digest([*again.values()]) == digest([*right.values()])
    content = b"".join(tensor.tobytes() for tensor in right["labels"].values())
    assert not any(word.encode() in content for word in (*NAMES, *PLACES, "rained"))


def test_a_few_annotations_choose_the_prior_of_a_good_teacher(right: dict[str, Tensors]) -> None:
    texts, targets = sentences(9, seed=2, end=2)
    fit = fitted(texts, targets, right)
    assert fit.prior and fit.prior_errors[fit.prior] < fit.prior_errors["none"] == 1
    unseen = sentences(60, seed=3, first=2)
    assert mean_error(fit, *unseen) < mean_error(fitted(texts, targets, {}), *unseen)


def mean_error(fit: Fit, texts: list[str], targets: list[Any]) -> float:
    """The expected error of the predictions for some texts."""
    predicted = Crf().predict(fit.tensors, np.zeros((len(texts), 1), np.float32), as_texts(texts))
    return float(expected_errors(predicted, object_rows(targets)).mean())


def test_the_prior_of_a_teacher_that_is_wrong_is_left_out() -> None:
    texts, _ = sentences(60, seed=1)
    fit = fitted(*sentences(40, seed=2), distilled(texts, wrong(texts)))
    assert fit.prior == "" and fit.prior_errors["labels"] > 1


def test_texts_without_a_say_do_not_choose_the_prior(right: dict[str, Tensors]) -> None:
    texts, targets = sentences(12, seed=2)
    fit = fitted(texts, targets, right, prior_selection_mask=np.zeros(12, np.bool_))
    assert (fit.prior, fit.prior_errors) == ("", {})


@pytest.mark.parametrize("n", [2, 3, 12])
def test_equal_targets_and_very_few_of_them_can_be_fitted_with_a_prior(right: dict[str, Tensors], n: int) -> None:
    texts, _ = sentences(n, seed=2)
    fit = fitted(texts, [((), 0)] * n, right)
    assert len(fit.held_out) == n and all(np.isfinite([*fit.prior_errors.values()]))


def test_a_prior_for_vectors_of_another_size_is_left_out(right: dict[str, Tensors]) -> None:
    texts, targets = sentences(12, seed=2)
    fit = fitted(texts, targets, right, texts=texts_at(texts))
    assert (fit.prior, fit.prior_errors) == ("", {})


def test_a_choice_holds_until_the_labels_have_grown_or_the_priors_have_changed(
    right: dict[str, Tensors], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, targets = sentences(60, seed=2)
    first = fitted(texts[:40], targets[:40], right)
    fits: list[object] = []

    def counted_fit(*values: Any) -> Any:
        fits.append(1)
        return fit_model(*values)

    monkeypatch.setattr(prior_choice, "fit_model", counted_fit)
    second = fitted(texts[:41], targets[:41], right, earlier_tensors=first.tensors)
    assert len(fits) == 1 and (second.prior, second.prior_errors) == (first.prior, first.prior_errors)
    fitted(texts[:60], targets[:60], right, earlier_tensors=first.tensors)
    assert len(fits) == 4
    fitted(texts[:41], targets[:41], distilled(*sentences(30, seed=9)), earlier_tensors=first.tensors)
    assert len(fits) == 7
    without = fitted(texts[:41], targets[:41], {}, earlier_tensors=first.tensors)
    assert (without.prior, without.prior_errors) == ("", {})


@given(data=st.data())
def test_joined_gazetteers_count_the_texts_of_both(data: st.DataObject) -> None:
    def draw_texts() -> list[tuple[list[str], list[tuple[int, int, int]]]]:
        words = st.lists(st.sampled_from("abc"), min_size=2, max_size=5)
        spans = st.lists(st.sampled_from([(0, 1, 0), (0, 2, 1), (1, 2, 1)]), max_size=1)
        return data.draw(st.lists(st.tuples(words, spans), max_size=4))

    def count(texts: list[tuple[list[str], list[tuple[int, int, int]]]], swaps: bool = False) -> Gazetteer:
        lengths = np.array([len(words) for words, _ in texts], np.int64)
        spans = [[(begin, end, 1 - kind if swaps else kind) for begin, end, kind in of_text] for _, of_text in texts]
        words = [word for words, _ in texts for word in words]
        return count_texts(2, words, lengths, spans, np.arange(len(texts)))

    def counts(gazetteer: Gazetteer) -> dict[tuple[str, ...], list[float]]:
        return {phrase: gazetteer.phrase_counts[row].tolist() for phrase, row in gazetteer.phrase_rows.items()}

    first, second = draw_texts(), draw_texts()
    sum_of_both, expected = joined(count(first), count(second, swaps=True), np.array([1, 0])), count(first + second)
    assert sum_of_both.rows == expected.rows
    assert np.array_equal(sum_of_both.word_counts, expected.word_counts)
    assert {phrase: of_phrase[:-1] for phrase, of_phrase in counts(sum_of_both).items()} == {
        phrase: of_phrase[:-1] for phrase, of_phrase in counts(expected).items()
    }
    unknown = {phrase for phrase, of_phrase in counts(sum_of_both).items() if np.isinf(of_phrase[-1])}
    assert unknown == count(second).phrase_rows.keys() - count(first).phrase_rows.keys()


def a_model(random: np.random.Generator, layers: Layers, columns: int = 7) -> Model:
    """A model with one head of random fields, which read some columns and the gazetteer's."""
    labels, fields = sum(map(len, layers)), []
    for layer in layers:
        shape = columns + PHRASE_BLOCKS * labels + 1, 1 + 2 * len(layer)
        weights, bias = (random.normal(size=size).astype(np.float32) for size in (shape, shape[1]))
        fields.append(Field(weights, bias, Chain.of(random.normal(size=4 * len(layer) + 3))))
    of_words = WordFeatures(*(np.zeros(size, np.float32) for size in (0, 0, (0, 0))))
    return Model(layers, of_words, empty_gazetteer(labels), [fields], np.ones(1), 0)


@given(seed=st.integers(0, 1000), labels=st.permutations(["A", "B", "C"]), extra=st.booleans())
def test_a_converted_prior_gives_words_the_same_scores(seed: int, labels: list[str], extra: bool) -> None:
    random = np.random.default_rng(seed)
    prior, layer = a_model(random, [["A", "B", "C"]]), [*labels, *(["D"] if extra else [])]
    [field], [[old]] = converted_fields(prior, [layer]), prior.fields
    places, m = np.array(["ABC".index(label) for label in labels]), len(layer)
    values, seen = random.normal(size=(5, 7)), np.ones((5, 1))
    shares, of_new = random.random((5, PHRASE_BLOCKS, 3)), random.random((5, PHRASE_BLOCKS, m))
    of_new[:, :, :3] = shares[:, :, places]
    of_words = values.astype(np.float32)
    old_phrases, phrases = (np.hstack([s.reshape(5, -1), seen]).astype(np.float32) for s in (shares, of_new))
    old_scores = old.scores(Features(of_words, as_sparse(old_phrases)))
    scores = field.scores(Features(of_words, as_sparse(phrases)))
    expected = old_scores[:, [0, *(1 + places), *(4 + places)]]
    np.testing.assert_allclose(scores[:, [0, 1, 2, 3, 1 + m, 2 + m, 3 + m]], expected, rtol=1e-4, atol=1e-4)
    if extra:
        np.testing.assert_allclose(scores[:, [4, 8]], old.bias.min(), rtol=1e-6)
    assert field.chain.longer[:3].tolist() == old.chain.longer[places].tolist()


def test_labels_that_overlap_in_the_annotations_are_converted_to_two_layers() -> None:
    random = np.random.default_rng(0)
    first, second = converted_fields(a_model(random, [["A", "B"]]), [["A"], ["B", "C"]])
    assert (first.weights.shape[1], second.weights.shape[1]) == (3, 5)
    assert all(np.isfinite(field.chain.values).all() for field in (first, second))


def test_a_fit_with_a_prior_has_the_labels_of_both(right: dict[str, Tensors]) -> None:
    texts, targets = sentences(12, seed=2)
    thing = texts[1].index("saw")
    targets[1] = (((thing, thing + 3, "Thing", 1.0),), 0)
    assert sorted(unpack(fitted(texts, targets, right).tensors).labels) == ["Person", "Place", "Thing"]
