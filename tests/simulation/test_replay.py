"""One simulated repetition: the rounds of the live loop, measured at every budget on test rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder, bag_of_words
from fake_label_studio import WORDS, FakeLabelStudio, add_labelled_tasks, submit_labels, text_about
from plugin_overrides import OverridePlugins
from pools import choices_of
from round_fixtures import queue
from schemas import CONTROL, as_choices, text_schema
from simulations import FewClusters
from sklearn.metrics import accuracy_score, f1_score

from ml_backend.core import registry
from ml_backend.core.arrays import Fit, Floats, Ints, Pool, Selection, TrainingSet
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ChoicesSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.evaluation.promotion_gate import GateDecision
from ml_backend.loop import training
from ml_backend.loop.context import RoundContext
from ml_backend.loop.query_selection import select_queries
from ml_backend.loop.queue_builder import RankingContext
from ml_backend.loop.round import run_round
from ml_backend.model import fitted_model
from ml_backend.simulation import replay
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from plugins.acquisition.clusters import Bisecting

SCHEMA = text_schema(tuple(WORDS))
PLAN = SimulationPlan(SCHEMA, ProjectSettings().with_form_defaults("text"), "fake", initial=6, batch=6, budget=18)


def labelled_pool(n: int, first: int = 0) -> LabelledPool:
    """n labelled texts about three labels in turn, in two groups and without a group."""
    labels = [list(WORDS)[i % 3] for i in range(first, first + n)]
    texts = [text_about(label, i) for i, label in enumerate(labels, first)]
    targets = np.eye(3, dtype=np.float32)[[list(WORDS).index(label) for label in labels]]
    groups = [("", "odd", "even")[i % 5 % 3] for i in range(n)]
    return LabelledPool(bag_of_words(texts, 32), {CONTROL: targets}, groups)


POOL, TEST = labelled_pool(45), labelled_pool(30, first=200)


@pytest.fixture(autouse=True)
def few_clusters(override_plugins: OverridePlugins) -> None:
    clusterer = registry.clusterer()
    override_plugins({"clusterer.bisecting": lambda: FewClusters(clusterer)})


def run(
    plan: SimulationPlan = PLAN, strategy: str = "random", seed: int = 0, pool: LabelledPool = POOL
) -> list[Measurement]:
    return list(simulate(plan, pool, TEST, strategy, seed))


def values(measurements: Sequence[Measurement], metric: str, group: str = "") -> dict[int, float]:
    """The values of a metric by number of labels."""
    return {
        measurement.labelled: measurement.value
        for measurement in measurements
        if (measurement.metric, measurement.group) == (metric, group)
    }


def timeless(measurements: Sequence[Measurement]) -> list[Measurement]:
    return [
        replace(measurement, value=0.0) if measurement.metric == "seconds" else measurement
        for measurement in measurements
    ]


@dataclass
class ChooseCalls:
    """The arguments and results of the calls of `choose`."""

    pools: list[Pool]
    groups: list[Ints | None]
    seeds: list[int]
    rows: list[Ints]


@pytest.fixture
def choose_calls(monkeypatch: pytest.MonkeyPatch) -> ChooseCalls:
    calls = ChooseCalls([], [], [], [])
    choose = select_queries

    def spy(options: ProjectSettings, pool: Pool, groups: Ints | None, k: int, seed: int) -> Selection:
        chosen = choose(options, pool, groups, k, seed)
        for argument_list, value in zip(
            (calls.pools, calls.groups, calls.seeds, calls.rows), (pool, groups, seed, chosen.rows), strict=True
        ):
            argument_list.append(value)  # type: ignore[attr-defined]
        return chosen

    monkeypatch.setattr(replay, "select_queries", spy)
    return calls


@pytest.mark.parametrize("strategy", ["cluster-uncertainty", "random"])
def test_a_live_project_gets_the_queues_and_the_learners_that_were_simulated(
    strategy: str,
    choose_calls: ChooseCalls,
    server: FakeLabelStudio,
    make_round: Callable[..., RoundContext],
    options: Callable[..., None],
    fake_encoder: FakeEncoder,
    single: ProjectSchema,
    monkeypatch: pytest.MonkeyPatch,
    override_plugins: OverridePlugins,
) -> None:
    """A team labels all tasks of each queue, from the first round on; both use the same seeds."""
    options(queue_size=8, audit_share=0.0, acquisition=strategy)
    encode = fake_encoder.encode  # as the cache on disk rounds
    monkeypatch.setattr(fake_encoder, "encode", lambda texts: encode(texts).astype(np.float16).astype(np.float32))
    monkeypatch.setattr(RankingContext, "seed", property(lambda context: context.number))
    learners: list[Any] = []
    learn = fitted_model.fit_model
    monkeypatch.setattr(
        fitted_model,
        "fit_model",
        lambda *arguments: learners.append((measurements := learn(*arguments))[0]) or measurements,
    )
    truth = add_labelled_tasks(server, 45)
    tasks, queues = list(truth), []
    for _ in range(4):
        run_round(make_round(server))
        queues.append(queue(server))
        submit_labels(server, truth, single, queues[-1])
    live_learners = [learner for learner in learners if learner is not None]
    learners.clear()

    override_plugins({"clusterer.bisecting": Bisecting})
    monkeypatch.setattr(replay, "SEED_STRIDE", 0)
    monkeypatch.setattr(replay, "count", lambda: itertools.count(1))
    vectors = fake_encoder.encode([server.tasks[task]["data"]["text"] for task in tasks])
    targets = np.eye(3, dtype=np.float32)[[single.controls[0].labels.index(label) for label in truth.values()]]
    plan = SimulationPlan(single, ProjectSettings().with_form_defaults("text"), "fake", initial=0, batch=8, budget=32)
    measurements = list(simulate(plan, LabelledPool(vectors, {CONTROL: targets}, [""] * 45), TEST, strategy, 5))
    assert [[tasks[row] for row in rows] for rows in choose_calls.rows] == queues
    simulated_learners = [learner for learner in learners if learner is not None]
    assert len(simulated_learners) == len(live_learners) + 1 == 4  # the last one is measured only
    for live_learner, simulated_learner in zip(live_learners, simulated_learners, strict=False):
        assert live_learner.tensors.keys() == simulated_learner.tensors.keys()
        assert all(
            np.array_equal(live_learner.tensors[name], simulated_learner.tensors[name]) for name in live_learner.tensors
        )
    assert vars(training)["decide_promotion"] is vars(replay)["decide_promotion"]
    assert sorted(values(measurements, "accuracy")) == [8, 16, 24, 32]


@pytest.mark.parametrize("strategy", ["margin", "cluster-uncertainty", "badge"])
def test_a_control_of_weight_zero_is_learnt_but_does_not_change_the_order(strategy: str) -> None:
    parity = ChoicesSchema("parity", "text", ("even", "odd"))
    schema = replace(SCHEMA, controls=(*SCHEMA.controls, parity))

    def with_parity(pool: LabelledPool) -> LabelledPool:
        of_parity = np.eye(2, dtype=np.float32)[np.arange(len(pool)) % 2]
        return replace(pool, targets={**pool.targets, "parity": of_parity})

    def of_weight(weight: float) -> list[Measurement]:
        options = PLAN.options.model_copy(update={"control_weights": {"parity": weight}})
        plan = replace(PLAN, schema=schema, options=options, batch=3)
        return list(simulate(plan, with_parity(POOL), with_parity(TEST), strategy, 0))

    def of_control(measurements: list[Measurement], name: str) -> list[Measurement]:
        return [measurement for measurement in measurements if measurement.control == name]

    alone = run(replace(PLAN, batch=3), strategy)
    assert of_control(of_weight(0.0), CONTROL) == of_control(alone, CONTROL)
    assert values(of_control(of_weight(0.0), "parity"), "accuracy").keys() == values(alone, "accuracy").keys()
    assert of_control(of_weight(1.0), CONTROL) != of_control(alone, CONTROL), "the other one counts"


def test_each_learner_knows_exactly_what_is_labelled_and_is_what_acquisition_sees(
    choose_calls: ChooseCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = []
    learn = fitted_model.fit_model

    def spy(snapshot: fitted_model.TrainingSnapshot, train: TrainingSet, serving: Any, number: int) -> Any:
        snapshots.append((snapshot, train, serving))
        return learn(snapshot, train, serving, number)

    monkeypatch.setattr(fitted_model, "fit_model", spy)
    run(strategy="margin")
    assert len(snapshots) == 3
    labelled = choose_calls.pools[0].labelled
    for number, (snapshot, train, serving) in enumerate(snapshots):
        assert snapshot.tasks.tolist() == np.flatnonzero(labelled).tolist()
        assert np.array_equal(snapshot.targets, POOL.targets[CONTROL][labelled])
        assert np.array_equal(train.vectors, POOL.vectors[labelled])
        assert (serving is None) == (number == 0)
        if number < 2:
            learner, _ = learn(snapshot, train, serving, number)
            assert learner is not None
            pool = choose_calls.pools[number]
            assert pool.errors is not None
            assert np.array_equal(choices_of(pool).probabilities, learner.predict(SCHEMA.controls[0], POOL.vectors))
            assert np.array_equal(pool.errors, learner.errors(np.arange(45), SCHEMA.controls[0]), equal_nan=True)
            assert (pool.labelled ^ pool.available).all()
            labelled = labelled.copy()
            labelled[choose_calls.rows[number]] = True
            assert labelled.sum() == 6 * (number + 2)


def test_a_learner_that_the_gate_rejects_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gate = run()
    monkeypatch.setattr(replay, "decide_promotion", lambda _, serving: GateDecision(serving is None))
    with_gate = run()
    for metric in ("accuracy", "macro_f1", "calibration_error"):
        assert {*values(with_gate, metric).values()} == {values(without_gate, metric)[6]}
    assert len({*values(without_gate, "calibration_error").values()}) == 3


def test_strategies_of_one_seed_start_alike_and_seeds_do_not(choose_calls: ChooseCalls) -> None:
    starts: dict[int, set[tuple[int, ...]]] = {}
    measured: dict[int, set[tuple[float, ...]]] = {}
    for seed in (0, 1, 2):
        for strategy in ("random", "margin", "cluster-uncertainty"):
            choose_calls.pools.clear()
            measurements = run(replace(PLAN, budget=12), strategy, seed)
            starts.setdefault(seed, set()).add(tuple(np.flatnonzero(choose_calls.pools[0].labelled)))
            measured.setdefault(seed, set()).add(
                tuple(measurement.value for measurement in measurements if measurement.labelled == 6)[:4]
            )
    assert all(len(starts_of_seed) == 1 for starts_of_seed in starts.values())
    assert all(len(values_of_seed) == 1 for values_of_seed in measured.values())
    assert len(set.union(*starts.values())) == 3


def test_no_two_rounds_draw_with_the_same_seed(choose_calls: ChooseCalls) -> None:
    for seed in range(4):
        run(replace(PLAN, budget=24), seed=seed)
    assert len({*choose_calls.seeds}) == len(choose_calls.seeds) == 12
    batches = {tuple(sorted(rows)) for rows in choose_calls.rows}
    assert len(batches) == 12


def test_all_but_the_time_is_the_same_again() -> None:
    for strategy in ("random", "cluster-uncertainty"):
        first, second = run(strategy=strategy, seed=3), run(strategy=strategy, seed=3)
        assert timeless(first) == timeless(second)
        assert timeless(first) != timeless(run(strategy=strategy, seed=4))


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
    measurements = run(
        SimulationPlan(SCHEMA, ProjectSettings().with_form_defaults("text"), "fake", initial, batch, budget),
        pool=labelled_pool(n),
    )
    for metric in ("accuracy", "macro_f1", "worst_class_f1", "calibration_error"):
        assert list(values(measurements, metric)) == measured
    seconds = values(measurements, "seconds")
    assert list(seconds) == rounds
    assert all(value >= 0 for value in seconds.values())
    assert len(measurements) == 4 * len(measured) + len(rounds) + 4 * len(measured)  # two metrics of two groups


@dataclass
class FixedLearner:
    """A learner with fixed probabilities for the test rows."""

    probabilities: Floats

    def predict(self, _schema: ProjectSchema, vectors: Floats, _texts: object = None) -> Floats:
        return np.resize(self.probabilities, (len(vectors), self.probabilities.shape[1]))

    def errors(self, tasks: Ints) -> Floats:
        return np.full(len(tasks), np.nan, np.float32)


def measured(
    probabilities: Floats, test: LabelledPool, schema: ProjectSchema, monkeypatch: pytest.MonkeyPatch
) -> dict[tuple[str, str], float]:
    """The metrics of a learner with these probabilities for the test rows."""
    fit = Fit({}, np.zeros((1, 1), np.float32))
    monkeypatch.setattr(fitted_model, "fit_model", lambda *_: (FixedLearner(probabilities), fit))
    plan = SimulationPlan(schema, ProjectSettings().with_form_defaults("text"), "fake", initial=2, batch=2, budget=2)
    c = len(schema.controls[0].labels)
    pool = LabelledPool(np.eye(2, dtype=np.float32), {CONTROL: np.eye(2, c, dtype=np.float32)}, ["", ""])
    return {
        (measurement.metric, measurement.group): measurement.value
        for measurement in simulate(plan, pool, test, "random", 0)
    }


def test_metrics_and_groups_are_scikit_learns(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = replace(SCHEMA, controls=(replace(SCHEMA.controls[0], labels=tuple("abcde")),))
    truth = rng.choice(5, 60, p=[0.4, 0.3, 0.2, 0.05, 0.05])
    truth[:3] = [3, 4, 4]
    probabilities = rng.dirichlet(np.ones(5), 60).astype(np.float32)
    groups = [("news", "mail", "")[i % 3] for i in range(60)]
    test = LabelledPool(np.zeros((60, 2), np.float32), {CONTROL: np.eye(5, dtype=np.float32)[truth]}, groups)
    values = measured(probabilities, test, schema, monkeypatch)
    predicted = probabilities.argmax(axis=1)
    assert values["accuracy", ""] == pytest.approx(accuracy_score(truth, predicted))
    assert values["macro_f1", ""] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    f1_by_label = f1_score(truth, predicted, labels=range(5), average=None, zero_division=0)
    is_frequent = np.bincount(truth, minlength=5) >= 5
    assert not is_frequent.all()
    assert values["worst_class_f1", ""] == pytest.approx(f1_by_label[is_frequent].min())
    for group in ("news", "mail"):
        in_group = np.array(groups) == group
        assert values["accuracy", group] == pytest.approx(accuracy_score(truth[in_group], predicted[in_group]))
        expected = f1_score(truth[in_group], predicted[in_group], average="macro", zero_division=0)
        assert values["macro_f1", group] == pytest.approx(expected)
    assert values.keys() == {
        *itertools.product(("accuracy", "macro_f1"), ("", "news", "mail")),
        ("worst_class_f1", ""),
        ("calibration_error", ""),
    }


def test_the_worst_class_is_one_of_the_largest_if_none_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted = [0, 0, 0, 1, 1, 1, 2], [0, 0, 1, 1, 1, 1, 0]
    test = LabelledPool(np.zeros((7, 2), np.float32), {CONTROL: np.eye(3, dtype=np.float32)[truth]}, [""] * 7)
    values = measured(np.eye(3, dtype=np.float32)[predicted], test, SCHEMA, monkeypatch)
    assert values["worst_class_f1", ""] == pytest.approx(f1_score(truth, predicted, labels=[0, 1], average=None).min())


def test_no_label_to_find_and_none_found_is_all_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """This happens with several labels in a small group."""
    schema = replace(SCHEMA, controls=(replace(as_choices(SCHEMA.controls[0]), multiple=True),))
    test = LabelledPool(
        np.zeros((3, 2), np.float32),
        {CONTROL: np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]], np.float32)},
        ["x", "x", ""],
    )
    probabilities = np.array([[0.1, 0.2, 0.3], [0.4, 0.1, 0.1], [0.9, 0.1, 0.1]], np.float32)
    values = measured(probabilities, test, schema, monkeypatch)
    assert (values["macro_f1", ""], values["macro_f1", "x"]) == (1.0, 1.0)
    values_without_labels = measured(probabilities[:2], test.take(np.arange(2)), schema, monkeypatch)
    assert (
        values_without_labels["accuracy", ""],
        values_without_labels["macro_f1", ""],
        values_without_labels["worst_class_f1", ""],
    ) == (1.0, 1.0, 1.0)


def test_before_there_is_a_learner_the_draft_is_the_usual_answer() -> None:
    same_answers = replace(labelled_pool(12), targets={CONTROL: np.tile(np.eye(3, dtype=np.float32)[1], (12, 1))})
    measurements = run(replace(PLAN, budget=12), pool=same_answers)
    assert values(measurements, "accuracy") == dict.fromkeys((6, 12), np.float32(1 / 3))
    assert values(measurements, "calibration_error")[6] == pytest.approx(2 / 3, abs=1e-6)


def test_places_are_kept_for_the_users_groups_if_there_are_any(choose_calls: ChooseCalls) -> None:
    run()
    numbers = choose_calls.groups[0]
    assert numbers is not None
    assert len({*zip(POOL.groups, numbers.tolist(), strict=True)}) == len({*POOL.groups}) == numbers.max() + 1
    run(pool=replace(POOL, groups=[""] * 45))
    assert choose_calls.groups[-1] is None


def test_a_strategy_that_chooses_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Selection(np.empty(0, np.int64), np.empty(0, np.float32))
    monkeypatch.setattr(replay, "select_queries", lambda *_: nothing)
    with pytest.raises(ApprenticeError, match="The strategy margin chooses none of 39 tasks"):
        run(strategy="margin")
