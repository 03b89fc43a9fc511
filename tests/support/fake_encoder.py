"""An encoder without weights: a word's vector depends on its hash, and a text's vector is the sum over its words."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.registry import ENTRY_POINT_GROUP


@cache
def _word(word: str, dim: int) -> Floats:
    seed = int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def bag_of_words(texts: Sequence[str], dim: int) -> Floats:
    out = np.zeros((len(texts), dim), np.float32)
    for row, text in enumerate(texts):
        for word in text.split() or ["nothing"]:
            out[row] += _word(word, dim)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6), np.float32)


class FakeEncoder:
    """Records which texts it encoded and sketched. Texts in `useless` get a vector that is not finite. A test may set
    `before_encoding`, which may raise."""

    def __init__(self, name: str = "fake", dim: int = 32) -> None:
        self._name, self._dim = name, dim
        self.encoded: list[str] = []
        self.sketched: list[str] = []
        self.useless: set[str] = set()
        self.before_encoding: Callable[[], object] = lambda: None

    @property
    def name(self) -> str:
        return self._name

    @property
    def quick(self) -> bool:
        return False

    @property
    def dim(self) -> int:
        return self._dim

    def encode(self, texts: Sequence[str]) -> Floats:
        self.before_encoding()
        self.encoded += texts
        vectors = bag_of_words(texts, self._dim)
        vectors[[text in self.useless for text in texts], 3] = np.nan
        return vectors

    def sketch(self, texts: Sequence[str]) -> Floats:
        self.sketched += texts
        return bag_of_words(texts, self._dim // 2)

    def verify(self) -> str:
        return "nothing to check"


class Weightless(FakeEncoder):
    """Raises an error instead of a sketch, so that the warm-up of a worker ends early."""

    def sketch(self, texts: Sequence[str]) -> Floats:
        raise ApprenticeError("there are no weights")


def install_plugins(folder: Path, entry_points: Mapping[str, str]) -> dict[str, str]:
    """Installs the modules beside this one as a package, whose metadata are in the folder, with entry points such as
    `{"encoder.fake": "fake_encoder:FakeEncoder"}`. Returns the environment variables for processes that use it."""
    installed = folder / "fake_encoder-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-encoder\nVersion: 1\n")
    lines = [f"{name} = {place}\n" for name, place in entry_points.items()]
    (installed / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{''.join(lines)}")
    modules = str(Path(__file__).parent)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), modules, os.environ.get("PYTHONPATH", "")]))}


def weightless(folder: Path) -> dict[str, str]:
    """Installs `Weightless` as a package in the folder. Returns the environment variables for processes that use it."""
    environment = install_plugins(folder, {"encoder.weightless": "fake_encoder:Weightless"})
    return {**environment, "APPRENTICE_ENCODER": "weightless"}
