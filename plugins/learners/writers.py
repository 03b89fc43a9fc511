"""The learner of written texts: several writers draft, and for each task the draft is used that is expected to come
nearest to the annotator's text.

Each writer is measured by cross-fitting: by the closeness in words of the drafts for the labelled tasks, each made
without the texts that were accepted for it, to the nearest accepted text. Confidences are calibrated by these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from rapidfuzz.distance import LCSseq

from ml_backend.core.arrays import (
    DistillationData,
    Fit,
    Floats,
    Ints,
    Rows,
    Tensors,
    TrainingSet,
    are_missing,
    missing_rows,
    object_rows,
)
from ml_backend.core.draft_checks import is_copy
from ml_backend.core.ports import Writer
from ml_backend.core.text_drafts import AcceptedTexts, Doubles, TextDrafts
from ml_backend.core.texts import Texts
from ml_backend.core.word_distance import nearest_closeness
from ml_backend.core.words import words_of
from plugins.learners.closeness_calibration import ALL_TEXTS, N_FOLDS, calibrated, fit_lines
from plugins.learners.crf.word_table import text_numbers

MEASURES, NUMBERS = "writers.measures", "writers.numbers"
LINES = "lines"
"""Names of tensors: what was measured, as JSON; the numbers of the words of the sources that were fitted on; and, with
the name of a writer before it, the calibration of the writer's confidences."""


class Writers:
    """Targets and predictions are those of the kind `text`."""

    kinds = ("text",)
    uses_writers = True

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._writers = writers

    @property
    def reads_texts(self) -> Literal[True]:
        return True

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits each writer on the first accepted text of each task. Deterministic, whatever the seed. Rows of weight 0
        and rows without an accepted text have no part in the fit. Raises ValueError without texts."""
        texts = _texts_of(train)
        rows = np.flatnonzero((train.weights > 0) & np.array([bool(target) for target in train.targets], np.bool_))
        tensors = self._fit_writers(train, rows)
        held_out = missing_rows(train.targets, len(train.targets))
        others = np.setdiff1d(np.arange(len(train.targets)), rows)
        for part, is_held_out in ((rows, True), (others, False)):
            held_out[part] = self._draft(tensors, train.vectors[part], texts.take(part), held_out=is_held_out)
        return Fit(tensors, held_out, self._judge_earlier(train))

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """None: texts of a teacher are rows with a weight."""
        return {}

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        """(n,) the predictions, () for a task for which no writer has a draft. Raises ValueError without texts."""
        if texts is None:
            raise ValueError("writers reads the texts of the tasks: pass them")
        return self._draft(tensors, vectors, texts, held_out=False)

    def measures(self, tensors: Tensors) -> dict[str, Any]:
        """What a fit has measured: `closeness`, for each writer that was fitted the mean closeness of its held-out
        drafts; `copies`, the mean closeness of the sources; `kept_share`, the mean share of the sources' words that
        accepted texts keep; and `accepted`, the number of accepted texts."""
        measured: dict[str, Any] = json.loads(bytes(tensors[MEASURES]))
        return measured

    def _fit_writers(self, train: TrainingSet, rows: Ints) -> Tensors:
        """The tensors of all writers that can be used, fitted on these rows."""
        sources, targets, weights = _texts_of(train).take(rows), train.targets[rows].tolist(), train.weights[rows]
        accepted = AcceptedTexts(sources, train.vectors[rows], [target[0] for target in targets], weights)
        texts = sources(np.arange(len(rows)))
        numbers = text_numbers(texts)
        tensors: Tensors = {NUMBERS: np.sort(numbers)}
        measured: dict[str, Any] = {"accepted": len(rows), "closeness": {}}
        if len(rows):
            measured["copies"] = _mean(nearest_closeness(texts, targets), weights)
            measured["kept_share"] = _mean(_kept_shares(texts, accepted.texts), weights)
            earlier = _earlier(train.earlier_tensors, numbers)
            for name, writer in self._writers.items():
                if measured["kept_share"] < writer.min_kept_share:
                    continue
                fitted = writer.fit(accepted, _of_writer(earlier, name) or None)
                drafts = writer.draft(fitted, sources, accepted.vectors, held_out=True)
                closeness = nearest_closeness(drafts.texts, targets)
                measured["closeness"][name] = _mean(closeness, weights)
                lines = fit_lines(drafts.confidences, closeness, weights, numbers % N_FOLDS)
                tensors |= {f"{name}.{key}": tensor for key, tensor in {**fitted, LINES: lines}.items()}
        return {**tensors, MEASURES: np.frombuffer(json.dumps(measured).encode(), np.uint8)}

    def _draft(self, tensors: Tensors, vectors: Floats, texts: Texts, *, held_out: bool) -> Rows:
        """(n,) for each task the draft with the highest confidence."""
        sources = texts(np.arange(len(texts)))
        folds = text_numbers(sources) % N_FOLDS if held_out else np.full(len(sources), ALL_TEXTS)
        drafts: list[tuple[TextDrafts, Doubles]] = []
        for name in self.measures(tensors)["closeness"]:
            if name in self._writers and len(sources):
                of_writer = _of_writer(tensors, name)
                lines = np.asarray(of_writer.pop(LINES), np.float64)
                drafted = self._writers[name].draft(of_writer, texts, vectors, held_out=held_out)
                drafts.append((drafted, calibrated(lines[folds], drafted.confidences)))
        return object_rows([_best(drafts, row, source) for row, source in enumerate(sources)])

    def _judge_earlier(self, train: TrainingSet) -> Rows | None:
        """(n,) the held-out drafts of the serving writers, or of writers that are fitted on the targets which those
        were fitted on."""
        earlier = train.earlier_to_validate
        if earlier is None:
            return None
        texts = _texts_of(train)
        if train.earlier_tensors and MEASURES in train.earlier_tensors:
            return self._draft(train.earlier_tensors, train.vectors, texts, held_out=True)
        rows = np.flatnonzero(~are_missing(earlier))
        predicted = missing_rows(earlier, len(earlier))
        if len(rows):
            part = replace(train.take(rows), targets=earlier[rows], earlier=None, earlier_tensors=None)
            fitted = self.fit(part, 0)
            predicted = self.predict(fitted.tensors, train.vectors, texts)
            predicted[rows] = fitted.held_out
        return predicted


def _texts_of(train: TrainingSet) -> Texts:
    if train.texts is None:
        raise ValueError("writers reads the texts of the tasks: pass them")
    return train.texts


def _best(drafts: Sequence[tuple[TextDrafts, Doubles]], row: int, source: str) -> tuple[Any, ...]:
    """The prediction of a task. drafts: of each writer, with the calibrated confidences (n,)"""
    candidates = [(confidences[row], drafted) for drafted, confidences in drafts if drafted.texts[row].strip()]
    if not candidates or not source.strip():
        return ()
    confidence, drafted = max(candidates, key=lambda candidate: candidate[0])
    text = drafted.texts[row]
    return (text, round(float(confidence), 6), round(float(drafted.doubts[row]), 6), is_copy(text, source))


def _kept_shares(sources: Sequence[str], texts: Sequence[str]) -> Doubles:
    """(n,) the share of each source's words that its accepted text has in the same order, whatever the letter case."""
    shares = []
    for source, text in zip(sources, texts, strict=True):
        words = words_of(source.lower())
        shares.append(LCSseq.similarity(words, words_of(text.lower())) / max(len(words), 1))
    return np.array(shares, np.float64)


def _mean(values: Doubles, weights: Floats) -> float:
    return round(float(np.average(values, weights=weights)), 6)


def _earlier(tensors: Tensors | None, numbers: Ints) -> Tensors:
    """The serving writers, if each source that they were fitted on has an accepted text still; else none."""
    if not tensors or NUMBERS not in tensors or not {*tensors[NUMBERS].tolist()} <= {*numbers.tolist()}:
        return {}
    return tensors


def _of_writer(tensors: Tensors, name: str) -> Tensors:
    """The tensors of a writer by their names without the writer's."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
