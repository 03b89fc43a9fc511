"""Turns the spans of targets into tags of words.

The tags are O (outside), and for each type B (first word) and I (further word) (Tjong Kim Sang and Veenstra,
"Representing Text Chunks", EACL 1999: IOB2). Spans of types that overlap in the annotations cannot be tagged by one
sequence: such types are in different layers, each with tags of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ml_backend.core.arrays import Mask, Rows
from plugins.learners.crf.chain import OUTSIDE, first_tags, inside_tags
from plugins.learners.crf.occurrences import UNKNOWN, WordSpan
from plugins.learners.crf.word_table import WordTable

TIE = 0.5
"""The share of annotators at which a span is neither marked nor not marked."""
Spans = Sequence[tuple[int, int, str, float]]
"""Spans of a target: start, end, label, share of the annotators."""
Layers = list[list[str]]
"""The types of each layer, by their labels."""


def find_layers(targets: Rows, labels: Sequence[str], needed: Iterable[str] = ()) -> Layers:
    """The labels with a span in the targets and those in `needed`, in as few layers as possible: those that overlap are
    in different ones."""
    occurring = {label for spans, _ in targets for _, _, label, _ in spans}.union(needed)
    overlaps = {pair for spans, _ in targets for pair in _overlapping_labels(spans)}
    layers: Layers = []
    for label in filter(occurring.__contains__, labels):
        layer = next((layer for layer in layers if all((other, label) not in overlaps for other in layer)), None)
        if layer is None:
            layers.append([label])
        else:
            layer.append(label)
    return layers


def _overlapping_labels(spans: Spans) -> Iterator[tuple[str, str]]:
    """Yields each pair of different labels whose spans overlap, in either order."""
    open_spans: list[tuple[int, str]] = []  # the end and the label of each span that begins before the current one ends
    for start, end, label, _ in sorted(spans):
        open_spans = [(other_end, other) for other_end, other in open_spans if other_end > start]
        for other in {other for _, other in open_spans} - {label}:
            yield label, other
            yield other, label
        open_spans.append((end, label))


def spans_of_words(targets: Rows, table: WordTable, labels: Sequence[str]) -> list[list[WordSpan]]:
    """(n,) the spans of each text that more than half of the annotators have marked, in words; before them the words of
    tied spans, or all words if further spans of the text are unknown, as spans of the type UNKNOWN. `labels`: of the
    types, in their order"""
    types = {label: number for number, label in enumerate(labels)}
    of_texts = []
    for text, (spans, is_partial) in enumerate(targets):
        in_words = _in_words(spans, table, text)
        unknown = [(0, int(table.lengths[text]), UNKNOWN)] if is_partial else []
        unknown += [(begin, end, UNKNOWN) for begin, end, _, share in in_words if share <= TIE]
        marked = [(begin, end, types[label]) for begin, end, label, share in in_words if share > TIE]
        of_texts.append(unknown + marked)
    return of_texts


def allowed_tags(targets: Rows, table: WordTable, labels: Sequence[str]) -> Mask:
    """(w, k) the tags of each word that the targets allow in the layer of these labels. Words of a tied span may be
    outside or in it. In a text of which further spans are unknown, all other words may have any tag."""
    types = {label: number for number, label in enumerate(labels)}
    allowed = np.zeros((len(table.starts), 1 + 2 * len(labels)), np.bool_)
    allowed[:, OUTSIDE] = True
    for text, (spans, is_partial) in enumerate(targets):
        words = slice(table.first_words[text], table.first_words[text] + table.lengths[text])
        if is_partial:
            allowed[words] = True
        in_layer = [span for span in _in_words(spans, table, text) if span[2] in types]
        is_taken = np.zeros(int(table.lengths[text]), np.bool_)
        # spans that are not tied come first, then longer ones: a nested span of the same layer cannot be tagged
        for begin, end, label, share in sorted(in_layer, key=lambda span: (span[3] <= TIE, span[0] - span[1], span[0])):
            if not is_taken[begin:end].any():
                is_taken[begin:end] = True
                tags = allowed[words][begin:end]
                tags[:] = False
                tags[:, OUTSIDE] = share <= TIE
                tags[:1, first_tags(len(labels))][:, types[label]] = True
                tags[1:, inside_tags(len(labels))][:, types[label]] = True
                if end < len(is_taken) and not is_taken[end] and is_partial:  # else the span could go on
                    allowed[words][end, inside_tags(len(labels))][types[label]] = False
    return allowed


def _in_words(spans: Spans, table: WordTable, text: int) -> list[tuple[int, int, str, float]]:
    """The spans of a text, with the first word that each covers in part and the word behind it instead of characters;
    without spans that cover no word."""
    first = int(table.first_words[text])
    words = slice(first, first + int(table.lengths[text]))
    starts, ends = table.starts[words], table.ends[words]
    in_words = [
        (int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end)), label, share)
        for start, end, label, share in spans
    ]
    return [span for span in in_words if span[0] < span[1]]
