"""One simulated repetition: the very rounds of the live loop, measured at every budget on rows that nobody learns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder, bag_of_words
from fake_label_studio import WORDS, FakeLabelStudio, fill, flood, text_about
from round_fixtures import queue
from sklearn.metrics import accuracy_score, f1_score

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Fit, Floats, Ints, Pool, Selection, TaskSchema
from ml_backend.evaluation.gate_test import GateDecision
from ml_backend.loop import round as round_module
from ml_backend.loop.queue_builder import RankingContext
from ml_backend.loop.round import RoundContext, run_round
from ml_backend.model import fitted_model
from ml_backend.simulation import replay
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate

SCHEMA = TaskSchema(tuple(WORDS), False, "label", "text", "text")
PLAN = SimulationPlan(SCHEMA, ProjectSettings().of_form("text"), "fake", initial=6, batch=6, budget=18)


def gold(n: int, first: int = 0) -> LabelledPool:
    """n texts about three things in turn, in two groups and none."""
    labels = [list(WORDS)[i % 3] for i in range(first, first + n)]
    texts = [text_about(label, i) for i, label in enumerate(labels, first)]
    targets = np.eye(3, dtype=np.float32)[[list(WORDS).index(label) for label in labels]]
    return LabelledPool(bag_of_words(texts, 32), targets, [("", "odd", "even")[i % 5 % 3] for i in range(n)])


POOL, TEST = gold(45), gold(30, first=200)


@pytest.fixture(autouse=True)
def few_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CLUSTERS", 4)


def run(
    plan: SimulationPlan = PLAN, strategy: str = "random", seed: int = 0, pool: LabelledPool = POOL
) -> list[Measurement]:
    return list(simulate(plan, pool, TEST, strategy, seed))


def values(found: Sequence[Measurement], metric: str, group: str = "") -> dict[int, float]:
    """By how many labels there were."""
    return {each.labelled: each.value for each in found if (each.metric, each.group) == (metric, group)}


def timeless(found: Sequence[Measurement]) -> list[Measurement]:
    return [replace(each, value=0.0) if each.metric == "seconds" else each for each in found]


@dataclass
class Seen:
    """What acquisition was asked, and what it answered."""

    pools: list[Pool]
    groups: list[Ints | None]
    seeds: list[int]
    rows: list[Ints]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    noted = Seen([], [], [], [])
    choose = replay.choose

    def spy(options: ProjectSettings, pool: Pool, groups: Ints | None, k: int, seed: int) -> Selection:
        chosen = choose(options, pool, groups, k, seed)
        for notes, value in zip(
            (noted.pools, noted.groups, noted.seeds, noted.rows), (pool, groups, seed, chosen.rows), strict=True
        ):
            notes.append(value)  # type: ignore[attr-defined]
        return chosen

    monkeypatch.setattr(replay, "choose", spy)
    return noted


@pytest.mark.parametrize("strategy", ["cluster-uncertainty", "random"])
def test_a_live_project_gets_the_queues_and_the_learners_that_were_simulated(
    strategy: str,
    seen: Seen,
    server: FakeLabelStudio,
    make_round: Callable[..., RoundContext],
    options: Callable[..., None],
    fake_encoder: FakeEncoder,
    single: TaskSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A team labels all of each queue, from nothing on; what differs, the seeds, is made the same."""
    options(queue_size=8, audit_share=0.0, acquisition=strategy)
    encode = fake_encoder.encode  # as exact as the cache on disk
    monkeypatch.setattr(fake_encoder, "encode", lambda texts: encode(texts).astype(np.float16).astype(np.float32))
    monkeypatch.setattr(RankingContext, "seed", property(lambda basis: basis.number))
    learners: list[Any] = []
    learn = fitted_model.learn
    monkeypatch.setattr(fitted_model, "learn", lambda *given: learners.append((found := learn(*given))[0]) or found)
    truth = fill(server, 45)
    tasks, queues = list(truth), []
    for _ in range(4):
        run_round(make_round(server))
        queues.append(queue(server))
        flood(server, truth, single, queues[-1])
    live = [each for each in learners if each is not None]
    learners.clear()

    monkeypatch.setattr(replay, "CLUSTERS", 30)
    monkeypatch.setattr(replay, "STRIDE", 0)
    monkeypatch.setattr(replay, "count", lambda: itertools.count(1))
    vectors = fake_encoder.encode([server.tasks[task]["data"]["text"] for task in tasks])
    targets = np.eye(3, dtype=np.float32)[[single.labels.index(label) for label in truth.values()]]
    plan = SimulationPlan(single, ProjectSettings().of_form("text"), "fake", initial=0, batch=8, budget=32)
    found = list(simulate(plan, LabelledPool(vectors, targets, [""] * 45), TEST, strategy, 5))
    assert [[tasks[row] for row in rows] for rows in seen.rows] == queues
    simulated = [each for each in learners if each is not None]
    assert len(simulated) == len(live) + 1 == 4  # the last one is measured only
    for ours, theirs in zip(live, simulated, strict=False):
        assert ours.tensors.keys() == theirs.tensors.keys()
        assert all(np.array_equal(ours.tensors[name], theirs.tensors[name]) for name in ours.tensors)
    assert round_module.judge is replay.judge
    assert sorted(values(found, "accuracy")) == [8, 16, 24, 32]


def test_each_learner_knows_exactly_what_is_labelled_and_is_what_acquisition_sees(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons = []
    learn = fitted_model.learn

    def spy(lesson: fitted_model.TrainingSnapshot, vectors: Floats, serving: Any, *rest: Any) -> Any:
        lessons.append((lesson, vectors, serving))
        return learn(lesson, vectors, serving, *rest)

    monkeypatch.setattr(fitted_model, "learn", spy)
    run(strategy="margin")
    assert len(lessons) == 3
    labelled = seen.pools[0].labelled
    for number, (lesson, vectors, serving) in enumerate(lessons):
        assert lesson.tasks.tolist() == np.flatnonzero(labelled).tolist()
        assert np.array_equal(lesson.targets, POOL.targets[labelled])
        assert np.array_equal(vectors, POOL.vectors[labelled])
        assert (serving is None) == (number == 0)
        if number < 2:
            known, _ = learn(lesson, vectors, serving, number)
            assert known is not None
            pool = seen.pools[number]
            assert np.array_equal(pool.probabilities, known.predict(SCHEMA, POOL.vectors))
            assert np.array_equal(pool.errors, known.errors(np.arange(45)), equal_nan=True)
            assert (pool.labelled ^ pool.available).all()
            labelled = labelled.copy()
            labelled[seen.rows[number]] = True
            assert labelled.sum() == 6 * (number + 2)


def test_a_learner_that_the_gate_rejects_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    free = run()
    monkeypatch.setattr(replay, "judge", lambda fit, *_: GateDecision(fit.held_out_earlier is None, "only the first"))
    held = run()
    for metric in ("accuracy", "macro_f1", "calibration_error"):
        assert {*values(held, metric).values()} == {values(free, metric)[6]}
    assert len({*values(free, "calibration_error").values()}) == 3


def test_strategies_of_one_seed_start_alike_and_seeds_do_not(seen: Seen) -> None:
    starts: dict[int, set[tuple[int, ...]]] = {}
    measured: dict[int, set[tuple[float, ...]]] = {}
    for seed in (0, 1, 2):
        for strategy in ("random", "margin", "cluster-uncertainty"):
            seen.pools.clear()
            found = run(replace(PLAN, budget=12), strategy, seed)
            starts.setdefault(seed, set()).add(tuple(np.flatnonzero(seen.pools[0].labelled)))
            measured.setdefault(seed, set()).add(tuple(each.value for each in found if each.labelled == 6)[:4])
    assert all(len(each) == 1 for each in [*starts.values(), *measured.values()])
    assert len(set.union(*starts.values())) == 3


def test_no_two_rounds_draw_with_the_same_seed(seen: Seen) -> None:
    for seed in range(4):
        run(replace(PLAN, budget=24), seed=seed)
    assert len({*seen.seeds}) == len(seen.seeds) == 12
    batches = {tuple(sorted(rows)) for rows in seen.rows}
    assert len(batches) == 12


def test_all_but_the_time_is_the_same_again() -> None:
    for strategy in ("random", "cluster-uncertainty"):
        once, again = run(strategy=strategy, seed=3), run(strategy=strategy, seed=3)
        assert timeless(once) == timeless(again)
        assert timeless(once) != timeless(run(strategy=strategy, seed=4))


@pytest.mark.parametrize(
    ("n", "initial", "batch", "budget", "measured", "rounds"),
    [
        (40, 10, 10, 30, [10, 20, 30], [10, 20]),
        (40, 0, 10, 30, [10, 20, 30], [0, 10, 20]),
        (40, 4, 10, 30, [4, 10, 20, 30], [4, 10, 20]),
        (40, 24, 10, 30, [24, 30], [24]),
        (40, 10, 10, 36, [10, 20, 30, 36], [10, 20, 30]),
        (40, 7, 10, 36, [7, 10, 20, 30, 36], [7, 10, 20, 30]),
        (28, 10, 10, 500, [10, 20, 28], [10, 20]),
        (28, 10, 50, 500, [10, 28], [10]),
        (28, 0, 50, 500, [28], [0]),
        (28, 50, 10, 30, [28], []),
        (40, 50, 10, 30, [30], []),
        (2, 0, 1, 2, [1, 2], [0, 1]),
    ],
)
def test_every_budget_is_measured(
    n: int, initial: int, batch: int, budget: int, measured: list[int], rounds: list[int]
) -> None:
    found = run(SimulationPlan(SCHEMA, ProjectSettings().of_form("text"), "fake", initial, batch, budget), pool=gold(n))
    for metric in ("accuracy", "macro_f1", "worst_class_f1", "calibration_error"):
        assert list(values(found, metric)) == measured
    seconds = values(found, "seconds")
    assert list(seconds) == rounds
    assert all(each >= 0 for each in seconds.values())
    assert len(found) == 4 * len(measured) + len(rounds) + 4 * len(measured)  # two metrics of two groups


@dataclass
class Fixed:
    """A learner that says the same of every test row whatever it learns."""

    found: Floats

    def predict(self, _schema: TaskSchema, vectors: Floats) -> Floats:
        return np.resize(self.found, (len(vectors), self.found.shape[1]))

    def errors(self, tasks: Ints) -> Floats:
        return np.full(len(tasks), np.nan, np.float32)


def measured(
    found: Floats, test: LabelledPool, schema: TaskSchema, monkeypatch: pytest.MonkeyPatch
) -> dict[tuple[str, str], float]:
    """What is measured of a learner that says `found` of the test rows."""
    fit = Fit({}, np.zeros((1, 1), np.float32))
    monkeypatch.setattr(fitted_model, "learn", lambda *_: (Fixed(found), fit))
    plan = SimulationPlan(schema, ProjectSettings().of_form("text"), "fake", initial=2, batch=2, budget=2)
    c = len(schema.labels)
    pool = LabelledPool(np.eye(2, dtype=np.float32), np.eye(2, c, dtype=np.float32), ["", ""])
    return {(each.metric, each.group): each.value for each in simulate(plan, pool, test, "random", 0)}


def test_metrics_and_groups_are_scikit_learns(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = replace(SCHEMA, labels=tuple("abcde"))
    truth = rng.choice(5, 60, p=[0.4, 0.3, 0.2, 0.05, 0.05])
    truth[:3] = [3, 4, 4]
    found = rng.dirichlet(np.ones(5), 60).astype(np.float32)
    groups = [("news", "mail", "")[i % 3] for i in range(60)]
    test = LabelledPool(np.zeros((60, 2), np.float32), np.eye(5, dtype=np.float32)[truth], groups)
    values = measured(found, test, schema, monkeypatch)
    said = found.argmax(axis=1)
    assert values["accuracy", ""] == pytest.approx(accuracy_score(truth, said))
    assert values["macro_f1", ""] == pytest.approx(f1_score(truth, said, average="macro", zero_division=0))
    each = f1_score(truth, said, labels=range(5), average=None, zero_division=0)
    enough = np.bincount(truth, minlength=5) >= 5
    assert not enough.all()
    assert values["worst_class_f1", ""] == pytest.approx(each[enough].min())
    for group in ("news", "mail"):
        mine = np.array(groups) == group
        assert values["accuracy", group] == pytest.approx(accuracy_score(truth[mine], said[mine]))
        expected = f1_score(truth[mine], said[mine], average="macro", zero_division=0)
        assert values["macro_f1", group] == pytest.approx(expected)
    assert values.keys() == {
        *itertools.product(("accuracy", "macro_f1"), ("", "news", "mail")),
        ("worst_class_f1", ""),
        ("calibration_error", ""),
    }


def test_the_worst_class_is_one_of_the_largest_if_none_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, said = [0, 0, 0, 1, 1, 1, 2], [0, 0, 1, 1, 1, 1, 0]
    test = LabelledPool(np.zeros((7, 2), np.float32), np.eye(3, dtype=np.float32)[truth], [""] * 7)
    values = measured(np.eye(3, dtype=np.float32)[said], test, SCHEMA, monkeypatch)
    assert values["worst_class_f1", ""] == pytest.approx(f1_score(truth, said, labels=[0, 1], average=None).min())


def test_no_label_to_find_and_none_found_is_all_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with several labels, in a small group."""
    schema = replace(SCHEMA, multiple=True)
    test = LabelledPool(
        np.zeros((3, 2), np.float32), np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]], np.float32), ["x", "x", ""]
    )
    said = np.array([[0.1, 0.2, 0.3], [0.4, 0.1, 0.1], [0.9, 0.1, 0.1]], np.float32)
    values = measured(said, test, schema, monkeypatch)
    assert (values["macro_f1", ""], values["macro_f1", "x"]) == (1.0, 1.0)
    empty = measured(said[:2], test.take(np.arange(2)), schema, monkeypatch)
    assert (empty["accuracy", ""], empty["macro_f1", ""], empty["worst_class_f1", ""]) == (1.0, 1.0, 1.0)


def test_before_there_is_a_learner_the_draft_is_the_usual_answer() -> None:
    alike = replace(gold(12), targets=np.tile(np.eye(3, dtype=np.float32)[1], (12, 1)))
    found = run(replace(PLAN, budget=12), pool=alike)
    assert values(found, "accuracy") == dict.fromkeys((6, 12), np.float32(1 / 3))
    assert values(found, "calibration_error")[6] == pytest.approx(2 / 3, abs=1e-6)


def test_places_are_kept_for_the_users_groups_if_there_are_any(seen: Seen) -> None:
    run()
    numbers = seen.groups[0]
    assert numbers is not None
    assert len({*zip(POOL.groups, numbers.tolist(), strict=True)}) == len({*POOL.groups}) == numbers.max() + 1
    run(pool=replace(POOL, groups=[""] * 45))
    assert seen.groups[-1] is None


def test_a_strategy_that_chooses_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Selection(np.empty(0, np.int64), np.empty(0, np.float32))
    monkeypatch.setattr(replay, "choose", lambda *_: nothing)
    with pytest.raises(ApprenticeError, match="The strategy margin chooses none of 39 tasks"):
        run(strategy="margin")
