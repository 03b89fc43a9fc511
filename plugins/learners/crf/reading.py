"""Reads the texts that a model is fitted on, in the units that suit their spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ml_backend.core.arrays import PseudoLabels, Rows, Tensors, TrainingSet
from ml_backend.core.texts import Texts, texts_at
from plugins.learners.crf.draft_choice import PoolSample
from plugins.learners.crf.gazetteer_tensors import counted_texts
from plugins.learners.crf.model import Model
from plugins.learners.crf.training import LabelledTexts
from plugins.learners.crf.unit_choice import CutSpans, choose_units, count_cut_spans
from plugins.learners.crf.units import Units
from plugins.learners.crf.word_table import WordTable, read_words


@dataclass(frozen=True, slots=True)
class TextsToFit:
    """The texts of a fit.

    texts       the labelled ones, in the units that the new model gets
    sample      of the pool, in the same units
    of_serving  the same texts in the units of the serving model
    start       the serving model if the fit may go on from it, else None
    cut_words   the spans that begin or end inside words
    """

    texts: LabelledTexts
    sample: PoolSample
    of_serving: LabelledTexts
    start: Model | None
    cut_words: CutSpans


def read_to_fit(train: TrainingSet, texts: Texts, serving: Model | None) -> TextsToFit:
    """Reads the texts of a training set. `texts`: the labelled ones"""
    rows = np.arange(len(train.targets))
    contents = texts(rows)
    table = read_words(texts, rows, serving.units if serving else Units.WORDS)
    of_serving = LabelledTexts.of(table, train.targets, train.weights)
    start = None if serving is None or _was_label_removed(serving, of_serving, train.priors) else serving
    count = partial(_count_cut_spans, contents, train.targets, table)
    units, cut_words = choose_units(count, start.units if start else None)
    labelled = of_serving
    if units != table.units:
        labelled = LabelledTexts.of(read_words(texts, rows, units), train.targets, train.weights)
    return TextsToFit(labelled, _read_sample(train.pool_texts, contents, units), of_serving, start, cut_words)


def read_pseudo_labelled(labels: PseudoLabels, texts: Texts) -> LabelledTexts:
    """The texts with the teacher's labels. The words of texts that the teacher has written are not counted."""
    rows = np.arange(len(labels.targets))
    table = read_words(texts, rows)
    units, _ = choose_units(partial(_count_cut_spans, texts(rows), labels.targets, table), None)
    table = table if units == table.units else read_words(texts, rows, units)
    is_counted = None if labels.is_generated is None or not labels.is_generated.any() else ~labels.is_generated
    return LabelledTexts.of(table, labels.targets, labels.weights, is_counted)


def _read_sample(pool_texts: Texts | None, labelled: Sequence[str], units: Units) -> PoolSample:
    """The sample of the pool, divided into texts with and without a label."""
    if pool_texts is None:
        return PoolSample(None, np.empty(0, np.int64))
    texts, labelled_texts = pool_texts(np.arange(len(pool_texts))), {*labelled}
    unlabelled = np.array([row for row, text in enumerate(texts) if text not in labelled_texts], np.int64)
    in_sample = {*texts}
    rows = np.array([row for row, text in enumerate(labelled) if text in in_sample], np.int64)
    return PoolSample(read_all(pool_texts.take(unlabelled), units), rows)


def read_all(texts: Texts | None, units: Units) -> WordTable | None:
    """The units of all texts, None if there are no texts."""
    return read_words(texts, np.arange(len(texts)), units) if texts is not None and len(texts) else None


def _count_cut_spans(texts: Sequence[str], targets: Rows, table: WordTable, units: Units) -> CutSpans:
    """Counts the spans of texts (n,) that cut units: those of the table, or others, whose vectors are not read."""
    if table.units != units:
        table = read_words(texts_at(texts), np.arange(len(texts)), units)
    return count_cut_spans(table, texts, targets)


def _was_label_removed(serving: Model, texts: LabelledTexts, priors: Mapping[str, Tensors]) -> bool:
    """Whether the serving model was fitted on a text that has no label any more: neither the parameters nor the choice
    of a prior may go on from it. What a fit makes of a text with another label converges to the same."""
    labelled = np.concatenate([texts.numbers, *(counted_texts(prior) for prior in priors.values())])
    return not {*labelled.tolist()}.issuperset(serving.gazetteer.counted_spans)
