"""An artifact holds the same targets in a quarter of the space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemas import by_control, fitted_choices
from stored_models import load_learner, save_learner

from ml_backend.core.arrays import Floats
from ml_backend.core.settings import Settings
from ml_backend.core.types import ControlVersion, ModelVersion
from ml_backend.kinds.choices.kind import CHOICES
from ml_backend.kinds.choices.tensor_packing import pack, unpack
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.storage import Store

rows = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1 / 3, 0.25]), min_size=3, max_size=3), max_size=8)


@given(rows=rows, multiple=st.booleans())
def test_targets_come_back_bit_for_bit(rows: list[list[float]], multiple: bool) -> None:
    targets = np.array(rows, np.float32).reshape(-1, 3)
    packed = pack(targets, multiple)
    unpacked = unpack(packed, 3)
    assert (unpacked.dtype, unpacked.shape, unpacked.tobytes()) == (targets.dtype, targets.shape, targets.tobytes())
    assert packed == {}, "unpacking removes all of them from the learner's tensors"


def model_of(targets: Floats, held_out: Floats, multiple: bool = False) -> FittedModel:
    n, c = targets.shape
    control = fitted_choices([f"label {number}" for number in range(c)], multiple=multiple)
    snapshot = TrainingSnapshot("logistic", "fake", control, np.arange(n), b"\0" * 16 * n, targets)
    rounded = CHOICES.unpack_predicted(control, CHOICES.pack_predicted(control, held_out))
    return FittedModel(1, snapshot, {"weight": np.eye(3, dtype=np.float32)}, rounded)


@pytest.mark.parametrize("multiple", [False, True])
def test_an_artifact_of_many_targets_takes_less_than_half_of_the_unpacked_size(
    store: Store, settings: Settings, multiple: bool, rng: np.random.Generator
) -> None:
    n, c = 2000, 77
    targets = np.eye(c, dtype=np.float32)[rng.integers(c, size=n)]
    model = model_of(targets, rng.random((n, c)).astype(np.float32), multiple)
    name, _ = save_learner(store, 5, model)
    dense = 2 * 4 * n * c
    limit = 0.45 if multiple else 0.32
    assert (settings.data_dir / "artifacts" / name).stat().st_size < limit * dense


def test_the_loaded_model_is_the_one_that_was_saved(store: Store, rng: np.random.Generator) -> None:
    targets = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    model = model_of(targets, rng.random((3, 3)).astype(np.float32))
    store.versions.add(ModelVersion(5, 1, "v1", 1, 3, {}, 0.0), save_learner(store, 5, model), rows=1)
    loaded = load_learner(store, 5, 1)
    assert loaded.snapshot.gives_same_fit(model.snapshot)
    assert np.array_equal(loaded.held_out, model.held_out)
    assert loaded.tensors.keys() == model.tensors.keys()


def test_an_artifact_of_one_control_with_unpacked_targets_is_still_read(store: Store, rng: np.random.Generator) -> None:
    targets, held_out = np.eye(3, dtype=np.float32), rng.random((3, 3)).astype(np.float32)
    model = replace(model_of(targets, held_out), held_out=held_out)
    written = store.artifacts.read(*save_learner(store, 5, model))
    of_model = {key.removeprefix("0/"): value for key, value in written.items() if key.startswith("0/")}
    dense = {key: value for key, value in of_model.items() if key not in ("snapshot.classes", "snapshot.soft")}
    old = store.artifacts.write(5, "000001", {**dense, "snapshot.targets": targets, "snapshot.held_out": held_out})
    store.versions.add(ModelVersion(5, 1, "v1", 1, 3, by_control(ControlVersion(1, 3, None)), 0.0), old, rows=1)
    loaded = load_learner(store, 5, 1)
    assert loaded.snapshot.gives_same_fit(model.snapshot)
    assert np.array_equal(loaded.held_out, held_out), "in the precision of the older artifact"
