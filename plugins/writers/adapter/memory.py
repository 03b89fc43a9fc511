"""What to do when memory runs out: smaller batches, at last a clear message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from ml_backend.core.exceptions import ApprenticeError

MAX_BYTES = 3 * 2**30
"""Memory that the fine-tuning on a processor may take."""

Item = TypeVar("Item")


def limit_memory(max_bytes: int = MAX_BYTES) -> None:
    """Makes allocations of this process fail beyond a limit, so that they can be caught. The memory that files are
    mapped to does not count. Does nothing elsewhere than on Linux."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        bound = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the processor or on a GPU."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


class BatchSize:
    """The number of rows that are computed at once: it is halved whenever memory runs out, and stays so."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def run(
        self, compute: Callable[[Sequence[Item]], None], items: Sequence[Item], restart: Callable[[], None]
    ) -> None:
        """Calls `compute` for the items, `rows` at a time. If memory runs out, calls `restart` and begins again with
        half of the rows. Raises ApprenticeError if memory runs out for a single row."""
        while True:
            try:
                for start in range(0, len(items), self.rows):
                    compute(items[start : start + self.rows])
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if min(self.rows, len(items)) == 1:
                    raise ApprenticeError(
                        "The language model needs more memory than there is, even for one text at a time: choose a "
                        "smaller one."
                    ) from None
            self.rows = min(self.rows, len(items)) // 2
            restart()
