"""Artifacts: a read returns the written tensors or raises an error; a full disk changes nothing."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ml_backend.core.exceptions import ArtifactError, StoreError
from ml_backend.core.settings import Settings
from ml_backend.storage import Store
from ml_backend.storage.artifacts import MAX_CHECKS_REMEMBERED, Artifacts
from ml_backend.storage.files import TEMPORARY, write_atomically

TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "multiple": np.array([True])}


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    name, digest = artifacts.write(5, "000003", TENSORS)
    tensors = artifacts.read(name, digest)
    assert tensors.keys() == TENSORS.keys()
    for key, tensor in TENSORS.items():
        assert np.array_equal(tensors[key], tensor)
        assert tensors[key].dtype == tensor.dtype
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@given(data=st.data())
@hypothesis_settings(max_examples=40)
def test_a_single_flipped_bit_is_an_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("artifact")
    artifacts = Artifacts(folder)
    name, digest = artifacts.write(5, "000001", TENSORS)
    content = bytearray((folder / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        artifacts.read(name, digest)


def test_a_missing_artifact_is_an_error(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    name, digest = artifacts.write(5, "000001", TENSORS)
    artifacts.remove(name)
    artifacts.remove(name)  # gone already: harmless
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifacts.read(name, digest)


@pytest.mark.parametrize("failing", ["fsync", "replace", "mkdir"])
def test_a_full_disk_keeps_the_old_file_and_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write(b"old"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if failing == "fsync" else Path, failing, full)
        with pytest.raises(StoreError, match="No space left"):
            write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_writer_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    def write(_file: object) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreError, match="Input/output"):
        write_atomically(tmp_path / "file", write)
    assert list(tmp_path.iterdir()) == []


def test_a_write_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"disk|space"):
        Artifacts(tmp_path).write(5, "1", TENSORS)


def test_an_artifact_that_was_checked_is_intact_until_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(tmp_path)
    name, digest = artifacts.write(5, "prior", {"a": np.arange(9.0)})
    assert artifacts.is_intact(name, digest) and not artifacts.is_intact(name, "0" * 64)
    assert artifacts.is_intact(name, digest)
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "read", lambda *_: pytest.fail("it has not changed"))
        assert artifacts.is_intact(name, digest)
    (tmp_path / name).write_bytes(b"damaged")
    assert not artifacts.is_intact(name, digest)
    artifacts.remove(name)
    assert not artifacts.is_intact(name, digest)


def test_forgetting_a_project_removes_its_artifacts_and_no_others(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    removed = [artifacts.write(5, what, {"a": np.arange(3)}) for what in ("000001", "prior-1")]
    other = artifacts.write(51, "000001", {"a": np.arange(3)})
    artifacts.forget(5)
    assert not any(artifacts.is_intact(*artifact) for artifact in removed) and artifacts.is_intact(*other)
    artifacts.forget(6)


def test_old_temporary_files_are_removed_when_the_store_is_opened(settings: Settings) -> None:
    Store(settings).close()
    leftovers = [
        settings.data_dir / folder / f"{TEMPORARY}{age}" for folder in (".", "artifacts/5", "vectors/minilm/5")
        for age in ("new", "old")
    ]  # fmt: skip
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        if path.name.endswith("old"):
            os.utime(path, (time.time() - 3700,) * 2)
    Store(settings).close()
    assert [path.name for path in leftovers if path.exists()] == [f"{TEMPORARY}new"] * 3


def test_the_number_of_remembered_checks_is_limited(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    name, digest = artifacts.write(5, "prior", TENSORS)
    for number in range(MAX_CHECKS_REMEMBERED + 5):
        copy = tmp_path / f"copy-{number}"
        copy.write_bytes((tmp_path / name).read_bytes())
        assert artifacts.is_intact(copy.name, digest)
        copy.unlink()
    assert len(artifacts._checked) == MAX_CHECKS_REMEMBERED
