"""The part `teacher` of `make bench-spans`: the strict F1 score that a teacher's spans add, by human sentences.

    python -m benchmarks.span_teacher [--seeds 5] [--save]

The teacher of wnut17 is a large language model, whose replies to 260 train sentences are read from ../shared/data. The
model may have met the set in training. Teachers with wrong spans are made from its replies or from the gold labels.
Human sentences are drawn from the other train sentences; the threshold of drafts is chosen on train sentences without a
label. Test sentences are used to measure only; the method was chosen on other train sentences.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import spread
from benchmarks.data import DATA
from benchmarks.span_sets import SpanTexts, load
from ml_backend.core.arrays import DistillationData, Fit, Ints, PseudoLabels, Rows, Tensors, TrainingSet, object_rows
from ml_backend.core.texts import Texts
from ml_backend.core.words import word_offsets
from ml_backend.kinds.base import fitted_schema, kind_of
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.kinds.spans.teacher_replies import COMPLETE
from ml_backend.model.training_sample import MAX_UNLABELLED_TEXTS
from plugins.learners.crf.learner import Crf

BUDGETS = (25, 50, 100, 200, 500)
WRONG_SHARE = 0.5
Priors = Mapping[str, Tensors]


def recorded_replies() -> tuple[Ints, list[Any]]:
    """The rows (m,) of the train sentences that a large language model has labelled, and its replies in the form that
    the kind asks for. A recorded reply says no occurrence: equal spans are those at the first places in their order."""
    rows: list[int] = []
    replies: list[Any] = []
    with (DATA / "teacher" / "wnut17_entities.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            reply, occurrences = json.loads(line), Counter[str]()
            spans = []
            for entity in reply["entities"]:
                occurrences[entity["text"]] += 1
                place = {"occurrence": occurrences[entity["text"]], "before": ""}
                spans.append({"text": entity["text"], "label": entity["type"], "p": entity["p"], **place})
            rows.append(int(reply["id"].split("-")[1]))
            replies.append({"spans": spans, "ambiguous": False})
    return np.array(rows), replies


class SpanBench:
    """The train sentences with the teacher's replies, and the test sentences."""

    def __init__(self) -> None:
        wnut17 = load("wnut17")
        self.control, self.kind = fitted_schema(wnut17.control), kind_of(wnut17.control)
        self.train, self.test, self.targets = wnut17.train, wnut17.test, wnut17.train.targets
        self.drafted, replies = recorded_replies()
        texts = self.train.read(self.drafted)
        self.recorded = self.kind.read_replies(self.control, object_rows(replies), texts)
        self.gold = object_rows([(spans, (), COMPLETE) for spans, _ in self.targets[self.drafted]])

    def distil(self, predicted: Rows, rows: Ints, compared: tuple[Rows, Rows] | None = None) -> Priors:
        """The priors from a teacher's predictions (m,) for train sentences, weighted by its agreement with the targets
        of other predictions."""
        if compared is not None:
            reliability = self.kind.reliability(self.control, *compared, is_trusted=True)
            predicted = self.kind.expected(self.control, predicted, reliability)
        targets = self.kind.distilled_targets(self.control, predicted)
        vectors = self.train.vectors[rows]
        labels = PseudoLabels(vectors, targets, np.ones(len(rows), np.float32), self.train.read(rows))
        none = PseudoLabels(vectors[:0], targets[:0], np.empty(0, np.float32))
        return Crf().distil(DistillationData(labels, none, vectors, self.control), seed=0)

    def fit(self, rows: Ints, priors: Priors, unlabelled: Texts, earlier: Tensors | None = None) -> Fit:
        """A fit on the gold spans of train sentences."""
        train = TrainingSet(
            vectors=self.train.vectors[rows],
            targets=self.targets[rows],
            weights=np.ones(len(rows), np.float32),
            control=self.control,
            earlier_tensors=earlier,
            priors=priors,
            texts=self.train.read(rows),
            unlabelled=unlabelled,
        )
        return Crf().fit(train, seed=0)

    def score(self, tensors: Tensors, on: SpanTexts) -> float:
        """The strict F1 score in percent."""
        predicted = Crf().predict(tensors, on.vectors, on.read(np.arange(len(on.texts))))
        return 100 * self.kind.metrics(self.control, predicted, on.targets)[STRICT_F1]

    def shuffled(self, seed: int) -> tuple[Ints, Texts]:
        """The train sentences without a reply in a random order, and the texts by which drafts are chosen."""
        rows = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(len(self.train.texts)), self.drafted))
        return rows, self.train.read(rows[max(BUDGETS) :][:MAX_UNLABELLED_TEXTS])

    def with_wrong_spans(self, predicted: Rows, seed: int, *, moved: bool) -> Rows:
        """Predictions for the drafted sentences, of whose spans WRONG_SHARE have the next label or, if `moved`, are
        moved to a random word and get a random label."""
        random, out, labels = np.random.default_rng(seed), [], self.control.labels
        for row, (spans, _, measures) in zip(self.drafted, predicted, strict=True):
            starts, ends = word_offsets(self.train.texts[row])
            changed: dict[tuple[int, int], tuple[str, float]] = {}
            for start, end, label, p in spans:
                place, new_label = (start, end), label
                if random.random() < WRONG_SHARE:
                    word = random.integers(len(starts))
                    place = (int(starts[word]), int(ends[word])) if moved else place
                    new_label = str(random.choice(labels)) if moved else labels[(labels.index(label) + 1) % len(labels)]
                changed[place] = new_label, p
            out.append((tuple(sorted((*place, *rest) for place, rest in changed.items())), (), measures))
        return object_rows(out)


def by_sentences(bench: SpanBench, seeds: int) -> Iterator[str]:
    """Yields the table of the F1 score by the number of human sentences."""
    teachers: dict[str, Callable[[int], Priors]] = {
        "no teacher": lambda _seed: {},
        "recorded replies": lambda seed: bench.distil(bench.recorded, bench.drafted),
        "recorded replies, half of the spans moved": lambda seed: bench.distil(
            bench.with_wrong_spans(bench.recorded, seed, moved=True), bench.drafted
        ),
        "gold spans, half of them moved": lambda seed: bench.distil(
            bench.with_wrong_spans(bench.gold, seed, moved=True), bench.drafted
        ),
        "gold spans, half of them with the next label": lambda seed: bench.distil(
            bench.with_wrong_spans(bench.gold, seed, moved=False), bench.drafted
        ),
    }
    yield from ("## By human sentences", "")
    yield "| teacher | " + " | ".join(map(str, BUDGETS)) + " |"
    yield "|---" * (len(BUDGETS) + 1) + "|"
    for name, priors_of in teachers.items():
        scores: dict[int, list[float]] = {n: [] for n in BUDGETS}
        used = dict.fromkeys(BUDGETS, 0)
        for seed in range(seeds):
            (rows, unlabelled), priors = bench.shuffled(seed), priors_of(seed)
            for n in BUDGETS:
                fit = bench.fit(rows[:n], priors, unlabelled)
                scores[n].append(bench.score(fit.tensors, bench.test))
                used[n] += fit.prior != ""
        cells = [spread(scores[n]) + (f" ({used[n]} of {seeds})" if priors else "") for n in BUDGETS]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield from ("", "In brackets: in how many of the seeds the held-out human sentences have chosen the prior.", "")


def by_agreement(bench: SpanBench, seeds: int) -> Iterator[str]:
    """Yields the table with human sentences that are among the drafted ones, so that the agreement is measured."""
    yield from ("## Human sentences among the teacher's", "")
    yield "| 50 human sentences of the 260, the teacher's labels of the others | F1 |"
    yield "|---|---|"
    teachers: dict[str, Callable[[int], Rows]] = {
        "recorded replies": lambda _seed: bench.recorded,
        "recorded replies, half of the spans moved": lambda seed: bench.with_wrong_spans(
            bench.recorded, seed, moved=True
        ),
    }
    scores: dict[str, list[float]] = {"no teacher": []}
    for seed in range(seeds):
        _, unlabelled = bench.shuffled(seed)
        order = np.random.default_rng(seed).permutation(len(bench.drafted))
        human, others = order[:50], order[50:]
        rows = bench.drafted[human]
        fit = bench.fit(rows, {}, unlabelled)
        scores["no teacher"].append(bench.score(fit.tensors, bench.test))
        for name, predictions in teachers.items():
            predicted = predictions(seed)
            compared = predicted[human], bench.targets[rows]
            for weighting, of_humans in (("pooled", None), ("weighted by agreement", compared)):
                priors = bench.distil(predicted[others], bench.drafted[others], of_humans)
                fit = bench.fit(rows, priors, unlabelled)
                scores.setdefault(f"{name}, {weighting}", []).append(bench.score(fit.tensors, bench.test))
    yield from (f"| {name} | {spread(of_arm)} |" for name, of_arm in scores.items())
    yield ""


def times(bench: SpanBench) -> Iterator[str]:
    """Yields the CPU seconds of distilling and of fits with and without a prior, with the held-out predictions."""
    rows, unlabelled = bench.shuffled(0)
    start = time.process_time()
    priors = bench.distil(bench.recorded, bench.drafted)
    yield from ("## CPU seconds", "", f"Distilling 260 sentences: {time.process_time() - start:.1f} s.", "")
    yield from ("| sentences | prior | cold | warm, with one sentence more |", "|---|---|---|---|")
    for n in (50, 499):
        of_teachers: dict[str, Priors] = {"none": {}, "of the teacher": priors}
        for name, of_name in of_teachers.items():
            start = time.process_time()
            cold = bench.fit(rows[:n], of_name, unlabelled)
            of_cold, start = time.process_time() - start, time.process_time()
            bench.fit(rows[: n + 1], of_name, unlabelled, cold.tensors)
            yield f"| {n} | {name} | {of_cold:.2f} | {time.process_time() - start:.2f} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a teacher's spans add.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the tables to benchmarks/<date>-span-teacher.md")
    arguments = parser.parse_args()
    bench = SpanBench()
    lines = ["# What a teacher's spans add: wnut17, strict F1 of the test sentences in percent", ""]
    for part in (by_sentences(bench, arguments.seeds), by_agreement(bench, arguments.seeds), times(bench)):
        for line in part:
            print(line, flush=True)
            lines.append(line)
    if arguments.save:
        file = Path(__file__).parent / f"{datetime.datetime.now(datetime.UTC).date()}-span-teacher.md"
        file.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
