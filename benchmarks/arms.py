"""Helpers for the arms of `make bench-teacher`: a text set with the default learner, tables with intervals."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.data import ONE_CHOICE, TextSet
from ml_backend.core import registry
from ml_backend.core.arrays import DistillationData, Floats, Ints, Pool, PseudoLabels, Tensors, TrainingSet
from ml_backend.core.schema import ProjectSchema
from ml_backend.teacher.descriptions.label_descriptions import LabelDescriptions, label_phrases

BUDGETS = (50, 100, 200, 385)
LABELS_PER_CLASS = 5  # in the few-shot arms
Priors = Mapping[str, Tensors]


class Bench:
    """A text set with its vectors, and the default learner. Fits and distils on rows of the set."""

    def __init__(self, text_set: TextSet) -> None:
        self.schema: ProjectSchema = text_set.schema
        labels = self.schema.controls[0].labels
        self.x, self.test_x = text_set.vectors()
        self.y = np.array([labels.index(row.label) for row in text_set.train])
        self.test_y = np.array([labels.index(row.label) for row in text_set.test])
        self.one_hot = np.eye(len(labels), dtype=np.float32)
        self.learner = registry.learner("logistic")
        self.nothing = PseudoLabels(self.x[:0], self.one_hot[:0], np.zeros(0, np.float32))

    def distil(self, rows: Ints, targets: Floats, cues: PseudoLabels | None = None) -> Priors:
        """Returns the priors from the teacher's labels `targets` of rows, and from cues (see `cues`), if any."""
        taught = PseudoLabels(self.x[rows], targets, np.ones(len(rows), np.float32))
        return self.learner.distil(DistillationData(taught, cues or self.nothing, self.x, ONE_CHOICE), seed=0)

    def named(self) -> Priors:
        """Returns the priors of a project without a teacher, distilled from the names of the labels."""
        return self.distil(np.empty(0, np.int64), self.nothing.targets, self.cues({}))

    def cues(self, descriptions: LabelDescriptions) -> PseudoLabels:
        """Returns the pseudo-labels of the labels' names, descriptions and cues."""
        phrases = label_phrases(descriptions, self.schema.controls[0])
        vectors = registry.encoder("minilm").encode(phrases.texts)
        return PseudoLabels(vectors, phrases.targets, phrases.weights)

    def fit(self, rows: Ints, priors: Priors, seed: int, targets: Floats | None = None) -> float:
        """Fits a learner on the gold labels, or on `targets`. Returns the accuracy on the test rows in percent."""
        t = self.one_hot[self.y[rows]] if targets is None else targets
        train = TrainingSet(self.x[rows], t, np.ones(len(rows), np.float32), ONE_CHOICE, priors=priors)
        return self.right(self.learner.fit(train, seed).tensors)

    def right(self, tensors: Tensors) -> float:
        """Returns the accuracy on the test rows, in percent."""
        probabilities = self.learner.predict(tensors, self.test_x)
        return 100 * float((probabilities.argmax(axis=1) == self.test_y).mean())

    def prior(self, priors: Priors, name: str) -> float:
        """Returns the accuracy of a prior alone, in percent."""
        head = priors[name]
        return self.right({**head, "multiple": np.array([False])})

    def few(self, free: Ints, per_label: int, seed: int) -> Ints:
        """Draws `per_label` rows of each class."""
        order = np.random.default_rng(seed).permutation(free)
        return np.concatenate([order[self.y[order] == label][:per_label] for label in range(len(self.one_hot))])

    def pool(self) -> Pool:
        """Returns the train rows as a pool without labels."""
        none = np.zeros(len(self.x), np.bool_)
        return Pool(self.x, None, none, ~none)


def spread(values: list[float]) -> str:
    """Formats the mean over the seeds with half of its 95 % interval."""
    half = 1.96 * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{np.mean(values):.1f} ± {half:.1f}"


def publish(module: str, title: str, seeds: int, pages: Callable[[int], Iterable[str]], measure: str = "AUC") -> None:
    """Runs the command line of a benchmark: prints its pages, and with --save writes them to a dated file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    today = datetime.datetime.now(datetime.UTC).date()
    head = f"# {title}, {today}\n\n`python -m benchmarks.{module}`, {options.seeds} repetitions, {measure}.\n"
    print_page(module, "\n".join([head, *pages(options.seeds)]), is_saved=options.save)


def print_page(module: str, text: str, *, is_saved: bool) -> None:
    """Prints the page of a benchmark. `is_saved`: whether to write it to a file with today's date and the name of the
    module, too"""
    print(text)
    if is_saved:
        today = datetime.datetime.now(datetime.UTC).date()
        Path(__file__).with_name(f"{today}-{module.replace('_', '-')}.md").write_text(text)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
