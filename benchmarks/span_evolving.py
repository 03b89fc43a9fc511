"""A part of `make bench-spans`: EvoKD on spans against labels of real tasks, at equal numbers of the teacher's calls.

    python -m benchmarks.span_evolving [--runs ...] [--seeds 3] [--save]

The texts that the scripted author writes are train sentences that are in no pool: the hard ones have the types in whose
spans the learner errs. It labels them with the gold spans, a share of which it moves to random words. The recorded
author has a large language model's replies to 260 sentences of wnut17. Drafts and priors are chosen on train sentences;
test sentences are used to measure only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import print_page, spread, table
from benchmarks.span_drafts import recorded_replies
from benchmarks.span_sets import SpanSet, SpanTexts, load
from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Tensors
from ml_backend.core.ports import Teacher, WordEncoder
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import content_key
from ml_backend.core.words import word_offsets
from ml_backend.kinds.lookup import fitted_schema, kind_of
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.training_sample import MAX_POOL_TEXTS
from ml_backend.pool.encoded_texts import WordReader
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.simulation.cached_teacher import PROJECT_ID, CachedTeacher
from ml_backend.simulation.replay import LabelledPool, SimulationPlan
from ml_backend.simulation.simulated_teacher import (
    EVOLVE,
    NO_CAPS,
    TEACH,
    WEAK_SLICES,
    TeacherArm,
    open_simulated_teacher,
)
from ml_backend.storage import Store
from ml_backend.teacher.client import TeacherClient
from ml_backend.teacher.evolution.generated_texts import EvolutionRound, read_rounds

POOL_SIZE, ROUNDS, PER_ROUND = 1000, 2, 20
HARD_ONLY = "evolve, hard texts only"
ARMS = {EVOLVE: EVOLVE, HARD_ONLY: EVOLVE, WEAK_SLICES: WEAK_SLICES, TEACH: TEACH}
"""The arms of this benchmark, with those of the simulation."""


@dataclass(frozen=True)
class Run:
    """A table: a set, the number of human sentences, the share of the teacher's spans that are wrong (None: recorded
    replies), and the arms."""

    dataset: str
    human: int
    wrong: float | None
    arms: Sequence[str]
    rounds: int = ROUNDS
    per_round: int = PER_ROUND


RUNS = {
    "wnut17": Run("wnut17", 100, 0.1, (EVOLVE, HARD_ONLY, WEAK_SLICES, TEACH)),
    "wnut17-harmful": Run("wnut17", 100, 0.5, (EVOLVE, WEAK_SLICES, TEACH)),
    "wnut17-recorded": Run("wnut17", 100, None, (EVOLVE, TEACH)),
    "wnut17-few": Run("wnut17", 50, 0.1, (EVOLVE, WEAK_SLICES, TEACH)),
    "ncbi": Run("ncbi-disease", 100, 0.1, (EVOLVE, WEAK_SLICES, TEACH)),
}


class SpanOracle:
    """A teacher with the results of an ideal writer, without a language model.

    reserve     rows of the texts that it writes
    replies     its replies about spans, by text
    hard_only   whether its easy texts are hard ones, too
    """

    name = "oracle"

    def __init__(self, texts: SpanTexts, reserve: Ints, replies: Mapping[str, Any], hard_only: bool) -> None:
        self._texts, self._replies, self._hard_only = texts, replies, hard_only
        self._reserve = reserve.tolist()
        self._weak: set[str] = set()

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            call = (Call("oracle", 0.0, len(question.text) // 4, 0, "answered"),)
            if question.purpose == "diagnose":
                errors = " ".join(error for text in json.loads(question.text)["wrong"] for error in text["errors"])
                self._weak = {label for spans in self._texts.spans for *_, label in spans if label in errors}
                content: dict[str, Any] = {"summary": "", "patterns": []}
            elif question.purpose == "write":
                n = question.reply["properties"]["hard"]["maxItems"]
                hard = self._take(n, self._weak)
                content = {"hard": hard, "easy": self._take(n, self._weak if self._hard_only else ())}
            else:
                [field] = question.value_fields
                content = {field.name: self._replies[question.text]}
            yield Answer(question.id, content, None, call)

    def _take(self, n: int, labels: set[str] | tuple[()]) -> list[str]:
        """Returns the next n texts with one of these labels, or any texts if there are none."""
        rows = [r for r in self._reserve if not labels or labels & {label for *_, label in self._texts.spans[r]}][:n]
        self._reserve = [row for row in self._reserve if row not in {*rows}]
        return [self._texts.texts[row] for row in rows]


class SpanBench:
    """One set with fits and replies."""

    def __init__(self, span_set: SpanSet) -> None:
        self.train, self.test, self.targets = span_set.train, span_set.test, span_set.train.targets
        labels = "".join(f'<Label value="{label}"/>' for label in span_set.control.labels)
        tags = f'<Labels name="spans" toName="text">{labels}</Labels><Text name="text" value="$text"/>'
        self.config = f"<View>{tags}</View>"
        self.schema = read_schema(self.config)
        [self.control] = self.schema.controls
        encoder = registry.encoder("minilm")
        assert isinstance(encoder, WordEncoder)
        self.encoder = WordSpaceEncoder(encoder)

    def replies(self, wrong: float, seed: int) -> dict[str, Any]:
        """Replies with the gold spans, of which a share is moved to random words and gets random labels."""
        random, of_kind, out = np.random.default_rng([seed, 7]), kind_of(self.control), {}
        for text, spans in zip(self.train.texts, self.train.spans, strict=True):
            starts, ends = word_offsets(text)
            value = {}
            for start, end, label in spans:
                if random.random() < wrong:
                    word = random.integers(len(starts))
                    value[int(starts[word]), int(ends[word])] = str(random.choice(self.control.labels))
                else:
                    value[start, end] = label
            out[text] = of_kind.reply_of(self.control, tuple(sorted((*p, label) for p, label in value.items())), text)
        return out

    def fit(self, rows: Ints, unlabelled: Ints, priors: Mapping[str, Tensors]) -> FittedModel:
        """A learner of the gold spans of train sentences. unlabelled: the rows by which drafts are chosen"""
        control = fitted_schema(self.control)
        snapshot = TrainingSnapshot("crf", self.encoder.name, control, np.arange(len(rows)), b"", self.targets[rows])
        train = snapshot.training_set(self.train.vectors[rows], self.train.read(rows), priors)
        train = replace(train, pool_texts=self.train.read(unlabelled))
        learner, _ = fitted_model.fit_model(snapshot, train, None, 1)
        assert learner is not None
        return learner

    def score(self, learner: FittedModel) -> float:
        """The strict F1 score on the test sentences, in percent."""
        texts = self.test.read(np.arange(len(self.test.texts)))
        predicted = learner.predict(self.control, self.test.vectors, texts)
        return 100 * kind_of(self.control).metrics(self.control, predicted, self.test.targets)[STRICT_F1]

    def pool(self, rows: Ints, folder: Path) -> LabelledPool:
        """Train sentences as the pool of a simulation. folder: for an empty vector cache"""
        texts = [self.train.texts[row] for row in rows]
        words = self.train.read(rows).words(np.arange(len(rows)))
        keys = [content_key(text) for text in texts]
        cache = Store(Settings(data_dir=folder)).vectors(PROJECT_ID, self.encoder.name)
        reader = WordReader(self.encoder, cache, dict(zip(keys, words, strict=True)))
        targets = {self.control.name: self.targets[rows]}
        return LabelledPool(self.train.vectors[rows], targets, [""] * len(rows), texts, reader)


@dataclass(frozen=True)
class Author:
    """A teacher that is really asked. `see`: gets the store with its calls and the rounds so far, after each round"""

    teacher: Teacher
    settings: Settings
    see: Callable[[Store, Sequence[EvolutionRound]], None]


def measure(
    bench: SpanBench, run: Run, arm: str, seed: int, author: Author | None = None
) -> Iterator[tuple[float, float]]:
    """Yields the calls so far and the F1 score on the test sentences, before the first round and after each. The first
    rows of the pool are the human sentences. author: instead of a `SpanOracle`"""
    order = np.random.default_rng(seed).permutation(len(bench.train.texts))
    if run.wrong is None:
        drafted, recorded = recorded_replies()
        replies = {bench.train.texts[row]: reply for row, reply in zip(drafted, recorded, strict=True)}
        order = order[~np.isin(order, drafted)]
        others = order[run.human : POOL_SIZE]
        pool, reserve = np.concatenate([order[: run.human], drafted if arm == TEACH else others]), drafted
    else:
        replies, others = bench.replies(run.wrong, seed), order[run.human : POOL_SIZE]
        pool, reserve = order[:POOL_SIZE], order[POOL_SIZE:]
    human, unlabelled = pool[: run.human], others[:MAX_POOL_TEXTS]
    settings = author.settings if author else Settings(defaults=ProjectSettings(teacher="similarity"))
    options = settings.defaults.with_form_defaults("text")
    plan = SimulationPlan(bench.schema, options, bench.encoder.name, run.human, run.human, run.human)
    learner = bench.fit(human, unlabelled, {})
    yield 0.0, bench.score(learner)
    with tempfile.TemporaryDirectory() as folder:
        oracle = SpanOracle(bench.train, reserve, replies, hard_only=arm == HARD_ONLY)
        store = Store(Settings(data_dir=Path(folder) / "teacher"))
        asked = author.teacher if author else oracle
        teacher = CachedTeacher(store, TeacherClient(store, PROJECT_ID, asked, NO_CAPS))
        labelled_pool = bench.pool(pool, Path(folder) / "words")
        simulated_arm = TeacherArm(ARMS[arm], run.rounds, run.per_round, bench.config)
        with open_simulated_teacher(simulated_arm, settings, plan, labelled_pool, teacher) as simulated:
            for _ in range(run.rounds):
                priors = simulated.teach(np.arange(run.human), {bench.control.name: learner})
                if priors is not None:
                    learner = bench.fit(human, unlabelled, priors[bench.control.name])
                yield simulated.spent()["teacher_calls"], bench.score(learner)
                if author:
                    author.see(store, read_rounds(simulated.store, PROJECT_ID))


def page(names: Sequence[str], seeds: int) -> Iterator[str]:
    """Yields the tables."""
    benches: dict[str, SpanBench] = {}
    for name in names:
        run = RUNS[name]
        bench = benches.setdefault(run.dataset, SpanBench(load(run.dataset)))
        author = "recorded replies" if run.wrong is None else f"{run.wrong:.0%} of the spans wrong"
        yield f"## {run.dataset}, {run.human} human sentences, {author}\n"
        rows = []
        for arm in run.arms:
            by_round = list(zip(*(list(measure(bench, run, arm, seed)) for seed in range(seeds)), strict=True))
            cells = [f"{spread([f1 for _, f1 in of])} ({np.mean([n for n, _ in of]):.0f})" for of in by_round]
            rows.append([arm, *cells])
            print(rows[-1], flush=True)
        yield table(["arm: strict F1 (calls)", "before", *(f"round {n + 1}" for n in range(ROUNDS))], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what texts that a teacher writes add to spans.")
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write the tables to benchmarks/<date>-span-evolving.md")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    head = (
        f"# EvoKD on spans against labels of real sentences\n\n`python -m benchmarks.span_evolving --runs "
        f"{' '.join(arguments.runs)} --seeds {arguments.seeds}`. Strict F1 on the test sentences in percent, mean of "
        f"the seeds with 95 % intervals, and the mean number of calls. {ROUNDS} rounds of {PER_ROUND} hard and "
        f"{PER_ROUND} easy texts, or of as many sentences of the pool.\n"
    )
    text = "\n".join([head, *page(arguments.runs, arguments.seeds)])
    print_page("span_evolving", text, is_saved=arguments.save)


if __name__ == "__main__":
    main()
