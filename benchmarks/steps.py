"""Measures one query step in a separate process: the code of the process, and the code that starts it.

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

WARMUP_ROWS = 1000  # of the first query, which is not measured
REPEATS = 3
MIN_TIMED_SECONDS = 0.1  # a shorter step is repeated until it takes as long
SLOW_SECONDS = 5.0  # a longer step is measured once
MAX_MEMORY_BYTES = 16 << 30  # a peer that needs more fails before the machine does


def step(library: str, name: str, folder: Path, batch: int, limit: int) -> None:
    """Measures a step and prints {"seconds", "mib"}. SIGXCPU ends the process after `limit` CPU seconds of a query."""
    make_query = {OURS: ours, SKACTIVEML: scikit_activeml, SMALL_TEXT: small_text}[library]
    data = Data.read(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    make_query(name, data.part(WARMUP_ROWS), batch)()
    query = make_query(name, data, batch)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # returns free memory, which the step could otherwise use
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    mib_before = _mib("VmRSS")
    first = _seconds(query, 1, limit)
    mib = _mib("VmHWM") - mib_before
    times = max(1, round(MIN_TIMED_SECONDS / max(first, 0.001)))  # the clock is too coarse for a short query
    seconds = [first] if times == 1 else []
    while len(seconds) < REPEATS and sum(seconds) < SLOW_SECONDS:
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
    """One measurement, or the reason why there is none."""

    seconds: float = math.inf
    mib: float = math.inf
    why: str = ""

    def __str__(self) -> str:
        return self.why or f"{self.seconds:.3g} s, {self.mib:,.0f} MiB"


class Runner:
    """Measures steps. A step that exceeded the limit is not measured with larger data."""

    def __init__(self, pythons: dict[str, str], limit: int) -> None:
        self._pythons, self._limit = pythons, limit
        self._slow: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def measure(self, library: str, name: str, folder: Path, size: int, batch: int) -> Cell:
        if any(s <= size and b <= batch for s, b in self._slow.get((library, name), [])):
            return Cell(why=f"not run (> {self._limit} s with less)")
        command = [self._pythons[library], "-m", "benchmarks.acquisition", "--step", library, name, str(folder)]
        command += [str(batch), str(self._limit)]
        single_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        done = subprocess.run(command, check=False, env={**os.environ, **single_thread}, capture_output=True, text=True)
        if done.returncode == -signal.SIGXCPU:
            self._slow.setdefault((library, name), []).append((size, batch))
            return Cell(why=f"> {self._limit} s")
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return Cell(why=f"fails: {(done.stderr.strip().splitlines() or [f'signal {-done.returncode}'])[-1][:60]}")
        return Cell(**json.loads(done.stdout.splitlines()[-1]))
