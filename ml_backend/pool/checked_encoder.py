"""Encodes texts and checks that the vectors are finite. All vectors are made here; no other code checks them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.exceptions import ApprenticeError

EncodeFunction = Callable[[Sequence[str]], Floats]


def encode_usable(encode: EncodeFunction, texts: Sequence[str]) -> tuple[Floats, Mask]:
    """The vectors (n, d) that the method `encode` of an encoder makes of texts, and a mask (n,) of the finite ones; see
    `finite_vectors`."""
    return finite_vectors(encode(texts))


def finite_vectors(vectors: Floats) -> tuple[Floats, Mask]:
    """The vectors (n, d), and a mask (n,) of the finite ones. The others become zeros, because they would make
    distances and fits useless."""
    usable: Mask = np.asarray(np.isfinite(vectors).all(axis=1))
    if not usable.all():
        vectors = np.where(usable[:, None], vectors, np.float32(0)).astype(np.float32)
    return vectors, usable


def encode_checked(
    encode: EncodeFunction, texts: Sequence[str], names: Sequence[object], encoder: str, noun: str = "task"
) -> Floats:
    """The vectors (n, d) that the method `encode` of an encoder makes of texts, all of which are needed.

    names    a name for each text in the error, mostly the id of a task
    encoder  the name of the encoder
    noun     the noun before such a name in the error

    Raises ApprenticeError with the first name whose vector is not finite.
    """
    vectors, usable = encode_usable(encode, texts)
    require_usable(usable, names, encoder, noun)
    return vectors


def require_usable(usable: Mask, names: Sequence[object], encoder: str, noun: str = "task") -> None:
    """Raises ApprenticeError with the first name whose vector is not usable (n,). Arguments as in `encode_checked`."""
    if not usable.all():
        raise ApprenticeError(
            f"The encoder {encoder} gives {noun} {names[int(usable.argmin())]!r} a vector that is not finite: "
            "change the text or choose another encoder"
        )
