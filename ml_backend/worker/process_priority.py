"""Who goes first on a busy machine."""

from __future__ import annotations

import os
import sys
import threading

BACKGROUND_NICE = 10


def give_way() -> None:
    """The calling thread runs when nobody else wants to: a /predict, a webhook and Label Studio come first."""
    if sys.platform == "linux":  # elsewhere only a whole process has a priority
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICE)
