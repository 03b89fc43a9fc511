"""The one door through which vectors come in: what an encoder makes is checked here, and nowhere behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Floats, Mask

Make = Callable[[Sequence[str]], Floats]


def encode_usable(make: Make, texts: Sequence[str]) -> tuple[Floats, Mask]:
    """(n, d) what `make`, of an encoder, gives for some texts, and which of them (n,) have a finite vector; the others
    get zeros. One that is not finite would spoil every distance and fit."""
    vectors = make(texts)
    usable: Mask = np.asarray(np.isfinite(vectors).all(axis=1))
    if not usable.all():
        vectors = np.where(usable[:, None], vectors, np.float32(0)).astype(np.float32)
    return vectors, usable


def encode(make: Make, texts: Sequence[str], names: Sequence[object], encoder: str, what: str = "task") -> Floats:
    """The same where every text is needed. `what` they are, and their `names`: mostly the numbers of tasks.

    Raises ApprenticeError naming the first one whose vector, by the encoder so named, is not finite.
    """
    vectors, usable = encode_usable(make, texts)
    if not usable.all():
        raise ApprenticeError(
            f"The encoder {encoder} gives {what} {names[int(usable.argmin())]!r} a vector that is not finite: "
            "mend its text or choose another encoder"
        )
    return vectors
