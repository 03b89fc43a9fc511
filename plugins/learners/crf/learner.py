"""The learner of spans: a conditional random field on frozen vectors of words, refitted after each annotation.

Each labelled text is judged by a head that was not fitted on it. Which texts a head is fitted on depends on the texts
alone, so that a head may start from that of the serving model, which has not seen the text either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ml_backend.core.arrays import (
    DistillationData,
    Fit,
    Floats,
    Rows,
    Tensors,
    TrainingSet,
    are_missing,
    missing_rows,
    object_rows,
)
from ml_backend.core.texts import Texts
from plugins.learners.crf.model import ALL_TEXTS, HEADER, N_FOLDS, Model, PredictedText, pack, unpack
from plugins.learners.crf.repeats import add_repeats, repeated_spans
from plugins.learners.crf.tags import spans_of_words
from plugins.learners.crf.training import LabelledTexts, fit_model, folds_of, predict_held_out
from plugins.learners.crf.word_table import read_words

TEXTS_PER_BATCH = 1000
MIN_REPORTED_PROBABILITY = 0.05
"""Probability from which a span is a part of a prediction if it is not drafted."""
MAX_REPORTED_SPANS = 50
"""Spans of a text that are a part of a prediction if they are not drafted."""
NOTHING: tuple[Any, ...] = ((), 0)
"""The target of a text without spans."""


class Crf:
    """Reads the words of the texts. Targets and predictions are those of the kind `spans`."""

    kinds = ("spans",)

    @property
    def reads_texts(self) -> Literal[True]:
        return True

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits a head on all texts and one for each fold. Deterministic, whatever the seed. Raises ValueError without
        texts."""
        if train.texts is None:
            raise ValueError("crf reads the texts of the tasks: pass them")
        rows = np.arange(len(train.targets))
        texts = LabelledTexts(read_words(train.texts, rows), train.targets, train.weights, folds_of(train.texts(rows)))
        tensors = train.earlier_tensors or {}
        serving = unpack(tensors) if HEADER in tensors else None
        unlabelled = train.unlabelled
        sample = (
            read_words(unlabelled, np.arange(len(unlabelled))) if unlabelled is not None and len(unlabelled) else None
        )
        model, held_out = fit_model(texts, train.control.labels, serving, sample, train.draft_rule)
        earlier = train.earlier_to_validate
        if earlier is not None:
            earlier = _judge_serving(serving, texts, earlier) if serving else self._judge_earlier(train, earlier)
        return Fit(pack(model), _held_out_rows(model, held_out, texts), earlier)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """None, because a teacher's labels have no texts here."""
        return {}

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        """(n,) objects: the drafted spans; further, less probable ones; and three measures of uncertainty, as the kind
        `spans` describes them. Raises ValueError without texts."""
        if texts is None:
            raise ValueError("crf reads the texts of the tasks: pass them")
        model, rows = unpack(tensors), np.arange(len(texts))
        predicted: list[Any] = []
        for start in range(0, len(rows), TEXTS_PER_BATCH):
            table = read_words(texts, rows[start : start + TEXTS_PER_BATCH])
            of_batch = model.predict(table, model.features(table), ALL_TEXTS)
            of_batch = add_repeats(model, of_batch, repeated_spans(model, table))
            predicted += (_row(text, _thresholds(model, ALL_TEXTS)) for text in of_batch)
        return object_rows(predicted)

    def _judge_earlier(self, train: TrainingSet, earlier: Rows) -> Rows:
        """The held-out predictions of a fit on the targets that the serving learner was fitted on, for all rows. Rows
        without such a target are predicted by the head of all texts."""
        known, new = np.flatnonzero(~are_missing(earlier)), np.flatnonzero(are_missing(earlier))
        if not len(known):
            return missing_rows(earlier, len(earlier))
        part = replace(train.take(known), targets=earlier[known], earlier=None, earlier_tensors=None)
        fitted = self.fit(part, 0)
        predicted = missing_rows(earlier, len(earlier))
        predicted[known] = fitted.held_out
        if len(new):
            predicted[new] = self.predict(fitted.tensors, train.vectors[new], train.texts_of(new))
        return predicted


def _held_out_rows(model: Model, held_out: Iterable[PredictedText], texts: LabelledTexts) -> Rows:
    """(n,) the predictions by the heads of the folds, with the drafts of these heads."""
    thresholds = [_thresholds(model, fold) for fold in range(N_FOLDS)]
    return object_rows([_row(text, thresholds[fold]) for text, fold in zip(held_out, texts.folds, strict=True)])


def _judge_serving(serving: Model, texts: LabelledTexts, earlier: Rows) -> Rows:
    """(n,) the prediction of each text by the head of the serving model that was not fitted on it. earlier: (n,) the
    targets that the model was fitted on, missing for other texts"""
    targets = object_rows([NOTHING if target is None else target for target in earlier])
    own_spans = spans_of_words(targets, texts.table, serving.labels)
    features = serving.features(texts.table, own_spans)
    return _held_out_rows(serving, predict_held_out(serving, texts, features, own_spans), texts)


def _thresholds(model: Model, head: int) -> dict[str, float]:
    """The threshold of a head for each label."""
    return dict(zip(model.labels, model.thresholds[head].tolist(), strict=True))


def _row(text: PredictedText, thresholds: Mapping[str, float]) -> Any:
    """The prediction of a text in the form of the kind `spans`."""
    drafted = sorted(c for c in text.candidates if c[3] >= thresholds[c[2]])
    others = [c for c in text.candidates if MIN_REPORTED_PROBABILITY <= c[3] < thresholds[c[2]]]
    others = sorted(others, key=lambda candidate: -candidate[3])[:MAX_REPORTED_SPANS]
    least_sure = max((1 - abs(2 * p - 1) for *_, p in text.candidates), default=0.0)
    measures = (text.entropy, -text.log_probability / max(text.words, 1), least_sure)
    return tuple(drafted), tuple(sorted(others)), tuple(round(measure, 6) for measure in measures)
