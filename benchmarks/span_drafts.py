"""A recorded teacher of spans, teachers that are made worse than it, and fits that start from their spans."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.data import DATA
from benchmarks.span_sets import SpanTexts, load
from ml_backend.core.arrays import DistillationData, Fit, Ints, PseudoLabels, Rows, Tensors, TrainingSet, object_rows
from ml_backend.core.texts import Texts
from ml_backend.core.words import word_offsets
from ml_backend.kinds.lookup import fitted_schema, kind_of
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.kinds.spans.teacher_replies import COMPLETE
from ml_backend.model.training_sample import MAX_POOL_TEXTS
from plugins.learners.crf.learner import Crf

BUDGETS = (25, 50, 100, 200, 500)
"""Numbers of human sentences."""
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

    def distil(
        self, predicted: Rows, rows: Ints, unlabelled: Texts, compared: tuple[Rows, Rows] | None = None
    ) -> Priors:
        """The priors from a teacher's predictions (m,) for train sentences, weighted by its agreement with the targets
        of other predictions."""
        if compared is not None:
            reliability = self.kind.reliability(self.control, *compared, is_trusted=True)
            predicted = self.kind.expected(self.control, predicted, reliability)
        targets = self.kind.distilled_targets(self.control, predicted)
        vectors = self.train.vectors[rows]
        labels = PseudoLabels(vectors, targets, np.ones(len(rows), np.float32), self.train.read(rows))
        none = PseudoLabels(vectors[:0], targets[:0], np.empty(0, np.float32))
        data = DistillationData(labels, none, vectors, self.control, pool_texts=unlabelled)
        return Crf().distil(data, seed=0)

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
            pool_texts=unlabelled,
        )
        return Crf().fit(train, seed=0)

    def score(self, tensors: Tensors, on: SpanTexts) -> float:
        """The strict F1 score in percent."""
        predicted = Crf().predict(tensors, on.vectors, on.read(np.arange(len(on.texts))))
        return 100 * self.kind.metrics(self.control, predicted, on.targets)[STRICT_F1]

    def shuffled(self, seed: int) -> tuple[Ints, Texts]:
        """The train sentences without a reply in a random order, and the texts by which drafts are chosen."""
        rows = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(len(self.train.texts)), self.drafted))
        return rows, self.train.read(rows[max(BUDGETS) :][:MAX_POOL_TEXTS])

    def recorded_with_moved_spans(self, seed: int) -> Rows:
        """The recorded replies with WRONG_SHARE of their spans moved to random words."""
        return self.with_wrong_spans(self.recorded, seed, moved=True)

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
