"""The time that the learner of spans takes: CPU seconds of one thread, medians within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.arms import table
from benchmarks.span_curves import SIZES, Bench
from benchmarks.span_sets import SpanSet, SpanTexts
from ml_backend.core.arrays import Fit, Ints
from ml_backend.core.words import word_offsets
from ml_backend.kinds.spans.values import Span

REPEATS = 3
LABELLED = SIZES[-1]
"""Labelled sentences of all fits."""
LONG_CHARACTERS = 20_000
MANY_SPANS, MANY_LABELS = 1000, 200
GOALS = {"warm fit": 0.2, "cold fit": 1.0, "prediction": 0.15}
"""CPU seconds, of the prediction for 1,000 sentences. What is long or has many labels has one second."""


def median_seconds(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The median of the CPU seconds of some calls."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def report(span_set: SpanSet) -> str:
    """The table of one set. All texts are encoded before the time is taken."""
    bench = Bench(span_set)
    rows = [[what, f"{seconds:.2f}", f"{goal:.2f}"] for what, seconds, goal in _measure(bench)]
    return f"## {span_set.name}: CPU seconds\n\n{table(['what', 'seconds', 'goal'], rows)}"


def _measure(bench: Bench) -> Iterator[tuple[str, float, float]]:
    """Yields what is done, the CPU seconds and the goal."""
    order = np.random.default_rng(0).permutation(len(bench.span_set.train.texts))
    rows, more_rows, sample = np.sort(order[:LABELLED]), np.sort(order[: LABELLED + 1]), np.sort(order[-500:])
    fit, _ = bench.fit(rows, sample)
    cold = median_seconds(lambda: bench.fit(rows, sample))
    warm = median_seconds(lambda: bench.fit(more_rows, sample, fit.tensors))
    yield f"fit of {LABELLED} sentences from nothing", cold, GOALS["cold fit"]
    yield "the same with one more sentence, from the serving model", warm, GOALS["warm fit"]
    test = bench.span_set.test
    prediction = _prediction_seconds(bench, fit, test) * 1000 / len(test.texts)
    yield "prediction of 1,000 sentences", prediction, GOALS["prediction"]
    long = _joined(bench.span_set.train)
    yield f"prediction of a text of {len(long.texts[0]):,} characters", _prediction_seconds(bench, fit, long), 1.0
    for texts, what in (
        (long, f"{len(long.texts[0]):,} characters"),
        (_with_many_spans(long), f"{MANY_SPANS:,} spans"),
    ):
        with_long = Bench(SpanSet("", _append(bench.span_set.train, texts, rows), test))
        n = np.arange(LABELLED + 1)
        start, _ = with_long.fit(n, n[:0])
        seconds = median_seconds(lambda: with_long.fit(n, n[:0], start.tensors))  # noqa: B023
        yield f"refit with a further text of {what}", seconds, 1.0
    labelled = Bench(SpanSet("", _with_many_labels(bench.span_set.train), test))
    start, _ = labelled.fit(rows, sample)
    labels = {label for row in rows for *_, label in labelled.span_set.train.spans[row]}
    warm = median_seconds(lambda: labelled.fit(more_rows, sample, start.tensors), 1)
    yield f"refit with {len(labels)} labels that occur, of {MANY_LABELS}", warm, 1.0
    prediction = _prediction_seconds(labelled, start, test) * 1000 / len(test.texts)
    yield "prediction of 1,000 sentences with these labels", prediction, 1.0


def _prediction_seconds(bench: Bench, fit: Fit, texts: SpanTexts) -> float:
    rows = np.arange(len(texts.texts))
    return median_seconds(lambda: bench.learner.predict(fit.tensors, texts.vectors, texts.read(rows)))


def _joined(texts: SpanTexts) -> SpanTexts:
    """One text of the first texts, joined by blanks, of at least `LONG_CHARACTERS`."""
    parts: list[str] = []
    spans: list[Span] = []
    characters = 0
    for text, of_text in zip(texts.texts, texts.spans, strict=True):
        spans += [(characters + start, characters + end, label) for start, end, label in of_text]
        parts.append(text)
        characters += len(text) + 1
        if characters > LONG_CHARACTERS:
            break
    return SpanTexts([" ".join(parts)], [spans])


def _with_many_spans(texts: SpanTexts) -> SpanTexts:
    """The same text with `MANY_SPANS` spans of one word each."""
    starts, ends = word_offsets(texts.texts[0])
    label = texts.spans[0][0][2]
    words = np.linspace(0, len(starts) - 1, MANY_SPANS).astype(int)
    return SpanTexts(texts.texts, [[(int(starts[word]), int(ends[word]), label) for word in words]])


def _append(texts: SpanTexts, further: SpanTexts, rows: Ints) -> SpanTexts:
    """Some of the texts, and the further ones behind them."""
    return SpanTexts(
        [*(texts.texts[row] for row in rows), *further.texts], [*(texts.spans[row] for row in rows), *further.spans]
    )


def _with_many_labels(texts: SpanTexts) -> SpanTexts:
    """The same spans with random labels among many."""
    random = np.random.default_rng(0)
    return SpanTexts(
        texts.texts,
        [[(start, end, f"label {random.integers(MANY_LABELS)}") for start, end, _ in spans] for spans in texts.spans],
    )
