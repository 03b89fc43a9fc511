"""How well spans are learnt that begin or end inside words, by the units that the texts are tagged in.

    python -m benchmarks.span_units [--seeds 3] [--sets wnut17 ncbi-disease] [--changes ...]

The texts are train sentences of wnut17 and ncbi-disease, changed so that spans cut words as in other projects; F1 is
that of the last sentences, which are changed alike. `CHANGES` says how.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from unittest.mock import patch

import numpy as np

from benchmarks.arms import spread, table
from benchmarks.span_curves import Bench
from benchmarks.span_sets import SpanSet, SpanTexts, load
from benchmarks.span_speed import median_seconds
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.kinds.spans.values import Span
from plugins.learners.crf import reading
from plugins.learners.crf.unit_choice import CutSpans
from plugins.learners.crf.units import Units

SENTENCES, LABELLED, SAMPLE = 700, 200, 300
SLIPS = 0.05
"""Share of the train spans of "slips" that end a character too early or too late."""
SUFFIXES = ("da", "de", "dan", "den", "nin", "ler", "lar", "deki", "ya", "yi")
MEASURES = ("mg", "ml", "kg", "km", "h", "GB")
Piece = tuple[str, str]
"""A piece of a text, and its label, "" for none."""


def _hashtags(pieces: list[Piece], generator: random.Random) -> list[Piece]:
    """Joins the words of every second name behind a #, which is not marked."""
    changed: list[Piece] = []
    for piece, label in pieces:
        is_joined = label and generator.random() < 0.5
        changed += [("#", ""), ("".join(piece.title().split()), label)] if is_joined else [(piece, label)]
    return changed


def _amounts(pieces: list[Piece], generator: random.Random) -> list[Piece]:
    """Adds an amount to the beginning or the end, of which the number is marked: 25 in 25mg."""
    amount = [(str(generator.randrange(1, 2000)), "amount"), (generator.choice(MEASURES), "")]
    return [*amount, (" ", ""), *pieces] if generator.random() < 0.5 else [*pieces, (" ", ""), *amount]


def _suffixes(pieces: list[Piece], generator: random.Random) -> list[Piece]:
    """Adds suffixes to words, as in Turkish without an apostrophe. Those of names are not marked."""
    changed: list[Piece] = []
    for piece, label in pieces:
        if label:
            changed += [(piece, label), (generator.choice(SUFFIXES) if generator.random() < 0.5 else "", "")]
        else:
            has_suffix = (word.isalpha() and generator.random() < 0.3 for word in piece.split(" "))
            words = zip(piece.split(" "), has_suffix, strict=True)
            changed.append((" ".join(word + generator.choice(SUFFIXES) if has else word for word, has in words), ""))
    return changed


def _compounds(pieces: list[Piece], generator: random.Random) -> list[Piece]:
    """Joins every second name with the word behind it, as in German."""
    changed = list(pieces)
    for place, (piece, _) in enumerate(pieces[1:], 1):
        if pieces[place - 1][1] and piece[:1] == " " and piece[1:2].isalpha() and generator.random() < 0.5:
            changed[place] = (piece[1:], "")
    return changed


def _unchanged(pieces: list[Piece], _: random.Random) -> list[Piece]:
    return pieces


CHANGES: dict[str, Callable[[list[Piece], random.Random], list[Piece]]] = {
    "hashtags": _hashtags, "amounts": _amounts, "suffixes": _suffixes, "compounds": _compounds, "slips": _unchanged,
    "none": _unchanged,
}  # fmt: skip


def make_set(source: str, change: str) -> SpanSet:
    """The changed train and test sentences. Slips are in the train sentences alone."""
    texts = load(source).train
    order = np.random.default_rng(0).permutation(len(texts.texts)).tolist()
    train = _changed(texts, order[:SENTENCES], change, SLIPS if change == "slips" else 0.0)
    return SpanSet(change, train, _changed(texts, order[-SENTENCES:], change, 0.0))


def _changed(texts: SpanTexts, rows: Sequence[int], change: str, slips: float) -> SpanTexts:
    generator, contents, marked = random.Random(rows[0]), [], []
    for row in rows:
        text, spans = _joined(CHANGES[change](_pieces(texts.texts[row], texts.spans[row]), generator))
        contents.append(text)
        marked.append([_slipped(span, len(text), generator) if generator.random() < slips else span for span in spans])
    return SpanTexts(contents, marked)


def _slipped(span: Span, length: int, generator: random.Random) -> Span:
    start, end, label = span
    return start, max(start + 1, min(length, end + generator.choice((-1, 1)))), label


def _pieces(text: str, spans: Sequence[Span]) -> list[Piece]:
    pieces, position = [], 0
    for start, end, label in sorted(spans):
        pieces += [(text[position:start], ""), (text[start:end], label)]
        position = end
    return [*pieces, (text[position:], "")]


def _joined(pieces: Sequence[Piece]) -> tuple[str, list[Span]]:
    ends = np.cumsum([0, *(len(piece) for piece, _ in pieces)]).tolist()
    spans = [(start, start + len(piece), label) for start, (piece, label) in zip(ends, pieces, strict=False) if label]
    return "".join(piece for piece, _ in pieces), spans


def _measure(bench: Bench, seed: int) -> tuple[float, float, str]:
    """F1 in percent, the CPU seconds of a refit, and the units."""
    order = np.random.default_rng(seed).permutation(SENTENCES)
    rows, sample = np.sort(order[:LABELLED]), np.sort(order[-SAMPLE:])
    fit, _ = bench.fit(rows, sample)
    seconds = median_seconds(lambda: bench.fit(rows, sample, fit.tensors))
    control, test = bench.span_set.control, bench.span_set.test
    predicted = bench.learner.predict(fit.tensors, test.vectors, test.read(np.arange(SENTENCES)))
    metrics = kind_of(control).simulation_metrics(control, predicted, test.targets)
    return 100 * metrics[STRICT_F1], seconds, fit.remark.values["units"] if fit.remark else Units.WORDS.value


def report(source: str, changes: Sequence[str], seeds: int) -> str:
    """The table of one set."""
    rows = []
    for change in changes:
        bench = Bench(make_set(source, change))
        chosen = [_measure(bench, seed) for seed in range(seeds)]
        cells = [", ".join(sorted({units for *_, units in chosen})), spread([f1 for f1, *_ in chosen])]
        for units in Units:
            with patch.object(reading, "choose_units", lambda *_: (units, CutSpans(0, 0))):  # noqa: B023
                measured = [_measure(bench, seed) for seed in range(seeds)]
            cells += [spread([f1 for f1, *_ in measured]), f"{np.median([seconds for _, seconds, _ in measured]):.2f}"]
        rows.append([change, *cells])
    header = ["texts", "chosen", "F1", "F1, words", "refit, words", "F1, parts", "refit, parts"]
    return f"## {source}\n\n{table(header, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=["wnut17", "ncbi-disease"])
    parser.add_argument("--changes", nargs="+", choices=[*CHANGES], default=[*CHANGES])
    arguments = parser.parse_args()
    for source in arguments.sets:
        print(report(source, arguments.changes, arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
