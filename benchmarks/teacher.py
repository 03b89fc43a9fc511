"""`make bench-teacher`: the accuracy that a teacher adds, by the number of human labels and of its calls.

    python -m benchmarks.teacher [--seeds 10] [--parts few noise davidson times labels calls live
        evolving] [--save]

The teacher of banking77 is a large language model, whose replies to 800 train rows and to one question about the 77
labels are read from ../shared/data. The model may have met the set in training, and saw the row numbers of texts that
are sorted by class; therefore 30 % of its labels are also redrawn from its own confusions. Oracles are made-up teachers
that know the gold labels. Test rows are used to measure only; the method was tuned on other train rows and on TREC.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.arms import BUDGETS, LABELS_PER_CLASS, Bench, Priors, spread, table
from benchmarks.data import DATA, ONE_CHOICE, SETS
from benchmarks.evolving import evolving
from benchmarks.live_teacher import live
from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Pool, TrainingSet
from ml_backend.core.settings import ProjectSettings
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.teacher.descriptions.label_descriptions import LabelDescriptions


def recorded(bench: Bench) -> tuple[Ints, Floats]:
    """Returns the rows (n,) of banking77 that the model has labelled, and its probabilities (n, c) of all labels. The
    remainder to one is spread evenly."""
    labels = bench.schema.controls[0].labels
    rows: list[int] = []
    shares: list[Floats] = []
    with (DATA / "teacher" / "banking77_labels.jsonl").open(encoding="utf-8") as file:
        for line in file:
            reply = json.loads(line)
            share = np.zeros(len(labels), np.float32)
            for label, p in reply["labels"]:
                share[labels.index(label)] += p
            share += max(0.0, 1.0 - float(share.sum())) / len(labels)
            rows.append(int(reply["id"].split("-")[1]))
            shares.append(share / share.sum())
    return np.array(rows), np.array(shares, np.float32)


def recorded_cues() -> LabelDescriptions:
    """Returns the descriptions and cues that the model has given for the labels of banking77."""
    raw = json.loads((DATA / "teacher" / "banking77_cues.json").read_text(encoding="utf-8"))
    return {
        label: {
            "description": description["description"],
            "cues": [
                *description["cues"],
                *([phrase, -score, label_instead] for phrase, score, label_instead in description["negative_cues"]),
            ],
        }
        for label, description in raw.items()
    }


def shuffled(descriptions: LabelDescriptions, seed: int) -> LabelDescriptions:
    """Assigns the descriptions of each label to another label."""
    names = list(descriptions)
    return {
        name: {
            **descriptions[other_label],
            "cues": [cue[:2] for cue in descriptions[other_label]["cues"] if cue[1] > 0],
        }
        for name, other_label in zip(names, np.random.default_rng(seed).permutation(names).tolist(), strict=True)
    }


def redrawn(bench: Bench, rows: Ints, shares: Floats, seed: int) -> Floats:
    """Draws 30 % of the labels again, from the model's own confusions."""
    random = np.random.default_rng(seed)
    labels = shares.argmax(axis=1)
    wrong = labels != bench.y[rows]
    out = shares.copy()
    for place in np.flatnonzero(random.random(len(rows)) < 0.3):
        like = np.flatnonzero(wrong & (labels == labels[place]) | wrong & (bench.y[rows] == labels[place]))
        similar = random.choice(like) if len(like) else random.integers(len(rows))
        label = bench.y[rows[similar]] if labels[similar] == labels[place] else labels[similar]
        if label == labels[place]:
            label = random.integers(shares.shape[1])
        out[place] = bench.one_hot[label]
    return out


def oracle(bench: Bench, rows: Ints, wrong: float, seed: int, *, systematic: bool = False) -> Floats:
    """Returns gold labels with certainty, a share `wrong` of them replaced.

    The replacement is a random other label or, if `systematic`, the same other label for each label.
    """
    random = np.random.default_rng(seed)
    c = len(bench.one_hot)
    shift = random.integers(1, c, c)[bench.y[rows]] if systematic else random.integers(1, c, len(rows))
    bad = random.random(len(rows)) < wrong
    return np.asarray(bench.one_hot[np.where(bad, (bench.y[rows] + shift) % c, bench.y[rows])])


def labels(seeds: int) -> Iterator[str]:
    """Yields the accuracy by human labels in the order of the loop."""
    bench = Bench(SETS["banking77"]())
    rows, shares = recorded(bench)
    cues = bench.cues(recorded_cues())
    everything = bench.distil(rows, shares, cues)
    default = ProjectSettings().with_form_defaults("text").acquisition
    arms: dict[str, tuple[str, Priors]] = {
        "human labels alone, random order": ("random", {}),
        "human labels alone, default acquisition": (default, {}),
        "labels' names + default acquisition": (default, bench.named()),
        "distillation + random order": ("random", {"labels": everything["labels"]}),
        "distillation + default acquisition": (default, {"labels": everything["labels"]}),
        "cues alone + default acquisition": (default, {"cues": everything["cues"]}),
        "distillation with cues + default acquisition": (default, everything),
    }
    [control] = bench.schema.controls
    pool = LabelledPool(bench.x, {control.name: bench.one_hot[bench.y]}, [""] * len(bench.x))
    test = LabelledPool(bench.test_x, {control.name: bench.one_hot[bench.test_y]}, [""] * len(bench.test_x))
    marks = (25, 50, 100, 200, 300, 375, 400)
    rows_shown: list[list[str]] = []
    curves: dict[str, npt.NDArray[np.float64]] = {}
    for name, (strategy, priors) in arms.items():
        plan = SimulationPlan(
            bench.schema,
            ProjectSettings().with_form_defaults("text"),
            "all-MiniLM-L6-v2",
            initial=25,
            batch=25,
            budget=400,
            priors={control.name: priors},
        )
        accuracies: dict[int, list[float]] = {}
        for seed in range(seeds):
            for measurement in simulate(plan, pool, test, strategy, seed):
                if measurement.metric == "accuracy" and not measurement.group:
                    accuracies.setdefault(measurement.labelled, []).append(100 * measurement.value)
        curves[name] = np.array([np.mean(accuracies[n]) for n in sorted(accuracies)])
        sizes = sorted(accuracies)
        rows_shown.append([name, *(spread(accuracies[n]) if n in accuracies else "" for n in marks)])
    teacher_alone = bench.fit(rows, {}, 0, shares)
    rows_shown.append(["teacher's labels alone, fitted as if they were human", *[f"{teacher_alone:.1f}"] * len(marks)])
    rows_shown.append(
        [
            "the priors by themselves: "
            + ", ".join(f"{name} {bench.prior(everything, name):.1f}" for name in everything),
            *[""] * len(marks),
        ]
    )
    yield "## Accuracy by human labels, banking77, 800 recorded labels of the teacher\n"
    yield table(["arm", *map(str, marks)], rows_shown)
    target = curves["human labels alone, default acquisition"][-1]
    for name, curve in curves.items():
        reached = np.flatnonzero(curve >= target)
        first = f"{sizes[reached[0]]}" if len(reached) else "more than 400"
        yield f"- {name}: {first} labels for the {target:.1f} that human labels alone reach at 400\n"


def few(seeds: int) -> Iterator[str]:
    """Yields the accuracy with 5 human labels per class, outside the teacher's 800 rows, and with random draws."""
    bench = Bench(SETS["banking77"]())
    rows, shares = recorded(bench)
    free = np.setdiff1d(np.arange(len(bench.x)), rows)
    descriptions = recorded_cues()
    everything = bench.distil(rows, shares, bench.cues(descriptions))
    named = bench.named()
    cues, labels_prior = {"cues": everything["cues"]}, {"labels": everything["labels"]}
    arms: dict[str, Callable[[Ints, int], float]] = {
        "human labels alone": lambda human, seed: bench.fit(human, {}, seed),
        "labels' names": lambda human, seed: bench.fit(human, named, seed),
        "pooled with the teacher's labels": lambda human, seed: bench.fit(
            np.concatenate([human, rows]), {}, seed, np.concatenate([bench.one_hot[bench.y[human]], shares])
        ),
        "distillation": lambda human, seed: bench.fit(human, labels_prior, seed),
        "cues alone": lambda human, seed: bench.fit(human, cues, seed),
        "distillation with cues": lambda human, seed: bench.fit(human, everything, seed),
    }
    yield f"## Accuracy with random human labels, and with {LABELS_PER_CLASS} a class (385), banking77\n"
    yield _arms(bench, free, arms, seeds)
    wrong = [bench.distil(rows[:0], shares[:0], bench.cues(shuffled(descriptions, seed))) for seed in range(3)]
    harm: dict[str, Callable[[Ints, int], float]] = {
        "human labels alone": arms["human labels alone"],
        "shuffled cues": lambda human, seed: bench.fit(human, wrong[seed % len(wrong)], seed),
    }
    yield "Cues of other labels:\n"
    yield _arms(bench, free, harm, seeds)


def noise(seeds: int) -> Iterator[str]:
    """Yields the accuracy with teachers that are often wrong."""
    bench = Bench(SETS["banking77"]())
    rows, shares = recorded(bench)
    free = np.setdiff1d(np.arange(len(bench.x)), rows)
    cues = bench.cues(recorded_cues())
    yield "## Harmful teachers, banking77: 800 labels that are wrong, each said with confidence 1\n"
    makers: dict[str, Callable[[int], Floats]] = {
        "recorded, 30 % redrawn from its own confusions": lambda draw: redrawn(bench, rows, shares, draw),
        "oracle, 60 % wrong at random": lambda draw: oracle(bench, rows, 0.6, draw),
        "oracle, 60 % wrong, each class as one other": lambda draw: oracle(bench, rows, 0.6, draw, systematic=True),
        "oracle, always wrong": lambda draw: oracle(bench, rows, 1.0, draw),
    }
    for name, make in makers.items():
        drawn_labels = [make(draw) for draw in range(2)]
        plain = [bench.distil(rows, targets) for targets in drawn_labels]
        both = [bench.distil(rows, targets, cues) for targets in drawn_labels]
        arms: dict[str, Callable[[Ints, int], float]] = {
            "human labels alone": lambda human, seed: bench.fit(human, {}, seed),
            "distillation": lambda human, seed, plain=plain: bench.fit(human, plain[seed % 2], seed),  # type: ignore[misc]
            "with cues": lambda human, seed, both=both: bench.fit(human, both[seed % 2], seed),  # type: ignore[misc]
        }
        share = np.mean([(targets.argmax(axis=1) == bench.y[rows]).mean() for targets in drawn_labels])
        yield f"{name} ({100 * share:.1f} % right):\n"
        yield _arms(bench, free, arms, seeds)


def _arms(bench: Bench, free: Ints, arms: Mapping[str, Callable[[Ints, int], float]], seeds: int) -> str:
    draws = {
        str(n): [np.random.default_rng([seed, n]).choice(free, n, replace=False) for seed in range(seeds)]
        for n in BUDGETS
    }
    draws |= {
        f"{per_label} a class": [bench.few(free, per_label, seed) for seed in range(seeds)]
        for per_label in (LABELS_PER_CLASS, 2 * LABELS_PER_CLASS)
    }
    accuracies = {
        arm: {size: [fit(human, seed) for seed, human in enumerate(drawn)] for size, drawn in draws.items()}
        for arm, fit in arms.items()
    }
    first = next(iter(accuracies))
    rows = [[arm, *(spread(values) for values in sizes.values())] for arm, sizes in accuracies.items()]
    for arm in list(accuracies)[1:]:
        apart = {size: np.subtract(accuracies[arm][size], accuracies[first][size]).tolist() for size in draws}
        rows.append([f"{arm}, minus {first}", *(spread(values) for values in apart.values())])
    return table(["arm", *draws], rows)


def calls(seeds: int) -> Iterator[str]:
    """Yields the accuracy by the choice of tasks for the teacher, at equal calls, with 100 human labels."""
    bench = Bench(SETS["banking77"]())
    rows, shares = recorded(bench)
    free = np.setdiff1d(np.arange(len(bench.x)), rows)
    yield "## Which tasks to ask the teacher about: accuracy by its calls, with 100 random human labels, banking77\n"
    numbers = (50, 100, 200, 400)
    accuracies: dict[str, dict[int, list[float]]] = {}
    for seed in range(seeds):
        human = np.random.default_rng([seed, 100]).choice(free, 100, replace=False)
        train = TrainingSet(bench.x[human], bench.one_hot[bench.y[human]], np.ones(100, np.float32), ONE_CHOICE)
        probabilities = bench.learner.predict(bench.learner.fit(train, seed).tensors, bench.x[rows])
        unsure = 1 - probabilities.max(axis=1)
        predictions = ChoicePredictions(probabilities, multiple=False)
        pool = Pool(bench.x[rows], predictions, np.zeros(len(rows), bool), np.ones(len(rows), bool))

        def by(strategy: str, n: int, pool: Pool = pool, seed: int = seed) -> Ints:
            return registry.acquisition(strategy).select(pool, n, seed).rows

        ways: dict[str, Callable[[int], Ints]] = {
            "random": lambda n: by("random", n),
            "uncertain for the learner (least-confidence)": lambda n: by("least-confidence", n),
            "confident teacher, uncertain learner": lambda n, u=unsure: np.argsort(-u * shares.max(axis=1))[:n],  # type: ignore[misc]
            "diverse (k-center)": lambda n: by("k-center", n),
            "typical (typicality)": lambda n: by("typicality", n),
            "uncertain and diverse (cluster-uncertainty)": lambda n: by("cluster-uncertainty", n),
            "the default (coverage)": lambda n: by("coverage", n),
        }
        for name, choose in ways.items():
            for n in numbers:
                asked_rows = choose(n)
                priors = bench.distil(rows[asked_rows], shares[asked_rows])
                accuracies.setdefault(name, {}).setdefault(n, []).append(bench.fit(human, priors, seed))
    yield table(
        ["tasks", *map(str, numbers)], [[name, *(spread(by[n]) for n in numbers)] for name, by in accuracies.items()]
    )


def davidson(seeds: int) -> Iterator[str]:
    """Yields the accuracy with oracles of three error rates on an imbalanced set."""
    bench = Bench(SETS["davidson"]())
    rows = np.random.default_rng(0).choice(len(bench.x), 500, replace=False)
    free = np.setdiff1d(np.arange(len(bench.x)), rows)
    yield "## davidson: oracle with so many wrong labels among 500, accuracy by random human labels\n"
    for wrong in (0.1, 0.3, 0.6):
        priors = bench.distil(rows, oracle(bench, rows, wrong, 0))
        accuracies: dict[str, list[list[float]]] = {"human labels alone": [], "distillation": []}
        for n in BUDGETS:
            drawn = [np.random.default_rng([seed, n]).choice(free, n, replace=False) for seed in range(seeds)]
            accuracies["human labels alone"].append([bench.fit(human, {}, seed) for seed, human in enumerate(drawn)])
            accuracies["distillation"].append([bench.fit(human, priors, seed) for seed, human in enumerate(drawn)])
        yield f"oracle, {wrong:.0%} wrong at random:\n"
        yield table(["arm", *map(str, BUDGETS)], [[name, *map(spread, by)] for name, by in accuracies.items()])


def times(seeds: int) -> Iterator[str]:
    """Yields the time of a fit with and without distillation: 400 human labels, 2,000 teacher labels, 77 classes."""
    bench = Bench(SETS["banking77"]())
    rows = np.random.default_rng(0).choice(len(bench.x), 2000, replace=False)
    begin = time.process_time()
    priors = bench.distil(rows, oracle(bench, rows, 0.1, 0), bench.cues(recorded_cues()))
    distilling = time.process_time() - begin
    human = np.random.default_rng(1).choice(len(bench.x), 400, replace=False)
    pooled = np.concatenate([human, rows])
    arms: dict[str, tuple[Ints, Priors]] = {
        "without a teacher": (human, {}), "distillation": (human, priors), "pooled, for comparison": (pooled, {}),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(max(5, seeds)):
        # in turn, so that other load on the machine affects all arms alike
        for name, (rows_of_arm, priors_of_arm) in arms.items():
            begin = time.process_time()
            bench.fit(rows_of_arm, priors_of_arm, 0)
            seconds[name].append(time.process_time() - begin)
    yield "## CPU seconds of a fit: 400 human labels, 2,000 of a teacher, 77 labels\n"
    yield table(
        ["arm", "median", "least", "most"],
        [
            [name, f"{np.median(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}"]
            for name, values in seconds.items()
        ],
    )
    yield f"Making the three priors, beside the rounds, over a pool of {len(bench.x):,}: {distilling:.1f} s.\n"


PARTS: dict[str, Callable[[int], Iterator[str]]] = {
    part.__name__: part for part in (few, noise, davidson, times, labels, calls, live, evolving)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--save", action="store_true", help="write the tables beside this file, under today's date")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    written = [f"`make bench-teacher`, {options.seeds} seeds, ± half of a 95 % interval over them.\n"]
    for name in options.parts:
        for piece in PARTS[name](options.seeds):
            print(piece, flush=True)
            written.append(piece)
    if options.save:
        today = datetime.datetime.now(datetime.UTC).date()
        file = Path(__file__).with_name(f"{today}-teacher.md")
        file.write_text(f"# What a teacher is worth, {today}\n\n{__doc__}\n" + "\n".join(written))


if __name__ == "__main__":
    main()
