"""Spans whose words were marked in other texts, wherever they occur again.

A phrase is a span of type x with the probability that the annotations of the project bear out:

    (m_x + w r) / (n + w)

It occurs n times in other annotated texts, m_x > 0 times as a span of type x. r is the share in which this holds of all
phrases: of the places in an annotated text whose words are marked as a span of a type in another text, those that are
marked so, too. w is `PRIOR_PLACES`, the weight of this prior. So a phrase that is often not marked is soon left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.decoding import Candidate, without_overlaps
from plugins.learners.crf.gazetteer import Gazetteer, LeftOut, WordSpan
from plugins.learners.crf.model import Model
from plugins.learners.crf.prediction import PredictedSpans
from plugins.learners.crf.word_table import WordTable

PRIOR_PLACES = 2.0


def repeat_rate(gazetteer: Gazetteer, table: WordTable, spans: Sequence[Sequence[WordSpan]]) -> float:
    """r, see above, for the annotated texts of a gazetteer with these spans; 0.5 without any such place."""
    marked = {
        (first + begin, end - begin, kind)
        for first, of_text in zip(table.first_words.tolist(), spans, strict=True)
        for begin, end, kind in of_text
    }
    hits = places = 0
    for first, length, counts in gazetteer.phrases(table.words, table.lengths, spans):
        for kind in _marked_types(counts):
            places += 1
            hits += (first, length, kind) in marked
    return (hits + 1) / (places + 2)


def repeated_spans(model: Model, table: WordTable, left_out: LeftOut = None) -> list[list[Candidate]]:
    """(n,) the spans in each text whose words were marked in other texts; none if the model does not draft repeats.
    left_out: see `Gazetteer.features`"""
    candidates: list[list[Candidate]] = [[] for _ in table.lengths]
    if model.repeat_rate == 0:
        return candidates
    texts, starts, ends, labels = table.texts, table.starts, table.ends, model.labels
    for first, length, counts in model.gazetteer.phrases(table.words, table.lengths, left_out):
        for kind in _marked_types(counts):
            probability = (counts[kind] + PRIOR_PLACES * model.repeat_rate) / (counts[-1] + PRIOR_PLACES)
            span = int(starts[first]), int(ends[first + length - 1]), labels[kind], round(float(probability), 4)
            candidates[texts[first]].append(span)
    return candidates


def _marked_types(counts: Doubles) -> list[int]:
    """The types of which annotators have marked a phrase with these counts (m + 1,)."""
    return np.flatnonzero(counts[:-1] > 0).tolist() if np.isfinite(counts[-1]) else []


def add_repeats(model: Model, spans: PredictedSpans, repeated: Sequence[Sequence[Candidate]]) -> PredictedSpans:
    """The spans of n texts, in which each repeated one has at least its own probability."""
    if not any(repeated):
        return spans
    candidates, expected = list(spans.candidates), spans.expected_spans.copy()
    for text, of_text in enumerate(repeated):
        if of_text:
            candidates[text], added = _with_repeats(model, candidates[text], of_text)
            expected[text] += added
    return PredictedSpans(candidates, expected)


def _with_repeats(
    model: Model, candidates: Sequence[Candidate], repeated: Sequence[Candidate]
) -> tuple[list[Candidate], float]:
    """The candidates of a text with repeated ones, and the sum of the probabilities that are added."""
    probabilities = {(start, end, label): p for start, end, label, p in candidates}
    before = sum(probabilities.values())
    for start, end, label, probability in repeated:
        probabilities[start, end, label] = max(probability, probabilities.get((start, end, label), 0.0))
    spans = [(start, end, label, p) for (start, end, label), p in probabilities.items()]
    kept = [c for layer in model.layers for c in without_overlaps(c for c in spans if c[2] in layer)]
    return kept, max(sum(p for *_, p in kept) - before, 0.0)
