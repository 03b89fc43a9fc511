"""Spans whose words were marked in other texts, wherever they occur again.

A phrase is a span of type x with the probability that the annotations of the project bear out:

    (m_x + w r) / (n + w)

It occurs n times in other annotated texts, m_x > 0 times as a span of type x. r is the share in which this holds of all
phrases: of the places in an annotated text whose words are marked as a span of a type in another text, those that are
marked so, too. The head of a fold has the share in the texts that it was fitted on. w is `PRIOR_PLACES`, the weight of
this prior. So a phrase that is often not marked is soon left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Ints
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.decoding import Candidate, without_overlaps
from plugins.learners.crf.gazetteer import CountedWords
from plugins.learners.crf.model import Model
from plugins.learners.crf.occurrences import WordSpan, find_labels
from plugins.learners.crf.prediction import PredictedSpans
from plugins.learners.crf.word_table import WordTable

PRIOR_PLACES = 2.0


def repeat_rate(counted: CountedWords, texts: Ints, spans: Sequence[Sequence[WordSpan]]) -> float:
    """r, see above, in some annotated texts (c,) with these spans (c,); 0.5 without any such place. The counts of a
    text do not have its labels."""
    occurrences = counted.occurrences
    _, of_phrases = find_labels(occurrences, texts, spans, counted.types)
    labels = of_phrases.sums(np.arange(len(occurrences.phrases)), len(occurrences.phrases)) > 0
    is_place = counted.marked_elsewhere & labels[:, -1:]
    return float((is_place & labels[:, :-1]).sum() + 1) / float(is_place.sum() + 2)


def repeated_spans(
    model: Model, table: WordTable, counted: CountedWords, rates: Doubles | float
) -> list[list[Candidate]]:
    """(n,) the spans in each text whose words were marked in other texts.

    counted  the words of the texts with their counts
    rates    (n,) r of each text, or r of all; nothing is repeated where it is 0
    """
    candidates: list[list[Candidate]] = [[] for _ in table.lengths]
    occurrences, labels = counted.occurrences, model.labels
    of_phrases = np.broadcast_to(rates, len(candidates))[occurrences.phrase_texts]
    places, types = np.nonzero(counted.marked_elsewhere & (of_phrases[:, None] > 0))
    counts, weights = counted.phrase_counts[places], PRIOR_PLACES * of_phrases[places]
    probabilities = (counts[np.arange(len(places)), types] + weights) / (counts[:, -1] + PRIOR_PLACES)
    for text, start, end, kind, probability in zip(
        occurrences.phrase_texts[places].tolist(),
        table.starts[occurrences.begins[places]].tolist(),
        table.ends[occurrences.ends[places] - 1].tolist(),
        types.tolist(),
        probabilities.tolist(),
        strict=True,
    ):
        candidates[text].append((start, end, labels[kind], round(probability, 4)))
    return candidates


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
