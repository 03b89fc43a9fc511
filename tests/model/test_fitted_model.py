"""Fitted models are saved and loaded, also if labels or encoders have changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from schemas import fitted_choices, text_schema
from stored_models import load_best_learner, load_learner, save_learner

from ml_backend.core.exceptions import ArtifactError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion, Remark, content_key
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.storage import Store

LABELS = ("fruit", "metal", "animal")


def schema(*labels: str, multiple: bool = False) -> ProjectSchema:
    return text_schema(labels, multiple=multiple)


def model(number: int = 1, space: str = "fake", multiple: bool = False) -> FittedModel:
    """A head whose label is the coordinate that is largest."""
    tensors = {
        "weight": np.eye(3, dtype=np.float32) * 8,
        "bias": np.zeros(3, np.float32) - (4 if multiple else 0),
        "temperature": np.ones(1, np.float32),
        "multiple": np.array([multiple]),
    }
    held_out = np.full((4, 3), 1 / 3, np.float32)
    return FittedModel(number, snapshot(space=space, multiple=multiple), tensors, held_out)


def snapshot(*, labels: tuple[str, ...] = LABELS, multiple: bool = False, **values: Any) -> TrainingSnapshot:
    base = TrainingSnapshot(
        plugin="logistic",
        space="fake",
        control=fitted_choices(labels, multiple=multiple),
        tasks=np.array([3, 5, 8, 13]),
        texts=b"".join(content_key(text) for text in "abcd"),
        targets=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]],
    )
    return replace(base, **values)


def add(store: Store, fitted: FittedModel, learner: int | None = None) -> ModelVersion:
    version = ModelVersion(5, fitted.number, f"v{fitted.number}", learner or fitted.number, 4, {}, 0.0)
    store.versions.add(version, save_learner(store, 5, fitted), rows=1)
    return version


def test_a_model_is_loaded_as_it_was_saved(store: Store) -> None:
    add(store, model())
    loaded = load_learner(store, 5, 1)
    assert loaded.number == 1
    assert loaded.snapshot.gives_same_fit(model().snapshot)
    assert loaded.tensors.keys() == model().tensors.keys()
    vectors = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    control = schema(*LABELS).controls[0]
    assert np.array_equal(loaded.predict(control, vectors), model().predict(control, vectors))


def test_a_version_without_an_artifact_cannot_be_loaded(store: Store) -> None:
    with pytest.raises(ArtifactError, match="no artifact"):
        load_learner(store, 5, 1)


def test_probabilities_follow_the_order_of_the_labels() -> None:
    out = model().predict(schema("animal", "fruit", "metal").controls[0], np.eye(3, dtype=np.float32))
    assert out.argmax(axis=1).tolist() == [1, 2, 0]
    assert np.allclose(out.sum(axis=1), 1)


def test_an_added_label_is_never_the_most_probable_and_a_removed_one_is_gone() -> None:
    out = model().predict(schema("fruit", "new", "metal").controls[0], np.eye(3, dtype=np.float32)[:2])
    assert out.argmax(axis=1).tolist() == [0, 2]
    assert np.allclose(out.sum(axis=1), 1)
    assert (out[:, 1] < 0.01).all()


def test_without_any_fitted_label_all_labels_are_equally_likely() -> None:
    out = model().predict(schema("x", "y").controls[0], np.eye(3, dtype=np.float32))
    assert np.allclose(out, 0.5)


def test_with_several_choices_a_label_that_was_never_seen_is_not_likely() -> None:
    out = model(multiple=True).predict(schema("new", *LABELS, multiple=True).controls[0], np.eye(3, dtype=np.float32))
    assert (out[:, 0] == 0).all()
    assert out[:, 1:].argmax(axis=1).tolist() == [0, 1, 2]


def test_earlier_targets_are_found_by_task_and_label() -> None:
    new = snapshot(labels=("metal", "animal", "fruit"), tasks=np.array([1, 5, 8, 99]))
    targets = snapshot().targets_for(new)
    assert targets is not None
    assert np.isnan(targets[[0, 3]]).all()
    assert targets[1].tolist() == [1, 0, 0]
    assert targets[2].tolist() == [0, 1, 0]


@pytest.mark.parametrize("labels", [("fruit", "metal"), ("fruit", "metal", "beast"), (*LABELS, "new")])
def test_there_are_no_earlier_targets_for_other_labels(labels: tuple[str, ...]) -> None:
    targets = np.zeros((4, len(labels)), np.float32)
    assert snapshot().targets_for(snapshot(labels=labels, targets=targets)) is None
    assert snapshot().targets_for(snapshot(multiple=True)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"plugin": "else"}, {"space": "else"}, {"labels": LABELS[::-1]}, {"multiple": True}, {"texts": b"x" * 64},
        {"tasks": np.array([3, 5, 8, 14])}, {"targets": np.zeros((4, 3), np.float32)},
        {"tasks": np.array([3]), "targets": np.eye(3, dtype=np.float32)[:1]},
    ],
    ids="-".join,
)  # fmt: skip
def test_a_snapshot_is_the_same_only_if_everything_in_it_is(other: dict[str, Any]) -> None:
    assert snapshot().gives_same_fit(snapshot())
    assert not snapshot().gives_same_fit(snapshot(**other))


def test_the_best_model_is_the_one_that_the_version_serves(store: Store) -> None:
    for number in (1, 2, 3):
        add(store, model(number))
    version = ModelVersion(5, 9, "v9", 2, 4, {}, 0.0)
    loaded, problem = load_best_learner(store, version, "fake")
    assert loaded is not None
    assert (loaded.number, problem) == (2, None)
    assert load_best_learner(store, None, "fake") == (None, None)
    assert load_best_learner(store, ModelVersion(5, 9, "v9", None, 0, {}, 0.0), "fake") == (None, None)


def test_a_damaged_model_is_replaced_by_the_newest_older_one_that_is_intact(store: Store, settings: Settings) -> None:
    versions = [add(store, model(number)) for number in (1, 2, 3, 4)]
    folder: Path = settings.data_dir / "artifacts" / "5"
    [third], [second] = folder.glob("000003-*"), folder.glob("000002-*")
    third.write_bytes(b"broken")
    second.unlink()
    loaded, problem = load_best_learner(store, versions[2], "fake")
    assert loaded is not None
    assert loaded.number == 1
    assert problem is not None and problem.code == "learner unreadable"
    assert "000003" in problem.values["problem"] and "damaged" in problem.values["problem"]


def test_a_model_of_another_encoder_is_not_loaded(store: Store) -> None:
    version = add(store, model(space="old"))
    loaded, problem = load_best_learner(store, version, "fake")
    assert loaded is None
    assert problem == Remark("space changed", {"version": version.number, "fitted": "old", "now": "fake"})
