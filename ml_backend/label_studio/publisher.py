"""Publishes a ranked queue: writes the first predictions, switches the project to their model version, and writes the
other predictions.

Measured on Label Studio 1.23: a bulk import of any size recounts all tasks of the project, which takes 0.6 s at 10,000
tasks and 5 s at 100,000 tasks, and all annotators wait meanwhile. A single prediction takes 0.04 s at both sizes.
Therefore the first predictions are written one by one if that is faster, the switch follows, and the others come after
it, with a pause before each write. The seconds of both kinds of writes are measured on each write to the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_backend.core.clock import SYSTEM_CLOCK, Clock
from ml_backend.core.exceptions import RequestRefusedError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import Prediction, TaskContent, unknown_content
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import write_predictions

HEAD_PREDICTIONS = 4  # predictions that are written before the switch
MAX_EXPLORED_SLOWDOWN = 2.0
"""The slower kind of write is tried again if it took at most this many times as long: a server's speed may change."""
NEWEST_MEASUREMENT_WEIGHT = 0.3
MAX_BULK_SECONDS_AFTER_SWITCH = 0.5  # a bulk import cannot be interrupted, so a slower one is not run after the switch


@dataclass
class PublishTimings:
    """Smoothed seconds of one bulk import and of one single prediction, None until measured."""

    bulk: float | None = None
    single: float | None = None

    def add(self, kind: str, seconds: float) -> None:
        """Adds a measurement; `kind` is `bulk` or `single`."""
        previous = getattr(self, kind)
        smoothed = seconds if previous is None else previous + NEWEST_MEASUREMENT_WEIGHT * (seconds - previous)
        setattr(self, kind, smoothed)

    def write_kind(self, row_count: int, *, explores: bool = False) -> str:
        """The faster kind of write for `row_count` predictions: `bulk` or `single`. With `explores`, it is the slower
        kind, if that took at most `MAX_EXPLORED_SLOWDOWN` times as long, so that its time is measured again."""
        if self.bulk is None or self.single is None:
            return "single" if self.bulk is not None or row_count <= HEAD_PREDICTIONS else "bulk"
        seconds = {"bulk": self.bulk, "single": row_count * self.single}
        faster, slower = sorted(seconds, key=lambda kind: seconds[kind])
        return slower if explores and seconds[slower] <= MAX_EXPLORED_SLOWDOWN * seconds[faster] else faster


@dataclass
class Publisher:
    """Publishes one version of one project's queue.

    check_lease  raises if the project's lease was lost; it is called before each write
    contents     the contents of the tasks, by id, if a kind of labels needs them
    timings      the project's measured seconds, updated in place
    explores     whether `publish_head` measures the slower kind of write again (see `PublishTimings.write_kind`)
    written      number of predictions in Label Studio, also valid after a failure
    """

    client: LabelStudioClient
    project: int
    schema: ProjectSchema
    version: str
    check_lease: Callable[[], None]
    contents: Mapping[int, TaskContent]
    timings: PublishTimings
    explores: bool = False
    clock: Clock = SYSTEM_CLOCK
    written: int = field(default=0, init=False)
    _last_write_seconds: float = field(default=0.0, init=False)

    def publish_head(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        """Writes the first predictions, switches the project to their version, and returns the other predictions.

        All predictions are written before the switch if one bulk import is no slower than the first ones alone.
        Raises RequestRefusedError if Label Studio dropped a prediction; the earlier version then continues to serve.
        """
        rows = self._rows(predictions)
        kind = self._write_kind(min(HEAD_PREDICTIONS, len(rows)), explores=self.explores)
        head_count = len(rows) if kind == "bulk" else HEAD_PREDICTIONS
        self._write(rows[:head_count], kind)
        self.check_lease()
        self.client.change_project(self.project, model_version=self.version)
        return predictions[head_count:]

    def publish_rest(self, predictions: Sequence[Prediction], newer_round_requested: Callable[[float], bool]) -> bool:
        """Writes the other predictions after the switch, unless a newer queue is requested; returns whether all were
        written.

        Pauses before each write for as long as the previous write took. Label Studio handles one request at a time, so
        that a `/next` during a write takes twice as long.

        newer_round_requested  returns whether a newer queue is requested, and waits for it up to a number of seconds
        """
        rows = self._rows(predictions)
        in_bulk = self._write_kind(len(rows)) == "bulk" and (self.timings.bulk or 0.0) < MAX_BULK_SECONDS_AFTER_SWITCH
        for chunk in [rows] if in_bulk and rows else [[row] for row in rows]:
            if newer_round_requested(self._last_write_seconds):
                return False
            self._write(chunk, "bulk" if in_bulk else "single")
        return True

    def _rows(self, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
        tasks = (prediction.task for prediction in predictions)
        contents = [self.contents.get(task) or unknown_content(task) for task in tasks]
        return list(write_predictions(predictions, self.schema, self.version, contents))

    def _write_kind(self, row_count: int, *, explores: bool = False) -> str:
        """See `PublishTimings.write_kind`."""
        are_dropped = any(kind_of(control).bulk_import_drops(control) for control in self.schema.controls)
        return "single" if are_dropped else self.timings.write_kind(row_count, explores=explores)

    def _write(self, rows: list[dict[str, Any]], kind: str) -> None:
        write_started = self.clock.monotonic()
        if kind == "bulk":
            self.check_lease()
            started = self.clock.monotonic()
            path = f"api/projects/{self.project}/import/predictions"
            response = self.client.call("POST", path, body=rows, timeout=120)
            created = response.get("created") if isinstance(response, dict) else None
            self.timings.add("bulk", self.clock.monotonic() - started)
            self.written += created if isinstance(created, int) else 0
            if created != len(rows):
                raise RequestRefusedError(
                    f"Label Studio kept {created} of {len(rows)} predictions: check that the labelling configuration "
                    f"of project {self.project} still has the labels that were learnt"
                )
        else:
            for row in rows:
                self.check_lease()
                started = self.clock.monotonic()
                self.client.call("POST", "api/predictions/", body=row)
                self.timings.add("single", self.clock.monotonic() - started)
                self.written += 1
        self._last_write_seconds = self.clock.monotonic() - write_started


def delete_version_predictions(client: LabelStudioClient, project: int, version: str) -> None:
    """Deletes the predictions of a version that no longer serves. This takes about 20 ms for each prediction and blocks
    writers meanwhile."""
    client.call("DELETE", f"api/projects/{project}/model-versions/", body={"model_version": version}, timeout=120)
