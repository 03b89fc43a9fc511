"""A part of `make bench-teacher`: compares EvoKD with labels of real tasks, at equal numbers of calls."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.arms import Bench, spread, table
from benchmarks.data import ONE_CHOICE, SETS, Row
from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Tensors
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.demo.llama import MODEL, PARALLEL_REQUESTS, LocalLlama
from ml_backend.kinds.lookup import fitted_schema
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.simulation.cached_teacher import PROJECT_ID, CachedTeacher
from ml_backend.simulation.replay import LabelledPool, SimulationPlan
from ml_backend.simulation.simulated_teacher import ARMS, NO_CAPS, SimulatedTeacher, TeacherArm, open_simulated_teacher
from ml_backend.storage import Store
from ml_backend.teacher import distillation
from ml_backend.teacher.client import TeacherClient

HUMAN, POOL = 100, 3000
ROUNDS, PER_ROUND = 4, 20
LIVE_SEEDS, LIVE_ROUNDS, LIVE_PER_ROUND = 2, 2, 8  # SmolLM2 writes about ten tokens a second on one core


class Oracle:
    """A teacher with the results of an ideal writer, without a language model.

    The texts that it writes are real texts of `reserve`, which are in no pool: the hard ones have the labels that the
    learner confuses. It knows the labels of `everything`, and gives a wrong label with the probability `wrong`.
    """

    name = "oracle"

    def __init__(self, reserve: Sequence[Row], everything: Sequence[Row], wrong: float, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._reserve = [reserve[row] for row in self._random.permutation(len(reserve))]
        self._label = {row.text: row.label for row in everything}
        self._wrong = wrong
        self._weak: list[str] = []

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            call = (Call("oracle", 0.0, len(question.text) // 4, 0, "answered"),)
            if question.purpose == "diagnose":
                self._weak = [wrong["label"] for wrong in json.loads(question.text)["wrong"]]
                yield Answer(question.id, {"summary": "", "patterns": []}, None, call)
            elif question.purpose == "write":
                n = question.reply["properties"]["hard"]["maxItems"]
                yield Answer(question.id, {"hard": self._take(n, self._weak), "easy": self._take(n, ())}, None, call)
            elif question.purpose == "label":
                (field,) = question.fields
                shares = np.zeros(len(field.labels), np.float32)
                right = field.labels.index(self._label[question.text])
                real = len(field.labels) - ("ambiguous" in field.labels[-1])
                shift = int(self._random.integers(1, real)) if self._random.random() < self._wrong else 0
                shares[(right + shift) % real] = 1.0
                label = field.labels[int(shares.argmax())]
                yield Answer(question.id, {field.name: label}, {field.name: shares}, call)

    def _take(self, n: int, labels: Sequence[str]) -> list[str]:
        """Returns the next n texts with one of these labels, or with any label if the list is empty."""
        allowed_labels = set(labels)
        rows = [row for row in self._reserve if not allowed_labels or row.label in allowed_labels][:n]
        self._reserve = [row for row in self._reserve if row not in rows]
        return [row.text for row in rows]


def evolving(seeds: int) -> Iterator[str]:
    yield "## EvoKD against labels of real tasks, by the teacher's calls: 100 random human labels, the labels' names\n"
    yield (
        f"{ROUNDS} rounds of {PER_ROUND} hard and {PER_ROUND} easy texts, or of as many tasks; calls as counted, mean "
        "of the seeds. `evolve`: texts that the teacher writes, `weak-slices`: tasks near the learner's mistakes, "
        "`teach`: tasks that coverage chooses.\n"
    )
    text_set = SETS["banking77"]()
    bench = Bench(text_set)
    for wrong in (0.1, 0.4):
        yield f"banking77, oracle that writes real texts and gives {wrong:.0%} wrong labels, {seeds} seeds:\n"
        accuracies: Accuracies = {}
        for seed in range(seeds):
            pool, reserve = np.split(np.random.default_rng(seed).permutation(len(bench.x)), [POOL])
            written = [text_set.train[row] for row in reserve]
            for kind in ARMS:
                arm = TeacherArm(kind, ROUNDS, PER_ROUND, _config(bench.schema.controls[0].labels))
                with tempfile.TemporaryDirectory() as folder:
                    teacher = _cached(Oracle(written, text_set.train, wrong, seed), Path(folder))
                    for number, measured in _run(bench, text_set.train, pool, arm, teacher, seed):
                        accuracies.setdefault(kind, {}).setdefault(number, []).append(measured)
        yield _accuracy_table(accuracies)
    yield from _live(min(seeds, LIVE_SEEDS))


def _live(seeds: int) -> Iterator[str]:
    text_set = SETS["trec"]()
    bench = Bench(text_set)
    accuracies: Accuracies = {}
    with tempfile.TemporaryDirectory() as folder, LocalLlama(Path(folder) / "llama.log") as server:
        defaults = ProjectSettings(teacher="openai", teacher_model=MODEL)
        settings = Settings(
            defaults=defaults, teacher_url=server.url, teacher_timeout=600.0, teacher_concurrency=PARALLEL_REQUESTS
        )
        llm_teacher = registry.teacher("openai", settings.teacher_options(defaults))
        assert llm_teacher is not None
        teacher = _cached(llm_teacher, Path(folder) / "memory")
        for seed in range(seeds):
            pool = np.random.default_rng(seed).permutation(len(bench.x))[:POOL]
            for kind in ARMS:
                arm = TeacherArm(kind, LIVE_ROUNDS, LIVE_PER_ROUND, _config(bench.schema.controls[0].labels))
                for number, measured in _run(bench, text_set.train, pool, arm, teacher.again(), seed):
                    accuracies.setdefault(kind, {}).setdefault(number, []).append(measured)
        outcomes = teacher.outcomes()
    yield (
        f"TREC, SmolLM2 (135M) really asked, {LIVE_ROUNDS} rounds of {LIVE_PER_ROUND} hard and as many easy texts, "
        f"{seeds} seeds (outcomes of its calls: {outcomes}):\n"
    )
    yield _accuracy_table(accuracies)


Accuracies = dict[str, dict[int, list[tuple[float, float]]]]
"""arm -> round -> (calls so far, accuracy), one pair per seed."""


def _cached(teacher: object, folder: Path) -> CachedTeacher:
    store = Store(Settings(data_dir=folder))
    return CachedTeacher(store, TeacherClient(store, PROJECT_ID, teacher, NO_CAPS))  # type: ignore[arg-type]


def _run(
    bench: Bench, rows: Sequence[Row], places: Ints, arm: TeacherArm, teacher: CachedTeacher, seed: int
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yields the calls so far and the accuracy, by number of the round; round 0 is before the first call."""
    settings = Settings(defaults=ProjectSettings(teacher="similarity"))
    plan = SimulationPlan(bench.schema, settings.defaults.with_form_defaults("text"), "minilm", HUMAN, HUMAN, HUMAN)
    [control] = bench.schema.controls
    targets = {control.name: bench.one_hot[bench.y[places]]}
    pool = LabelledPool(bench.x[places], targets, [""] * len(places), [rows[row].text for row in places])
    labelled = np.sort(np.random.default_rng([seed, HUMAN]).choice(len(pool), HUMAN, replace=False))
    named = distillation.pseudo_labels_of_names(control, registry.encoder("minilm"))
    names = distillation.distil_names(named, "logistic", pool.vectors, ONE_CHOICE, seed=seed)
    learner = _fitted(bench, pool, labelled, names)
    yield 0, (0.0, bench.right(learner.tensors))
    with open_simulated_teacher(arm, settings, plan, pool, teacher) as simulated_teacher:
        for number in range(1, arm.rounds + 1):
            learner, calls = _refitted(bench, pool, labelled, learner, simulated_teacher)
            yield number, (calls, bench.right(learner.tensors))


def _refitted(
    bench: Bench, pool: LabelledPool, labelled: Ints, learner: FittedModel, teacher: SimulatedTeacher
) -> tuple[FittedModel, float]:
    [control] = bench.schema.controls
    priors = teacher.teach(labelled, {control.name: learner})
    calls = teacher.spent()["teacher_calls"]
    return learner if priors is None else _fitted(bench, pool, labelled, priors[control.name]), calls


def _fitted(bench: Bench, pool: LabelledPool, rows: Ints, priors: Mapping[str, Tensors]) -> FittedModel:
    [control] = bench.schema.controls
    targets = pool.targets[control.name][rows]
    snapshot = TrainingSnapshot("logistic", "minilm", fitted_schema(control), rows, b"", targets)
    learner, _ = fitted_model.fit_model(snapshot, snapshot.training_set(pool.vectors[rows], priors=priors), None, 1)
    assert learner is not None
    return learner


def _config(labels: Sequence[str]) -> str:
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    return f'<View><Text name="text" value="$text"/><Choices name="label" toName="text">{choices}</Choices></View>'


def _accuracy_table(accuracies: Accuracies) -> str:
    rows = [
        [
            arm,
            *(
                f"{spread([right for _, right in values])} ({np.mean([n for n, _ in values]):.0f})"
                for values in by.values()
            ),
        ]
        for arm, by in accuracies.items()
    ]
    rounds = len(rows[0]) - 1
    return table(["arm: accuracy (calls)", "before", *(f"round {number}" for number in range(1, rounds))], rows)
