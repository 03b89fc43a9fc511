"""The learner of spans: a conditional random field on frozen vectors of words, refitted after each annotation.

Each labelled text is judged by a head that was not fitted on it, with counts of words that leave it out. Its labels are
only among the counts that other texts are read with. Which texts a head is fitted on depends on the texts alone, so
that a head may start from that of the serving model, which has not seen the text either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

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
from ml_backend.core.texts import Texts
from plugins.learners.crf.draft_choice import predict_held_out, with_repeat_rates, with_thresholds
from plugins.learners.crf.model import ALL_TEXTS, HEADER, N_FOLDS, Model, pack, unpack
from plugins.learners.crf.model_cache import unpack_once
from plugins.learners.crf.prediction import PredictedSpans, PredictedTags, predict
from plugins.learners.crf.prior import without_words
from plugins.learners.crf.prior_choice import fit_with_best_prior
from plugins.learners.crf.reading import read_all, read_pseudo_labelled, read_to_fit
from plugins.learners.crf.repeats import add_repeats, repeated_spans
from plugins.learners.crf.tags import find_layers
from plugins.learners.crf.training import LabelledTexts, fit_model
from plugins.learners.crf.unit_choice import remark_on
from plugins.learners.crf.word_table import read_words

TEXTS_PER_BATCH = 500
MIN_REPORTED_PROBABILITY = 0.05
"""Probability from which a span is a part of a prediction if it is not drafted."""
MAX_REPORTED_SPANS = 50
"""Spans of a text that are a part of a prediction if they are not drafted."""
PRIOR, PRIOR_WITH_WORDS = "labels", "labels and words"
"""The names of the priors of the teacher's labels, without a gazetteer and with one."""


class Crf:
    """Reads the words of the texts. Targets and predictions are those of the kind `spans`."""

    kinds = ("spans",)

    @property
    def reads_texts(self) -> Literal[True]:
        return True

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits a head on all texts and one for each fold. Deterministic, whatever the seed. Rows of weight 0 have no
        part in the fit, and the head of all texts predicts them. Raises ValueError without texts."""
        if train.texts is None:
            raise ValueError("crf reads the texts of the tasks: pass them")
        if not (train.weights > 0).all():
            return self._fit_weighted(train, seed)
        tensors = train.earlier_tensors or {}
        serving = unpack(tensors) if HEADER in tensors else None
        read = read_to_fit(train, train.texts, serving)
        texts, sample = read.texts, read.sample
        fitted = fit_with_best_prior(
            texts, train.control.labels, read.start, sample.unlabelled, train.priors, train.prior_selection_weights
        )
        fitted = with_repeat_rates(fitted, texts, train.draft_rule)
        scores = fitted.model.scores_of(fitted.features, range(N_FOLDS))
        predicted = predict_held_out(fitted.model, texts, fitted.counted, scores)
        model = with_thresholds(fitted.model, texts, [spans for spans, _ in predicted], sample, train.draft_rule)
        earlier = train.earlier_to_validate
        if earlier is not None:
            earlier = _judge_serving(serving, read.of_serving) if serving else self._judge_earlier(train, earlier)
        held_out = _held_out_rows(model, texts, predicted)
        remark = remark_on(texts.table.units, read.cut_words)
        return Fit(pack(model), held_out, earlier, model.choice.name, model.choice.errors, remark=remark)

    def _fit_weighted(self, train: TrainingSet, seed: int) -> Fit:
        """The fit on the rows whose weight is above 0."""
        fitted, others = np.flatnonzero(train.weights > 0), np.flatnonzero(train.weights <= 0)
        fit = self.fit(train.take(fitted), seed)
        held_out, earlier = missing_rows(fit.held_out, len(train.weights)), fit.held_out_earlier
        held_out[fitted] = fit.held_out
        held_out[others] = self.predict(fit.tensors, train.vectors[others], train.texts_of(others))
        if earlier is not None:
            of_fitted, earlier = earlier, missing_rows(earlier, len(train.weights))
            earlier[fitted] = of_fitted
        return replace(fit, held_out=held_out, held_out_earlier=earlier)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """The priors "labels" and "labels and words", fitted on the texts with the teacher's labels; none if these have
        no span. The words of texts that the teacher has written are not counted: it has made up the names in them. The
        names of labels give no prior: they detect nothing (measured)."""
        labels = data.labels
        layers = find_layers(labels.targets, data.control.labels)
        if labels.texts is None or not layers:
            return {}
        texts = read_pseudo_labelled(labels, labels.texts)
        pool = read_all(data.pool_texts, texts.table.units)
        model = fit_model(texts, layers, sample=pool, heads=[ALL_TEXTS]).model
        with_words = {PRIOR_WITH_WORDS: pack(model)} if texts.is_counted is None or texts.is_counted.any() else {}
        return {PRIOR: pack(without_words(model)), **with_words}

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        """(n,) objects: the drafted spans; further, less probable ones; and three measures of uncertainty, as the kind
        `spans` describes them. Raises ValueError without texts."""
        if texts is None:
            raise ValueError("crf reads the texts of the tasks: pass them")
        model, rows = unpack_once(tensors), np.arange(len(texts))
        predicted: list[Any] = []
        for start in range(0, len(rows), TEXTS_PER_BATCH):
            table = read_words(texts, rows[start : start + TEXTS_PER_BATCH], model.units)
            counted = model.read(table)
            [scores] = model.scores(table, counted, [ALL_TEXTS])
            spans, tags = predict(model, table, scores, ALL_TEXTS)
            spans = add_repeats(model, spans, repeated_spans(model, table, counted, model.repeat_rates[ALL_TEXTS]))
            predicted += _rows(model, ALL_TEXTS, table.lengths, spans, tags)
        return object_rows(predicted)

    def _judge_earlier(self, train: TrainingSet, earlier: Rows) -> Rows:
        """The held-out predictions of a fit on the targets that the serving learner was fitted on, for all rows. Rows
        without such a target are predicted by the head of all texts."""
        fitted_rows, others = np.flatnonzero(~are_missing(earlier)), np.flatnonzero(are_missing(earlier))
        if not len(fitted_rows):
            return missing_rows(earlier, len(earlier))
        part = replace(train.take(fitted_rows), targets=earlier[fitted_rows], earlier=None, earlier_tensors=None)
        fitted = self.fit(part, 0)
        predicted = missing_rows(earlier, len(earlier))
        predicted[fitted_rows] = fitted.held_out
        if len(others):
            predicted[others] = self.predict(fitted.tensors, train.vectors[others], train.texts_of(others))
        return predicted


def _held_out_rows(
    model: Model, texts: LabelledTexts, predicted: Sequence[tuple[PredictedSpans, PredictedTags]]
) -> Rows:
    """(n,) the predictions of the labelled texts, from those by fold."""
    held_out: list[Any] = [None] * len(texts.targets)
    for fold, of_fold in enumerate(predicted):
        rows = np.flatnonzero(texts.folds == fold)
        for row, prediction in zip(rows.tolist(), _rows(model, fold, texts.table.lengths[rows], *of_fold), strict=True):
            held_out[row] = prediction
    return object_rows(held_out)


def _judge_serving(serving: Model, texts: LabelledTexts) -> Rows:
    """(n,) the prediction of each text by the head of the serving model that was not fitted on it."""
    counted = serving.read(texts.table, leaves_out_copies=True)
    predicted = predict_held_out(serving, texts, counted, serving.scores(texts.table, counted, range(N_FOLDS)))
    return _held_out_rows(serving, texts, predicted)


def _rows(model: Model, head: int, lengths: Ints, spans: PredictedSpans, tags: PredictedTags) -> list[Any]:
    """The predictions of n texts by a head in the form of the kind `spans`. lengths: (n,) words of each text"""
    thresholds, rows = dict(zip(model.labels, model.thresholds[head].tolist(), strict=True)), []
    surprises = -tags.log_probabilities / np.maximum(lengths, 1)
    for candidates, entropy, surprise in zip(
        spans.candidates, tags.entropies.tolist(), surprises.tolist(), strict=True
    ):
        drafted = sorted(c for c in candidates if c[3] >= thresholds[c[2]])
        others = [c for c in candidates if MIN_REPORTED_PROBABILITY <= c[3] < thresholds[c[2]]]
        others = sorted(others, key=lambda candidate: -candidate[3])[:MAX_REPORTED_SPANS]
        least_sure = max((1 - abs(2 * p - 1) for *_, p in candidates), default=0.0)
        measures = (entropy, surprise, least_sure)
        rows.append((tuple(drafted), tuple(sorted(others)), tuple(round(measure, 6) for measure in measures)))
    return rows
