"""What the arms of `make bench-teacher` share: one set, the default learner, tables with intervals."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.data import TextSet
from ml_backend.core import registry
from ml_backend.core.types import DistillationData, Floats, Ints, Pool, PseudoLabels, TaskSchema, Tensors, TrainingSet
from ml_backend.teacher.descriptions.label_descriptions import Cues, phrases

BUDGETS = (50, 100, 200, 385)
EACH = 5  # human labels a class of the few-shot arms
Priors = Mapping[str, Tensors]


class Bench:
    """One set, the default learner, and a way to distil."""

    def __init__(self, which: TextSet) -> None:
        self.schema: TaskSchema = which.schema
        labels = self.schema.labels
        self.x, self.test_x = which.vectors()
        self.y = np.array([labels.index(row.label) for row in which.train])
        self.test_y = np.array([labels.index(row.label) for row in which.test])
        self.one_hot = np.eye(len(labels), dtype=np.float32)
        self.learner = registry.learner("logistic")
        self.nothing = PseudoLabels(self.x[:0], self.one_hot[:0], np.zeros(0, np.float32))

    def distil(self, rows: Ints, targets: Floats, cues: PseudoLabels | None = None) -> Priors:
        taught = PseudoLabels(self.x[rows], targets, np.ones(len(rows), np.float32))
        return self.learner.distil(DistillationData(taught, cues or self.nothing, self.x), multiple=False, seed=0)

    def named(self) -> Priors:
        """What everybody starts from who has no teacher: the labels' names."""
        return self.distil(np.empty(0, np.int64), self.nothing.targets, self.cues({}))

    def cues(self, told: Cues) -> PseudoLabels:
        found = phrases(told, self.schema)
        vectors = registry.encoder("minilm").encode(found.texts)
        return PseudoLabels(vectors, found.targets, found.weights)

    def fit(self, rows: Ints, priors: Priors, seed: int, targets: Floats | None = None) -> float:
        """Accuracy on the test rows, in hundredths, of a learner of some rows' gold labels or of `targets`."""
        t = self.one_hot[self.y[rows]] if targets is None else targets
        train = TrainingSet(self.x[rows], t, np.ones(len(rows), np.float32), multiple=False, priors=priors)
        return self.right(self.learner.fit(train, seed).tensors)

    def right(self, tensors: Tensors) -> float:
        said = self.learner.predict(tensors, self.test_x)
        return 100 * float((said.argmax(axis=1) == self.test_y).mean())

    def prior(self, priors: Priors, name: str) -> float:
        """Accuracy of a prior by itself."""
        head = priors[name]
        return self.right({**head, "multiple": np.array([False])})

    def few(self, free: Ints, each: int, seed: int) -> Ints:
        """So many rows of each class."""
        order = np.random.default_rng(seed).permutation(free)
        return np.concatenate([order[self.y[order] == label][:each] for label in range(len(self.one_hot))])

    def pool(self) -> Pool:
        """Of the train rows, before anybody has labelled one."""
        none = np.zeros(len(self.x), np.bool_)
        return Pool(self.x, None, none, ~none, multiple=False)


def spread(values: list[float]) -> str:
    """Mean and half of its 95 % interval over the seeds."""
    half = 1.96 * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{np.mean(values):.1f} ± {half:.1f}"


def publish(module: str, title: str, seeds: int, pages: Callable[[int], Iterable[str]]) -> None:
    """The command line of a benchmark: prints its pages and, with --save, keeps them under today's date."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    today = datetime.datetime.now(datetime.UTC).date()
    head = f"# {title}, {today}\n\n`python -m benchmarks.{module}`, {options.seeds} repetitions, AUC.\n"
    text = "\n".join([head, *pages(options.seeds)])
    print(text)
    if options.save:
        Path(__file__).with_name(f"{today}-{module.replace('_', '-')}.md").write_text(text)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
