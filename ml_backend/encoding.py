"""The one door through which vectors come in: what an encoder makes is checked here, and nowhere behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ml_backend.domain import ApprenticeError, Floats


def encode(
    make: Callable[[Sequence[str]], Floats], texts: Sequence[str], names: Sequence[object], encoder: str,
    what: str = "task",
) -> Floats:  # fmt: skip
    """(n, d) what `make`, of the encoder so named, gives for some texts. `what` they are, and their `names`: mostly
    the numbers of tasks.

    Raises ApprenticeError naming the first one whose vector is not finite: it would spoil every distance and fit.
    """
    vectors = make(texts)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ApprenticeError(
            f"The encoder {encoder} gives {what} {names[bad[0]]!r} a vector that is not finite: "
            "mend its text or choose another encoder"
        )
    return vectors
