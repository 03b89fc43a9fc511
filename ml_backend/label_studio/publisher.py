"""Puts a ranked queue in front of the annotators: rows first, the switch to their model version last.

Measured on Label Studio 1.23 (a bulk import recounts all tasks of the project, 0.6 s at 10,000 and 5 s at 100,000,
whatever its size, and every annotator waits; a single row costs 0.04 s at both): so the first few rows go one by one
where that is faster, then the switch, and the rest behind it, with a pause after each write. Both paces are measured on
this very server, all along.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_backend.core.exceptions import RequestRefusedError
from ml_backend.core.types import Prediction, TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import write_predictions

HEAD = 4  # rows that must stand before the switch
EXPLORED = 2.0
"""How many times as long as the faster way the other one may have taken to be tried again: servers change."""
SMOOTHING = 0.3  # weight of the newest measurement
SLOW_BULK = 0.5  # seconds: a bulk import slower than this is never run behind the switch, it could not be interrupted


@dataclass
class PublishTimings:
    """Measured seconds of one bulk import and of one single row, None until measured."""

    bulk: float | None = None
    single: float | None = None

    def note(self, kind: str, seconds: float) -> None:
        before = getattr(self, kind)
        setattr(self, kind, seconds if before is None else before + SMOOTHING * (seconds - before))

    def path(self, rows: int, *, explores: bool = False) -> str:
        """`bulk` or `single`: the faster way to write so many rows, as far as is known; who explores takes the other
        one, if it is not far slower, and so learns whether it still is."""
        if self.bulk is None or self.single is None:
            return "single" if self.bulk is not None or rows <= HEAD else "bulk"
        seconds = {"bulk": self.bulk, "single": rows * self.single}
        faster, slower = sorted(seconds, key=lambda way: seconds[way])
        return slower if explores and seconds[slower] <= EXPLORED * seconds[faster] else faster


@dataclass
class Publisher:
    """Publishes one version of one project's queue.

    guard   raises if the right to publish was lost; asked before every write
    pace    the project's measured pace, updated in place
    explores  whether the head is written in the way that seems slower, if it is not by far
    """

    client: LabelStudioClient
    project: int
    schema: TaskSchema
    version: str
    guard: Callable[[], None]
    pace: PublishTimings
    explores: bool = False
    written: int = field(default=0, init=False)  # rows that stand in Label Studio, also after a failure
    _last_write_seconds: float = field(default=0.0, init=False)

    def head(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        """Writes the first rows and makes Label Studio serve them; returns the rows that are still to be written.

        All rows are written before the switch if one bulk import is no slower than the head alone.
        Raises RequestRefusedError if Label Studio dropped a row, and then the earlier version goes on serving.
        """
        rows = list(write_predictions(predictions, self.schema, self.version))
        path = self._path(min(HEAD, len(rows)), explores=self.explores)
        first = len(rows) if path == "bulk" else HEAD
        self._write(rows[:first], path)
        self.guard()
        self.client.change_project(self.project, model_version=self.version)
        return predictions[first:]

    def rest(self, predictions: Sequence[Prediction], superseded: Callable[[float], bool]) -> bool:
        """Writes the remaining rows behind the switch, unless a newer queue is on its way; whether all were written.

        Before each write, Label Studio belongs to the annotators for as long as the write before took, or the head: it
        answers one request at a time, and a `/next` that meets a write takes twice as long.

        superseded  whether a newer queue is wanted; waits up to so many seconds for that
        """
        rows = list(write_predictions(predictions, self.schema, self.version))
        at_once = self._path(len(rows)) == "bulk" and (self.pace.bulk or 0.0) < SLOW_BULK
        for portion in [rows] if at_once and rows else [[row] for row in rows]:
            if superseded(self._last_write_seconds):
                return False
            self._write(portion, "bulk" if at_once else "single")
        return True

    def _path(self, rows: int, *, explores: bool = False) -> str:
        """As `Pace.path`; measured on 1.23: a bulk import drops a row whose choices are paths."""
        return "single" if self.schema.nested else self.pace.path(rows, explores=explores)

    def _write(self, rows: list[dict[str, Any]], path: str) -> None:
        started = time.monotonic()
        if path == "bulk":
            self.guard()
            begin = time.monotonic()
            answer = self.client.call("POST", f"api/projects/{self.project}/import/predictions", body=rows, timeout=120)
            created = answer.get("created") if isinstance(answer, dict) else None
            self.pace.note("bulk", time.monotonic() - begin)
            self.written += created if isinstance(created, int) else 0
            if created != len(rows):
                raise RequestRefusedError(
                    f"Label Studio kept {created} of {len(rows)} predictions: does the labelling configuration of "
                    f"project {self.project} still have the labels that were learnt?"
                )
        else:
            for row in rows:
                self.guard()
                begin = time.monotonic()
                self.client.call("POST", "api/predictions/", body=row)
                self.pace.note("single", time.monotonic() - begin)
                self.written += 1
        self._last_write_seconds = time.monotonic() - started


def prune(client: LabelStudioClient, project: int, version: str) -> None:
    """Deletes the rows of one version that no longer serves. Costs about 20 ms a row and blocks writers meanwhile."""
    client.call("DELETE", f"api/projects/{project}/model-versions/", body={"model_version": version}, timeout=120)
