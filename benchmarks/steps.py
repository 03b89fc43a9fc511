"""One query step, measured in a process of its own: how the process measures, and how it is started.

The process may be of the peers' environment, where nothing of ours is installed: only `benchmarks` is imported here.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.mixture import Data
from benchmarks.queries import OURS, SKACTIVEML, SMALL_TEXT, ours, scikit_activeml, small_text

WARM = 1000  # rows of the first, small query
REPEATS = 3
SHORT, SLOW = 0.1, 5.0  # seconds; a step below the one is repeated to fill it, one above the other is measured once
MEMORY = 16 << 30  # bytes; the machine must outlive a peer that wants more


def step(library: str, name: str, folder: Path, batch: int, limit: int) -> None:
    """Prints {"seconds", "mib"}; is ended by SIGXCPU if the query takes more than `limit` CPU seconds."""
    make_query = {OURS: ours, SKACTIVEML: scikit_activeml, SMALL_TEXT: small_text}[library]
    data = Data.read(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    make_query(name, data.part(WARM), batch)()
    query = make_query(name, data, batch)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # nothing is lying about that the step could use
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to now
    before = _mib("VmRSS")
    first = _seconds(query, 1, limit)
    mib = _mib("VmHWM") - before
    times = max(1, round(SHORT / max(first, 0.001)))  # the clock is too coarse for one short query
    seconds = [first] if times == 1 else []
    while len(seconds) < REPEATS and sum(seconds) < SLOW:
        seconds.append(_seconds(query, times, limit))
    print(json.dumps({"seconds": statistics.median(seconds), "mib": mib}))


def _seconds(query: Callable[[], object], times: int, limit: int) -> float:
    begin = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(begin) + limit, resource.RLIM_INFINITY))
    for _ in range(times):
        query()
    return (time.process_time() - begin) / times


def _mib(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


class Cell(NamedTuple):
    """One measurement, or why there is none."""

    seconds: float = math.inf
    mib: float = math.inf
    why: str = ""

    def __str__(self) -> str:
        return self.why or f"{self.seconds:.3g} s, {self.mib:,.0f} MiB"


class Runner:
    """Measures steps; one that was too slow is not tried with more."""

    def __init__(self, pythons: dict[str, str], limit: int) -> None:
        self._pythons, self._limit = pythons, limit
        self._slow: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def measure(self, library: str, name: str, folder: Path, size: int, batch: int) -> Cell:
        if any(s <= size and b <= batch for s, b in self._slow.get((library, name), [])):
            return Cell(why=f"not run (> {self._limit} s with less)")
        command = [self._pythons[library], "-m", "benchmarks.acquisition", "--step", library, name, str(folder)]
        command += [str(batch), str(self._limit)]
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        done = subprocess.run(command, check=False, env={**os.environ, **one}, capture_output=True, text=True)
        if done.returncode == -signal.SIGXCPU:
            self._slow.setdefault((library, name), []).append((size, batch))
            return Cell(why=f"> {self._limit} s")
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return Cell(why=f"fails: {(done.stderr.strip().splitlines() or [f'signal {-done.returncode}'])[-1][:60]}")
        return Cell(**json.loads(done.stdout.splitlines()[-1]))
