"""`make bench-generation`: how well and how fast writers learn to rewrite, from pairs in random order.

    python -m benchmarks.generation [--parts writers] [--seeds 5] [--save]

ParaDetox: the pool, the test rows and those that the judge is trained on are disjoint, and none of them has a recorded
text of a teacher. The settings of the writers were chosen on 300 further rows. The judge takes no part in the loop.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import process_time

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.arms import print_page, table
from benchmarks.data import DATA, encoded
from benchmarks.span_sets import encode_words
from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, TrainingSet, object_rows
from ml_backend.core.ports import predict_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.text_drafts import Doubles
from ml_backend.core.texts import Texts, WordVectors, texts_at
from ml_backend.core.words import words_of

BUDGETS = (25, 50, 100, 200)
FLOORS = {"STA2": (0.68, 0.71, 0.77, 0.83), "SIM": (0.89,) * 4, "saved": (0.10, 0.08, 0.14, 0.17)}
JUDGE_ROWS, TEST_ROWS, DEVELOPMENT_ROWS, POOL_ROWS = 4000, 300, 300, 3000
CONTROL = ControlSchema("rewrite", "text", kind="text")


@dataclass(frozen=True)
class Pairs:
    """n sources and the texts that annotators wrote for each of them."""

    sources: list[str]
    accepted: list[list[str]]

    @cached_property
    def _encoded(self) -> tuple[Floats, list[WordVectors]]:
        return encode_words(self.sources)

    @property
    def vectors(self) -> Floats:
        return self._encoded[0]

    def read(self, rows: Ints) -> Texts:
        """Some of the sources, as a learner reads them."""
        of_rows = self._encoded[1]
        return texts_at([self.sources[row] for row in rows], [of_rows[row] for row in rows])


def load() -> dict[str, Pairs]:
    """The pairs of `judge`, `test` and `pool`."""
    with (DATA / "generation" / "paradetox.tsv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
    with (DATA / "teacher" / "paradetox_rewrites.jsonl").open(encoding="utf-8") as lines:
        of_teacher = {int(json.loads(line)["id"].split("-")[1]) for line in lines}
    usable = [row for row, cells in enumerate(rows) if row not in of_teacher and any(cells[1:4])]
    order = np.random.default_rng(0).permutation(usable)
    ends = np.cumsum([JUDGE_ROWS, TEST_ROWS, DEVELOPMENT_ROWS, POOL_ROWS])
    parts = zip(("judge", "test", "development", "pool"), np.split(order, ends)[:4], strict=True)
    return {
        name: Pairs([rows[row][0] for row in part], [[text for text in rows[row][1:4] if text] for row in part])
        for name, part in parts
    }


class Judge:
    """Tells sources from accepted texts: logistic regression on TF-IDF of words and pairs of words, and on MiniLM."""

    def __init__(self, pairs: Pairs) -> None:
        texts = [*pairs.sources, *(of_row[0] for of_row in pairs.accepted)]
        self._words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(texts)
        is_source = np.arange(len(texts)) < len(pairs.sources)
        features = hstack([self._words.transform(texts), csr_array(encoded(texts))])
        self._model = LogisticRegression(C=10, max_iter=300).fit(features, is_source)

    def fails(self, texts: list[str], vectors: Floats) -> Doubles:
        """(n,) the probability that a text is like a source."""
        features = hstack([self._words.transform(texts), csr_array(vectors)])
        return np.asarray(self._model.predict_proba(features)[:, 1])


class Bench:
    """The test rows and the judge."""

    def __init__(self) -> None:
        pairs = load()
        self.pool, self.test = pairs["pool"], pairs["test"]
        self.judge, self.encoder = Judge(pairs["judge"]), registry.encoder("minilm")
        humans = [of_row[0] for of_row in self.test.accepted]
        probabilities = self.judge.fails([*self.test.sources, *humans], encoded([*self.test.sources, *humans]))
        is_source = np.arange(2 * TEST_ROWS) < TEST_ROWS
        self.auc = float(roc_auc_score(is_source, probabilities))
        self.copies = self.words_edited(self.test.sources)

    def words_edited(self, texts: list[str]) -> Ints:
        """(n,) the words to edit to the nearest human text, whatever the letter case."""
        lower = [words_of(text.lower()) for text in texts]
        humans = [[words_of(text.lower()) for text in of_row] for of_row in self.test.accepted]
        return np.array(
            [min(Levenshtein.distance(a, b) for b in of_row) for a, of_row in zip(lower, humans, strict=True)]
        )

    def measure(self, drafts: list[str]) -> dict[str, float]:
        """The figures of drafts for the test rows."""
        vectors, edited = self.encoder.encode(drafts), self.words_edited(drafts)
        passes = self.judge.fails(drafts, vectors) < 0.5
        return {
            "STA2": float(passes.mean()),
            "SIM": float((vectors * self.test.vectors).sum(axis=1).mean()),
            "words edited": float(edited.mean()),
            "saved": 1 - float(edited.sum() / self.copies.sum()),
            "accepted": float((edited == 0).mean()),
            "chrF": float(np.mean([*map(_chrf, drafts, self.test.accepted)])),
        }

    def run(self, seed: int, budget: int) -> dict[str, float]:
        """The figures of the learner after a number of pairs in random order."""
        rows = np.random.default_rng(seed).permutation(POOL_ROWS)[:budget]
        learner = registry.learner("writers")
        train = TrainingSet(
            vectors=self.pool.vectors[rows],
            targets=object_rows([(self.pool.accepted[row][0],) for row in rows]),
            weights=np.ones(budget, np.float32),
            control=CONTROL,
            texts=self.pool.read(rows),
        )
        started = process_time()
        fit = learner.fit(train, seed)
        fitted = process_time()
        warm = learner.fit(replace(train, earlier_tensors=fit.tensors), seed)
        refitted = process_time()
        every = np.arange(TEST_ROWS)
        predicted = predict_rows(learner, warm.tensors, self.test.vectors, self.test.read(every))
        drafted = process_time()
        drafts = [str(row[0]) if row else source for row, source in zip(predicted, self.test.sources, strict=True)]
        confidence = float(np.mean([row[1] if row else 0 for row in predicted]))
        return {
            **self.measure(drafts), "confidence": confidence, "fit s": fitted - started, "refit s": refitted - fitted,
            "draft ms": 1000 * (drafted - refitted) / TEST_ROWS,
        }  # fmt: skip


def _chrf(draft: str, humans: Sequence[str], orders: int = 6, beta: float = 2.0) -> float:
    """chrF of Popovic (2015) against the nearest human text, in percent; blanks are left out."""
    return max(_chrf_of_pair(draft, human, orders, beta) for human in humans)


def _chrf_of_pair(draft: str, human: str, orders: int, beta: float) -> float:
    precisions, recalls = [], []
    first, second = "".join(draft.split()), "".join(human.split())
    for n in range(1, orders + 1):
        a, b = (Counter(text[start : start + n] for start in range(len(text) - n + 1)) for text in (first, second))
        if a and b:
            common = (a & b).total()
            precisions.append(common / a.total())
            recalls.append(common / b.total())
    p, r = (float(np.mean(values)) if values else 0.0 for values in (precisions, recalls))
    return 100 * (1 + beta**2) * p * r / (beta**2 * p + r) if p + r else 0.0


def writers_table(seeds: int) -> str:
    """The figures by number of pairs, beside the floors."""
    bench = Bench()
    runs = {budget: [bench.run(seed, budget) for seed in range(seeds)] for budget in BUDGETS}
    names = [*runs[BUDGETS[0]][0]]
    rows = []
    for name in names:
        cells = [[run[name] for run in runs[budget]] for budget in BUDGETS]
        rows.append(
            [name, *(f"{np.mean(cell):.3f} ± {1.96 * np.std(cell, ddof=1) / seeds**0.5:.3f}" for cell in cells)]
        )
        if name in FLOORS:
            rows.append([f"floor of {name}", *(f"{floor:.2f}" for floor in FLOORS[name])])
    references = {
        "copy of the source": bench.measure(bench.test.sources),
        "human": bench.measure([of_row[0] for of_row in bench.test.accepted]),
    }
    measures = [*next(iter(references.values()))]
    others = [[label, *(f"{figures[name]:.3f}" for name in measures)] for label, figures in references.items()]
    return (
        f"## Writers, {TEST_ROWS} test rows, seeds: {seeds}\n\nAUC of the judge on the test rows: {bench.auc:.3f}\n\n"
        f"{table(['accepted pairs', *map(str, BUDGETS)], rows)}\n{table(['', *measures], others)}"
    )


def main() -> None:
    parts: dict[str, Callable[[int], str]] = {"writers": writers_table}
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", default=[*parts], choices=[*parts])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the tables beside this file, under today's date")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    today = datetime.datetime.now(datetime.UTC).date()
    head = (
        f"# Generated text, {today}\n\n`python -m benchmarks.generation --parts {' '.join(options.parts)} --seeds "
        f"{options.seeds}`. ParaDetox, pairs in random order, means with 95 % intervals over the seeds. STA2: share of "
        f"drafts that the judge passes; SIM: cosine of MiniLM to the source; words edited: to the nearest human text, "
        f"whatever the letter case; saved: 1 - words edited / words edited from copies of the sources; accepted: equal "
        f"to a human text. Fluency (J2) is not measured. Seconds are those of one core.\n"
    )
    text = "\n".join([head, *(parts[part](options.seeds) for part in options.parts)])
    print_page("generation", text, is_saved=options.save)


if __name__ == "__main__":
    main()
