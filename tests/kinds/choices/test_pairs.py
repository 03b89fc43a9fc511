"""Comparisons of two texts: swapping the texts swaps the prediction, bit for bit, from the texts to the drafts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compared_texts import PAIRS, WORDS, pair_texts, swapped
from fake_encoder import FakeEncoder
from hypothesis import given, settings
from plugin_overrides import OverridePlugins
from schemas import ONE_CHOICE, fitted_choices

from ml_backend.core import registry
from ml_backend.core.arrays import DistillationData, PseudoLabels, TrainingSet
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.kinds.choices.pairs import PairLearner
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot, fit_model
from ml_backend.model.pre_annotation import DraftedTasks, make_drafts
from ml_backend.pool.pair_encoder import PairEncoder

CONFIG = (
    '<View><Text name="p" value="$prompt"/><Text name="t1" value="$a"/><Text name="t2" value="$b"/>'
    '<Pairwise name="better" toName="t1,t2"/></View>'
)
SCHEMA: ProjectSchema = read_schema(CONFIG)
CONTROL = SCHEMA.controls[0]
ENCODER = PairEncoder(FakeEncoder())


def snapshot(targets: Any, plugin: str = "logistic") -> TrainingSnapshot:
    control = fitted_choices(CONTROL.labels, antisymmetric=True)
    return TrainingSnapshot(plugin, ENCODER.name, control, np.arange(len(targets)), b"", targets)


def fitted(plugin: str = "logistic", n: int = 40, left_share: float = 0.5) -> FittedModel:
    """A learner of pairs of which one text is good and the other one is bad: the good one is better."""
    random = np.random.default_rng(0)
    is_left = np.arange(n) < left_share * n
    texts = [" ".join(random.choice(WORDS[2:], 3)) for _ in range(2 * n)]
    pairs = [(f"good {texts[2 * i]}", f"bad {texts[2 * i + 1]}") for i in range(n)]
    pairs = [pair if left else pair[::-1] for pair, left in zip(pairs, is_left, strict=True)]
    targets = np.stack([is_left, ~is_left], axis=1).astype(np.float32)
    fitted_on = snapshot(targets, plugin)
    model, _ = fit_model(fitted_on, fitted_on.training_set(ENCODER.encode(pair_texts(pairs))), None, 1)
    assert model is not None
    return model


@pytest.fixture(scope="module", params=["logistic", "trees", "tabular", "laat-mlp"])
def model(request: pytest.FixtureRequest) -> FittedModel:
    return fitted(request.param)


@settings(deadline=None, max_examples=30)
@given(PAIRS)
def test_swapping_the_texts_swaps_the_probabilities_exactly(model: FittedModel, pairs: list[tuple[str, str]]) -> None:
    probabilities = model.predict(CONTROL, ENCODER.encode(pair_texts(pairs)))
    of_swapped = model.predict(CONTROL, ENCODER.encode(pair_texts(swapped(pairs))))
    assert np.array_equal(probabilities, of_swapped[:, ::-1])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(PAIRS)
def test_swapping_the_texts_swaps_the_drafts(model: FittedModel, pairs: list[tuple[str, str]]) -> None:
    other_side = {"left": "right", "right": "left"}
    with registry.overridden({"encoder.fake": lambda: ENCODER.text_encoder}):
        straight, turned = (
            make_drafts(Settings(encoder="fake"), SCHEMA, {"better": model}, DraftedTasks(texts, ENCODER.encode(texts)))
            for texts in (pair_texts(pairs), pair_texts(swapped(pairs)))
        )
    for (left, right), drafts, of_swapped in zip(pairs, straight, turned, strict=True):
        assert drafts.keys() == of_swapped.keys()
        if left == right:
            assert not drafts, "neither of two equal texts is better"
        for draft in drafts.values():
            assert of_swapped["better"].value == (other_side[draft.value[0]],)
            assert of_swapped["better"].confidence == draft.confidence


def test_a_learner_that_mostly_saw_the_left_side_chosen_prefers_no_side() -> None:
    texts = pair_texts([("good clear", "bad odd"), ("bad odd", "good clear")])
    assert fitted(left_share=0.9).predict(CONTROL, ENCODER.encode(texts)).argmax(axis=1).tolist() == [0, 1]


def test_the_better_text_is_learnt(model: FittedModel) -> None:
    pairs = [(f"good {word}", f"bad {other}") for word in WORDS[2:] for other in WORDS[2:]]
    assert (model.predict(CONTROL, ENCODER.encode(pair_texts(pairs)))[:, 0] > 0.5).mean() > 0.9
    assert np.isfinite(model.held_out).all()


def test_nothing_is_drafted_before_there_is_a_learner(override_plugins: OverridePlugins) -> None:
    override_plugins({"encoder.fake": lambda: ENCODER.text_encoder})
    texts = pair_texts([("good", "bad")])
    tasks = DraftedTasks(texts, ENCODER.encode(texts))
    assert make_drafts(Settings(encoder="fake"), SCHEMA, {}, tasks) == [{}]


def test_other_controls_over_the_same_texts_are_drafted_by_the_names_of_their_labels(
    override_plugins: OverridePlugins,
) -> None:
    override_plugins({"encoder.fake": lambda: ENCODER.text_encoder})
    choices = '<Choices name="tone" toName="t1"><Choice value="kind"/><Choice value="rude"/></Choices>'
    schema = read_schema(CONFIG.replace("</View>", f"{choices}</View>"))
    texts = pair_texts([("kind kind", "clear"), ("odd", "rude rude")])
    drafts = make_drafts(Settings(encoder="fake"), schema, {}, DraftedTasks(texts, ENCODER.encode(texts)))
    assert [{name: draft.value for name, draft in of_task.items()} for of_task in drafts] == [
        {"tone": ("kind",)},
        {"tone": ("rude",)},
    ]


class RecordingLearner:
    """Keeps what it is fitted on, and predicts the second label with the sum of a vector."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def fit(self, train: TrainingSet, seed: int) -> Any:
        self.seen.append(train.vectors)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Any]:
        self.seen += [data.labels.vectors, data.label_phrases.vectors, data.pool]
        return {}

    def predict(self, tensors: Any, vectors: Any) -> Any:
        second = vectors.sum(axis=1)
        return np.stack([1 - second, second], axis=1).astype(np.float32)


def test_a_learner_is_fitted_and_distilled_on_the_differences_without_mirrored_rows() -> None:
    learner, vectors = RecordingLearner(), np.array([[3, 1, 2, 5], [0, 1, 0, 1]], np.float32)
    differences = [[1, -4], [0, 0]]
    targets, weights = np.eye(2, dtype=np.float32), np.ones(2, np.float32)
    pairs = PairLearner(learner)
    pairs.fit(TrainingSet(vectors, targets, weights, ONE_CHOICE), seed=0)
    labels = PseudoLabels(vectors, targets, weights)
    none = PseudoLabels(vectors[:0], targets[:0], weights[:0])
    pairs.distil(DistillationData(labels, none, vectors, ONE_CHOICE), seed=0)
    assert [seen.tolist() for seen in learner.seen] == [differences, differences, [], differences]


def test_a_large_pool_is_distilled_from_a_sample() -> None:
    learner, pool = RecordingLearner(), np.zeros((10_500, 4), np.float32)
    none = PseudoLabels(pool[:0], np.empty((0, 2), np.float32), np.empty(0, np.float32))
    PairLearner(learner).distil(DistillationData(none, none, pool, ONE_CHOICE), seed=0)
    assert learner.seen[-1].shape == (10_000, 2)
