"""A fitted writer of edits: what it reads of words, the weights of its heads, and the lexicon.

A head of each fold is fitted on the texts outside of the fold, with a lexicon of these texts alone. The fold of a text
depends on its words alone, so that a head may start from that of an earlier fit, which has not seen the text either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints, Tensors
from ml_backend.core.text_drafts import Doubles
from plugins.learners.calibration import probabilities
from plugins.learners.crf.word_features import WordFeatures
from plugins.learners.crf.word_table import WordTable, content_numbers
from plugins.writers.edits.lexicon import N_FEATURES, Lexicon, WordCounts

N_FOLDS = 5
ALL_TEXTS = N_FOLDS
"""The head that was fitted on all texts."""
HEADER, MEAN, SCALE, COMPONENTS = "header", "mean", "scale", "components"
WEIGHTS, CALIBRATION, ENTRIES, COUNTS = "weights", "calibration", "lexicon.entries", "lexicon.counts"
WORDS, PHRASES = "lexicon.words", "lexicon.phrases"
"""Names of tensors."""


@dataclass(frozen=True, slots=True)
class PredictedEdits:
    """What is predicted of w words.

    edited         (w,) the probability that the annotator does not keep the word
    phrases        (w,) the phrase that most probably stands in its place, as a row of the lexicon
    phrase_shares  (w,) the probability of this phrase if the word is not kept
    """

    edited: Doubles
    phrases: Ints
    phrase_shares: Doubles


@dataclass(frozen=True)
class Model:
    """The parameters of the h = N_FOLDS + 1 heads.

    of_words     the features of words apart from the lexicon's
    weights      (h, a + N_FEATURES + 1) of the features, and the bias
    calibration  (h, 2) the slope and the offset that make the logits of a head calibrated
    lexicon      of all texts
    cold_words   number of words of the last fit that started from nothing
    """

    of_words: WordFeatures
    weights: Doubles
    calibration: Doubles
    lexicon: Lexicon
    cold_words: int

    @cached_property
    def _counts(self) -> dict[int, WordCounts]:
        return {}

    def counts(self, head: int) -> WordCounts:
        """The counts of the texts that a head was fitted on."""
        if head not in self._counts:
            self._counts[head] = self.lexicon.without(head)
        return self._counts[head]

    def predict(self, table: WordTable, *, held_out: bool) -> PredictedEdits:
        """The edits of all words, each by the head that was not fitted on its text, or by that of all texts."""
        folds = content_numbers(table) % N_FOLDS if held_out else np.full(len(table.lengths), ALL_TEXTS)
        heads, rows = np.repeat(folds, table.lengths), self.lexicon.read(table.words)
        distinct = np.unique(heads)
        dense = self.of_words.scores(table, self.weights[distinct, : -N_FEATURES - 1].T.astype(np.float32))
        edited, phrases, shares = np.empty(len(rows)), np.empty(len(rows), np.int64), np.empty(len(rows))
        for column, head in enumerate(distinct.tolist()):
            words = np.flatnonzero(heads == head)
            counts, of_words = self.counts(head), rows[words]
            lexical, bias = self.weights[head, -N_FEATURES - 1 : -1], self.weights[head, -1]
            slope, offset = self.calibration[head]
            logits = dense[words, column] + counts.features(of_words) @ lexical + bias
            edited[words] = probabilities(slope * logits + offset, multiple=True)
            phrases[words], shares[words] = counts.phrases[of_words], counts.phrase_shares(of_words)
        return PredictedEdits(edited, phrases, shares)


def pack(model: Model) -> Tensors:
    """The model as tensors."""
    lexicon = model.lexicon
    return {
        HEADER: np.array([model.cold_words], np.int64),
        MEAN: model.of_words.mean,
        SCALE: model.of_words.scale,
        COMPONENTS: model.of_words.components,
        WEIGHTS: model.weights,
        CALIBRATION: model.calibration,
        WORDS: _as_bytes(lexicon.words),
        PHRASES: _as_bytes(lexicon.phrases),
        ENTRIES: lexicon.entries.astype(np.int32),
        COUNTS: lexicon.counts,
    }


def unpack(tensors: Tensors) -> Model:
    """The inverse of `pack`."""
    of_words = WordFeatures(*(np.asarray(tensors[name], np.float32) for name in (MEAN, SCALE, COMPONENTS)))
    weights, calibration, counts = (np.asarray(tensors[name], np.float64) for name in (WEIGHTS, CALIBRATION, COUNTS))
    words, phrases = (json.loads(bytes(tensors[name])) for name in (WORDS, PHRASES))
    lexicon = Lexicon(words, phrases, np.asarray(tensors[ENTRIES], np.int64), counts)
    return Model(of_words, weights, calibration, lexicon, int(tensors[HEADER][0]))


def _as_bytes(strings: Sequence[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps([*strings]).encode(), np.uint8)
