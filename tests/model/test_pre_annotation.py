"""The confidence of drafts, and the choice between the learner's draft and the teacher's."""

from __future__ import annotations

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from plugin_overrides import OverridePlugins
from schemas import CONTROL, text_schema

from ml_backend.core.arrays import Floats
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.pre_annotation import DraftedTasks, make_drafts

RATING = text_schema(("1", "2", "3"), ordered=True)


class ConstantModel(FittedModel):
    """A learner that gives each text the same probabilities."""

    def __init__(self, *probabilities: float) -> None:
        object.__setattr__(self, "tensors", {"probabilities": np.array(probabilities, np.float32)})
        object.__setattr__(self, "is_doubted", False)

    def predict(self, control: ControlSchema, vectors: Floats, texts: object = None) -> Floats:
        return np.tile(self.tensors["probabilities"], (len(vectors), 1))


def draft(schema: ProjectSchema, model: FittedModel | None, teacher: list[float] | None = None) -> Draft:
    """The draft of one text."""
    vectors = FakeEncoder().encode(["text"])
    by_teacher = {} if teacher is None else {CONTROL: np.array([teacher], np.float32)}
    models = {} if model is None else {CONTROL: model}
    [drafts] = make_drafts(Settings(encoder="fake"), schema, models, DraftedTasks(["text"], vectors, by_teacher))
    return drafts[CONTROL]


@pytest.fixture(autouse=True)
def fake_encoder(override_plugins: OverridePlugins) -> None:
    override_plugins({"encoder.fake": FakeEncoder})


def test_the_confidence_of_a_rating_is_the_probability_of_the_drafted_label() -> None:
    drafted = draft(RATING, ConstantModel(0.40, 0.25, 0.35))
    assert drafted.value == ("2",) and drafted.confidence == pytest.approx(0.25)


def test_the_teacher_drafts_a_rating_if_its_label_is_more_probable_than_the_learners() -> None:
    learner, teacher = ConstantModel(0.40, 0.25, 0.35), [0.35, 0.30, 0.35]
    assert draft(RATING, learner, teacher).author == "teacher"
    assert draft(RATING, learner, [0.45, 0.20, 0.35]).author == "learner"


def test_the_confidence_of_several_choices_is_the_mean_probability_of_right_decisions() -> None:
    several = text_schema(("a", "b"), multiple=True)
    drafted = draft(several, ConstantModel(0.9, 0.3))
    assert drafted.value == ("a",) and drafted.confidence == pytest.approx(0.8)
    tree = text_schema(("a", "a / b"), multiple=True, parents=(-1, 0))
    drafted = draft(tree, ConstantModel(0.4, 0.8))
    assert drafted.value == ("a", "a / b") and drafted.confidence == pytest.approx(0.6)
