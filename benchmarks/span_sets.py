"""The public set of sentences with spans that the teacher's benchmark reads, and the recorded replies of a teacher."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from benchmarks.data import CACHE, DATA
from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Rows, object_rows
from ml_backend.core.texts import Texts, WordVectors, texts_at
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import Target

LABELS = ("corporation", "creative-work", "group", "location", "person", "product")
WNUT17 = SpansSchema("spans", "text", LABELS)
TRAIN, TEST = "wnut17train.conll", "emerging.test.annotated"


@dataclass(frozen=True)
class SpanSet:
    """n sentences with their words and targets (n,)."""

    sentences: list[str]
    texts: Texts
    targets: Rows

    @property
    def all_rows(self) -> Ints:
        """(n,)."""
        return np.arange(len(self.sentences))


def wnut17(file: str) -> SpanSet:
    """The sentences of one file. The first call takes a minute."""
    read = [*_sentences(file)]
    sentences = [text for text, _ in read]
    return SpanSet(sentences, texts_at(sentences, _words(sentences)), object_rows([target for _, target in read]))


def recorded_replies() -> tuple[Ints, list[Any]]:
    """The rows (m,) of the train sentences that a large language model has labelled, and its replies in the form that
    the kind asks for. The recorded replies say no occurrence: equal spans are those at the first places in order."""
    rows: list[int] = []
    replies: list[Any] = []
    with (DATA / "teacher" / "wnut17_entities.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            reply, occurrences = json.loads(line), Counter[str]()
            spans = []
            for entity in reply["entities"]:
                occurrences[entity["text"]] += 1
                spans.append(
                    {
                        "text": entity["text"],
                        "label": entity["type"],
                        "occurrence": occurrences[entity["text"]],
                        "before": "",
                        "p": entity["p"],
                    }
                )
            rows.append(int(reply["id"].split("-")[1]))
            replies.append({"spans": spans, "ambiguous": False})
    return np.array(rows), replies


def _sentences(file: str) -> Iterator[tuple[str, Target]]:
    """Yields the words of each sentence, joined by blanks, and its spans."""
    content = (DATA / "ner" / "wnut17" / file).read_text(encoding="utf-8")
    for is_sentence, lines in groupby(content.split("\n"), key=lambda line: bool(line.strip())):
        if not is_sentence:
            continue
        rows = [line.split("\t") for line in lines]
        spans: list[list[Any]] = []
        start = 0
        for word, tag in ((row[0], row[1].strip()) for row in rows):
            prefix, _, label = tag.partition("-")
            if prefix == "B":
                spans.append([start, start + len(word), label])
            elif prefix == "I":
                spans[-1][1] = start + len(word)
            start += len(word) + 1
        yield " ".join(row[0] for row in rows), (tuple((*span, 1.0) for span in spans), 0)


def _words(sentences: list[str]) -> list[WordVectors]:
    """The words of the sentences with the default encoder, from the cache folder."""
    encoder = registry.encoder("minilm")
    digest = hashlib.sha256(json.dumps(["words", encoder.name, *sentences]).encode()).hexdigest()[:16]
    file = CACHE / f"{digest}.npz"
    if not file.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        words = encoder.encode_with_words(sentences)[1]
        np.savez(
            file,
            lengths=[len(of_text) for of_text in words],
            starts=np.concatenate([of_text.starts for of_text in words]),
            ends=np.concatenate([of_text.ends for of_text in words]),
            vectors=np.concatenate([of_text.vectors for of_text in words]),
        )
    with np.load(file, allow_pickle=False) as stored:
        bounds = np.cumsum(stored["lengths"])[:-1]
        parts = [np.split(stored[name], bounds) for name in ("starts", "ends", "vectors")]
    return [WordVectors(*of_text) for of_text in zip(*parts, strict=True)]
