"""The table that the automatic annotator prints: the held-out scores of the learners, beside those in random order."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.demo.held_out import HeldOutEvaluator
from ml_backend.demo.terminal import out
from ml_backend.kinds.base import ACCURACY
from ml_backend.kinds.lookup import kind_of
from ml_backend.storage import Store

VERSION_WIDTH = 24  # letters of the column with the version
MIN_SCORE_WIDTH = 6  # letters of a column with a score
WORD_COLUMNS = ["words read", "in random order"]
UNDEFINED = "-"
SHARE_FORMAT = ".1%"


class ScoreTable:
    """Prints the table row by row.

    formats  the metrics that the evaluator measures, with the format of their values; {} if it measures the
             `Kind.main_metric` of each control
    """

    def __init__(self, store: Store, project: int, evaluator: HeldOutEvaluator, formats: Mapping[str, str]) -> None:
        self._store, self._project = store, project
        self._evaluator, self._formats = evaluator, formats
        self._header = header(evaluator.schema, [*formats])
        self._widths = [max(len(name), MIN_SCORE_WIDTH) for name in self._header]
        self._widths[1] = VERSION_WIDTH

    def print_header(self) -> None:
        controls = self._evaluator.schema.controls
        if len(controls) > 1:
            metrics = dict.fromkeys(name for control in controls for name in _metrics(control, [*self._formats]))
            out.print(f"held-out {' or '.join(metrics)} for each control, and in random order:", highlight=False)
        out.print(self._line(self._header), style="bold")

    def print_first_row(self, n_labels: int) -> None:
        """Prints the row before the first annotation, if a score is defined without a learner or if there are earlier
        annotations."""
        if any(score != UNDEFINED for score in self._scores(n_labels)):
            out.print(self._line(self._cells(n_labels, UNDEFINED)), highlight=False)

    def print_row(self, n_labels: int, waits: Sequence[float]) -> None:
        """Prints the row after n annotations. `waits`: the seconds from annotations to queues since the last row"""
        out.print(self._line(self._cells(n_labels, f"{statistics.median(waits):.2f}")), highlight=False)

    def _cells(self, n_labels: int, seconds: str) -> list[str]:
        active = self._store.versions.active(self._project)
        cells = [str(n_labels), active.name if active else "", *self._scores(n_labels)]
        if _reads_words(self._evaluator.schema):
            words, at_random = self._evaluator.words_read(), self._evaluator.random_order_words(n_labels)
            cells += [f"{words:,}", f"{at_random:,.0f}"]
        return [*cells, seconds]

    def _scores(self, n_labels: int) -> Iterator[str]:
        active, at_random = self._evaluator.active_scores(), self._evaluator.random_order_scores(n_labels)
        for control in self._evaluator.schema.controls:
            for metric in _metrics(control, [*self._formats]):
                for scores in (active[control.name], at_random[control.name]):
                    value_format = self._formats.get(metric, SHARE_FORMAT)
                    yield format(scores[metric], value_format) if metric in scores else UNDEFINED

    def _line(self, cells: Sequence[str]) -> str:
        return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, self._widths, strict=True))


def header(schema: ProjectSchema, metrics: Sequence[str] = ()) -> list[str]:
    """The names of the columns. If there are several controls, those of the scores begin with the control's name.
    `metrics`: those that are measured, () for the `Kind.main_metric` of each control"""
    columns = [
        f"held-out {metric}" if len(schema.controls) == 1 else _column_of_control(control, metric)
        for control in schema.controls
        for metric in _metrics(control, metrics)
    ]
    scores = [name for column in columns for name in (column, "random order")]
    words = WORD_COLUMNS if _reads_words(schema) else []
    return ["annotations", "active version", *scores, *words, "submit to queue (median s)"]


def _metrics(control: ControlSchema, metrics: Sequence[str]) -> Sequence[str]:
    return metrics or [kind_of(control).main_metric(control)]


def _column_of_control(control: ControlSchema, metric: str) -> str:
    """The name of a control, with its metric unless this is the accuracy."""
    return control.name if metric == ACCURACY else f"{control.name} ({metric})"


def _reads_words(schema: ProjectSchema) -> bool:
    """Whether annotators read each word, because they look for regions in the texts."""
    return any(kind_of(control).locates_regions for control in schema.controls)
