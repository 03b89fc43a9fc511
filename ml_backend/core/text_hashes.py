"""Numbers that stand for texts, the same in every process and on every machine."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def text_hashes(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """(n,) a number of each text. Texts may have characters that cannot be stored."""
    digests = b"".join(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
