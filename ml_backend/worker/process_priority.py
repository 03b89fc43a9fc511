"""The priority of background threads on a busy machine."""

from __future__ import annotations

import os
import sys
import threading

BACKGROUND_NICE = 10


def lower_thread_priority() -> None:
    """Lowers the priority of the calling thread, so that /predict, the webhook and Label Studio run first."""
    if sys.platform == "linux":  # elsewhere only a whole process has a priority
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICE)
