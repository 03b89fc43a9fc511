"""The writer `edits`: keeps, deletes or replaces each word of a source, as accepted texts have done.

It reads the vectors of words and counts of what became of them. Words that accepted texts insert beside words that they
keep are not learnt, nor is a change of the letter case alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ml_backend.core.arrays import Floats, Mask, Tensors
from ml_backend.core.text_drafts import AcceptedTexts, Doubles, TextDrafts
from ml_backend.core.texts import Texts
from plugins.learners.crf.word_table import WordTable, read_words
from plugins.learners.model_cache import ModelCache
from plugins.writers.edits.fit import fit_model
from plugins.writers.edits.lexicon import DELETION
from plugins.writers.edits.model import PredictedEdits, pack, unpack
from plugins.writers.edits.rewriting import like, rewritten

TEXTS_PER_BATCH = 500
DELETION_COST = 0.8
"""What it costs the annotator to delete a word, where writing one costs 1. A word is deleted by a stroke, one that is
missing must be noticed and written anew. Chosen on development pairs of ParaDetox."""
MOST_DOUBTFUL_WORDS = 2
"""Words of a text whose doubts are averaged."""
unpack_once = ModelCache(unpack)


class Edits:
    """Reads the vectors of the sources' words."""

    min_kept_share = 0.5

    def fit(self, accepted: AcceptedTexts, earlier: Tensors | None) -> Tensors:
        """Fits a head on all texts and one for each fold."""
        return pack(fit_model(accepted, unpack(earlier) if earlier else None))

    def draft(self, tensors: Tensors, sources: Texts, vectors: Floats, *, held_out: bool = False) -> TextDrafts:
        """The doubt is the mean of 1 - |2 p - 1| over the two most doubtful words, for the probability p that a word is
        not kept."""
        model, rows = unpack_once(tensors), np.arange(len(sources))
        texts: list[str] = []
        confidences: list[float] = []
        doubts: list[float] = []
        for start in range(0, len(rows), TEXTS_PER_BATCH):
            batch = rows[start : start + TEXTS_PER_BATCH]
            table = read_words(sources, batch)
            predicted = model.predict(table, held_out=held_out)
            texts += _written(sources(batch), table, predicted, model.lexicon.phrases)
            errors = np.minimum(predicted.edited, 1 - predicted.edited * predicted.phrase_shares)
            doubt_of_words = 1 - np.abs(2 * predicted.edited - 1)
            for begin, end in pairwise(np.cumsum([0, *table.lengths]).tolist()):
                confidences.append(1 - float(errors[begin:end].mean()) if end > begin else 0.0)
                most = np.sort(doubt_of_words[begin:end])[-MOST_DOUBTFUL_WORDS:]
                doubts.append(float(most.mean()) if end > begin else 0.0)
        return TextDrafts(texts, np.array(confidences), np.array(doubts))


def best_edits(edited: Doubles, phrase_shares: Doubles, is_deletion: Mask) -> Mask:
    """(w,) the words that are edited so that the expected cost is lowest for the annotator who corrects the draft
    (Bayes rule). A word that is missing and a wrong phrase cost 1, a word too many costs DELETION_COST.

    edited         (w,) the probability p that the annotator does not keep each word
    phrase_shares  (w,) the probability q that the phrase which would be written is then the annotator's
    is_deletion    (w,) whether this phrase is empty
    """
    saved = np.where(is_deletion, DELETION_COST, 1.0) * edited * phrase_shares
    return np.asarray(saved > 1 - edited)


def _written(texts: Sequence[str], table: WordTable, predicted: PredictedEdits, phrases: Sequence[str]) -> list[str]:
    """The drafts for n texts. phrases: those of the lexicon"""
    is_deletion = predicted.phrases == DELETION
    is_edited = best_edits(predicted.edited, predicted.phrase_shares, is_deletion)
    drafts = []
    for text, (begin, end) in zip(texts, pairwise(np.cumsum([0, *table.lengths]).tolist()), strict=True):
        starts, ends = table.starts[begin:end], table.ends[begin:end]
        replacements: list[str | None] = [None] * (end - begin)
        for place in np.flatnonzero(is_edited[begin:end]).tolist():
            phrase = phrases[predicted.phrases[begin + place]]
            replacements[place] = like(text[starts[place] : ends[place]], phrase)
        drafts.append(rewritten(text, starts, ends, replacements))
    return drafts
