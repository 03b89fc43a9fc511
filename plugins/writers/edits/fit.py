"""Fits a model of edits on accepted texts, from nothing or from an earlier model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.text_drafts import AcceptedTexts, Doubles
from ml_backend.core.words import word_offsets
from plugins.learners.calibration import fit_calibration
from plugins.learners.crf.lbfgs import Limits
from plugins.learners.crf.word_features import WordFeatures
from plugins.learners.crf.word_table import WordTable, content_numbers, read_words
from plugins.writers.edits import tagger
from plugins.writers.edits.alignment import accepted_ranges
from plugins.writers.edits.lexicon import KEPT, Lexicon, Observations, own_counts
from plugins.writers.edits.model import N_FOLDS, Model
from plugins.writers.edits.rewriting import unlike

COLD_LIMITS, WARM_LIMITS = Limits(22, 1e-5), Limits(5, 3e-3)
"""Of a fit that starts from nothing, and from an earlier model."""
COLD_GROWTH = 2.0
"""The fit starts from nothing when the number of words has grown by this factor since it last did."""
MAX_FITTED_TEXTS = 2000
"""Texts that the weights are fitted on. The lexicon counts all of them."""


def fit_model(accepted: AcceptedTexts, earlier: Model | None) -> Model:
    """The model of the accepted texts. What a head is fitted on leaves out the counts of a word's own text: otherwise
    the head would rely on the counts alone."""
    table = read_words(accepted.sources, np.arange(len(accepted)))
    observed, lexicon = _observe(accepted, table)
    start = _start(earlier, table)
    of_words = start.of_words if start else WordFeatures.of([table])
    dense, lexical, weights = of_words(table), [], []
    own_kept, own_edited = own_counts(observed)
    for head in range(N_FOLDS + 1):
        is_fitted = observed.folds != head
        counts = lexicon.without(head)
        lexical.append(counts.features(observed.words, own_kept * is_fitted, own_edited * is_fitted))
        weights.append(np.asarray(observed.weights * is_fitted, np.float32))
    fitted_words = np.flatnonzero(np.isin(table.texts, _fitted_texts(observed.numbers, table)))
    data = tagger.TaggedWords(
        dense[fitted_words],
        np.stack([of_head[fitted_words] for of_head in lexical]),
        observed.is_edited[fitted_words].astype(np.float32),
        np.stack([of_head[fitted_words] for of_head in weights]),
    )
    betas = tagger.fit(data, start.weights if start else None, WARM_LIMITS if start else COLD_LIMITS)
    calibration = _calibration(_held_out_logits(dense, lexical, observed, betas), observed)
    return Model(of_words, betas, calibration, lexicon, start.cold_words if start else len(table.starts))


def _observe(accepted: AcceptedTexts, table: WordTable) -> tuple[Observations, Lexicon]:
    """What became of the words of the sources, and its counts."""
    phrases = _phrases(accepted, table)
    words, distinct_phrases = sorted({*table.words}), sorted({"", *(p for p in phrases if p is not None)})
    word_rows = {word: row for row, word in enumerate(words)}
    phrase_rows: dict[str | None, int] = {phrase: row for row, phrase in enumerate(distinct_phrases)}
    numbers = np.repeat(content_numbers(table), table.lengths)
    observed = Observations(
        words=np.array([word_rows[word] for word in table.words], np.int64),
        phrases=np.array([phrase_rows.get(phrase, KEPT) for phrase in phrases], np.int64),
        numbers=numbers,
        folds=numbers % N_FOLDS,
        weights=np.asarray(accepted.weights, np.float32)[table.texts],
    )
    return observed, Lexicon.of(words, distinct_phrases, observed)


def _fitted_texts(numbers: Ints, table: WordTable) -> Ints:
    """The texts that the weights are fitted on: all, or of very many the first by a number that depends on the text
    alone. numbers: (w,) of the texts of words"""
    texts = np.unique(table.texts)
    if len(texts) <= MAX_FITTED_TEXTS:
        return texts
    # the folds are the remainders of the same number
    of_texts = numbers[table.first_words[texts]] // N_FOLDS
    return np.asarray(texts[np.argsort(of_texts, kind="stable")[:MAX_FITTED_TEXTS]])


def _phrases(accepted: AcceptedTexts, table: WordTable) -> list[str | None]:
    """(w,) for each word what stands in its place in the accepted text, None if the word was kept."""
    phrases: list[str | None] = []
    sources = accepted.sources(np.arange(len(accepted)))
    for source, text, length in zip(sources, accepted.texts, table.lengths.tolist(), strict=True):
        (starts, ends), (accepted_starts, accepted_ends) = word_offsets(source), word_offsets(text)
        words = [source[start:end] for start, end in zip(starts, ends, strict=True)]
        accepted_words = [text[start:end] for start, end in zip(accepted_starts, accepted_ends, strict=True)]
        ranges = accepted_ranges(words, accepted_words)[:length]
        for word, (begin, end) in zip(words, ranges.tolist(), strict=False):
            if word.lower() in map(str.lower, accepted_words[begin:end]):
                phrases.append(None)
            elif begin == end:
                phrases.append("")
            else:
                phrases.append(unlike(word, text[accepted_starts[begin] : accepted_ends[end - 1]]))
    return phrases


def _start(earlier: Model | None, table: WordTable) -> Model | None:
    """The earlier model, if a fit can start from it; else None."""
    if earlier is None or earlier.of_words.vector_size != table.vectors.shape[1]:
        return None
    return earlier if len(table.starts) < COLD_GROWTH * earlier.cold_words else None


def _held_out_logits(dense: Floats, lexical: Sequence[Floats], observed: Observations, betas: Doubles) -> Floats:
    """(w,) the logit of each word by the head that was not fitted on its text."""
    logits = np.empty(len(observed.folds), np.float32)
    for fold in range(N_FOLDS):
        words = np.flatnonzero(observed.folds == fold)
        features = np.hstack([dense[words], lexical[fold][words]])
        logits[words] = features @ betas[fold, :-1] + betas[fold, -1]
    return logits


def _calibration(logits: Floats, observed: Observations) -> Doubles:
    """(h, 2) the slope and the offset of each head. That of a fold is calibrated on the other folds."""
    targets, pairs = observed.is_edited[:, None].astype(np.float32), []
    for head in range(N_FOLDS + 1):
        weights = np.asarray(observed.weights * (observed.folds != head), np.float32)
        slope, offset = fit_calibration(logits[:, None], targets, weights, multiple=True)
        pairs.append((float(slope[0]), float(offset[0])))
    return np.array(pairs)
