"""The public sets of `make bench-spans`: texts with named entities. The vectors of their words are kept in a cache
folder.

Read from the folder `ner` of the benchmarks' data, in columns as in CoNLL-2003: a word and its tag on each line, an
empty line between two texts. A text consists of its words, joined by single blanks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.data import CACHE, DATA
from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Rows, object_rows
from ml_backend.core.ports import WordEncoder
from ml_backend.core.texts import Texts, WordVectors, texts_at
from ml_backend.core.words import word_offsets
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import Span

FILES = {
    "wnut17": ("wnut17train.conll", "emerging.test.annotated"),
    "ncbi-disease": ("train.tsv", "test.tsv"),
}
"""The files of the train and the test sentences of each set."""


@dataclass(frozen=True)
class SpanTexts:
    """n texts with their spans and the vectors of the texts (n, d) and of their words."""

    texts: Sequence[str]
    spans: Sequence[Sequence[Span]]

    @cached_property
    def _encoded(self) -> tuple[Floats, list[WordVectors]]:
        return encode_words(self.texts)

    @property
    def vectors(self) -> Floats:
        return self._encoded[0]

    @property
    def words(self) -> list[WordVectors]:
        return self._encoded[1]

    @property
    def targets(self) -> Rows:
        """(n,) the targets: all spans are known, and one annotator has marked them."""
        return object_rows([(tuple((*span, 1.0) for span in spans), 0) for spans in self.spans])

    def read(self, rows: Ints) -> Texts:
        """Some of the texts, as a learner reads them."""
        return texts_at([self.texts[row] for row in rows], [self.words[row] for row in rows])

    def count(self, rows: Ints) -> tuple[int, int]:
        """The number of words and of spans in some of the texts."""
        return sum(self.texts[row].count(" ") + 1 for row in rows), sum(len(self.spans[row]) for row in rows)


@dataclass(frozen=True)
class SpanSet:
    """Train texts, of which a pool is made, and test texts."""

    name: str
    train: SpanTexts
    test: SpanTexts

    @property
    def control(self) -> SpansSchema:
        labels = {label for spans in self.train.spans for *_, label in spans}
        return SpansSchema("spans", "text", tuple(sorted(labels)))


def load(name: str) -> SpanSet:
    """Reads one of the sets of `FILES`. Its vectors are made when they are first read, which takes minutes."""
    return SpanSet(name, *(_read(DATA / "ner" / name / file) for file in FILES[name]))


def _read(path: Path) -> SpanTexts:
    with path.open(encoding="utf-8") as file:
        sentences = [[*lines] for is_text, lines in groupby(map(str.strip, file), key=bool) if is_text]
    tagged = [[(line.split("\t")[0], line.split("\t")[-1]) for line in lines] for lines in sentences]
    return SpanTexts([" ".join(word for word, _ in words) for words in tagged], [[*_spans(words)] for words in tagged])


def _spans(words: Sequence[tuple[str, str]]) -> Iterator[Span]:
    """Yields the spans of a text from its words and their tags (IOB2)."""
    start = end = -1
    label, position = "", 0
    for word, tag in [*words, ("", "O")]:
        if label and tag != f"I-{label}":
            yield start, end, label
            label = ""
        if tag != "O" and not label:
            start, label = position, tag[2:]
        end = position + len(word)
        position = end + 1


def encode_words(texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
    """The vectors (n, d) of texts and of their words, by the default encoder."""
    offsets = [word_offsets(text) for text in texts]
    encoder = registry.encoder("minilm")
    assert isinstance(encoder, WordEncoder)
    content = repr((encoder.name, [(text, starts.tolist()) for text, (starts, _) in zip(texts, offsets, strict=True)]))
    file = CACHE / f"words-{hashlib.sha256(content.encode()).hexdigest()[:16]}.npz"
    if not file.is_file():
        vectors, words = encoder.encode_with_words(texts)
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(file, vectors=vectors, words=np.concatenate([of_text.vectors for of_text in words]))
    with np.load(file, allow_pickle=False) as arrays:
        bounds = np.cumsum([len(starts) for starts, _ in offsets])[:-1]
        of_texts = np.split(arrays["words"], bounds)
        words = [WordVectors(*pair, of_text) for pair, of_text in zip(offsets, of_texts, strict=True)]
        return arrays["vectors"], words
