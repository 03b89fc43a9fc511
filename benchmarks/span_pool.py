"""Many texts with their spans, and the vectors of their words, for the benchmark of the live loop on spans.

The texts are the sentences of wnut17, ncbi-disease and the demo; then random pairs of them. The words of a pair get the
vectors that they have in their sentences, because MiniLM would need hours for 100,000 pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.span_sets import FILES, SpanTexts, load
from ml_backend.core.arrays import Floats
from ml_backend.core.texts import WordVectors
from ml_backend.core.types import content_key
from ml_backend.demo.sentences import CONTROL, load_sentences
from ml_backend.kinds.spans.values import Span
from ml_backend.storage import Vectors

TEXTS_PER_SHARD = 10_000


@dataclass(frozen=True)
class PooledText:
    """A text of one sentence or two, and its right spans. sentences: their numbers, see `Sentences`"""

    text: str
    spans: tuple[Span, ...]
    sentences: tuple[int, ...]


class Sentences:
    """The sentences of all sets, numbered from 0."""

    def __init__(self, folder: Path) -> None:
        """folder: keeps the demo's sentences"""
        demo = load_sentences(folder)[0]
        self._sets = [*(load(name).train for name in FILES)]
        self._sets.append(SpanTexts([task.text for task in demo], [task.values[CONTROL] for task in demo]))
        self._marked = [
            (text, tuple(spans)) for part in self._sets for text, spans in zip(part.texts, part.spans, strict=True)
        ]

    def pool(self, n: int) -> list[PooledText]:
        """n different texts."""
        texts: dict[str, PooledText] = {}
        for text in self._texts():
            texts.setdefault(text.text, text)
            if len(texts) == n:
                break
        return [*texts.values()]

    def _texts(self) -> Iterator[PooledText]:
        """Yields texts without end."""
        yield from (PooledText(text, spans, (number,)) for number, (text, spans) in enumerate(self._marked))
        generator = random.Random(0)
        while True:
            first, second = (generator.randrange(len(self._marked)) for _ in range(2))
            (text, spans), (other, other_spans) = self._marked[first], self._marked[second]
            moved = tuple((start + len(text) + 1, end + len(text) + 1, label) for start, end, label in other_spans)
            yield PooledText(f"{text} {other}", (*spans, *moved), (first, second))

    def write_vectors(self, cache: Vectors, texts: Sequence[PooledText]) -> None:
        """Adds the vectors of the texts and of their words to a vector cache. MiniLM encodes the sentences, unless the
        benchmarks' cache has their vectors."""
        vectors = np.concatenate([part.vectors for part in self._sets])
        words = [of_text for part in self._sets for of_text in part.words]
        for start in range(0, len(texts), TEXTS_PER_SHARD):
            shard = texts[start : start + TEXTS_PER_SHARD]
            cache.add(
                [content_key(text.text) for text in shard],
                np.stack([_unit(vectors[[*text.sentences]].sum(axis=0)) for text in shard]),
                [self._join(text, words) for text in shard],
            )

    def _join(self, text: PooledText, words: Sequence[WordVectors]) -> WordVectors:
        shift, parts = 0, []
        for number in text.sentences:
            of_sentence = words[number]
            parts.append((of_sentence.starts + shift, of_sentence.ends + shift, of_sentence.vectors))
            shift += len(self._marked[number][0]) + 1
        return WordVectors(*map(np.concatenate, zip(*parts, strict=True)))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
