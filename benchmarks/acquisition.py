"""`make bench-acquisition`: one query step of every strategy, beside scikit-activeml and small-text in the same run.

    python -m benchmarks.acquisition [--peers PYTHON | --no-peers] [--sizes ...] [--batches 20 200] [--save]

Each figure is of a process of its own, on the same vectors: CPU seconds of all threads (median of 3; 1 if slow), and
by how much the step raised the peak of the process's memory. What is no part of the query is not timed: imports, a
first small query, the fit (peers get a classifier that has its answers ready), the vectors. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import json
import math
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# a step may run in the peers' environment, where nothing of ours is installed: our own imports wait

DIMENSION, CLASSES, TOPICS, CLUSTERS, LABELLED = 384, 10, 100, 30, 200
CHUNK = 50_000
SEED = 0
WARM = 1000  # rows of the first, small query
REPEATS = 3
SHORT, SLOW = 0.1, 5.0  # seconds; a step below the one is repeated to fill it, one above the other is measured once
MEMORY = 16 << 30  # bytes; the machine must outlive a peer that wants more

OURS, SKACTIVEML, SMALL_TEXT = "ours", "scikit-activeml", "small-text"
CUT = f"(cutting the pool into {CLUSTERS} clusters, once in many rounds)"
PEERS = {
    "random": {SKACTIVEML: "RandomSampling", SMALL_TEXT: "RandomSampling"},
    "least-confidence": {SKACTIVEML: "UncertaintySampling:least_confident", SMALL_TEXT: "LeastConfidence"},
    "margin": {SKACTIVEML: "UncertaintySampling:margin_sampling", SMALL_TEXT: "BreakingTies"},
    "entropy": {SKACTIVEML: "UncertaintySampling:entropy", SMALL_TEXT: "PredictionEntropy"},
    "k-center": {SKACTIVEML: "CoreSet", SMALL_TEXT: "GreedyCoreset"},
    "typicality": {SKACTIVEML: "TypiClust"},
    "badge": {SKACTIVEML: "Badge", SMALL_TEXT: "BADGE"},
    "cluster-uncertainty": {SKACTIVEML: "MaxHerding"},  # the same herding, without the uncertainty
    "(none of ours)": {SKACTIVEML: "ProbCover", SMALL_TEXT: "EmbeddingKMeans"},
}
ALL_PAIRS = {"MaxHerding", "ProbCover"}  # they keep n x n distances: 40 GB of 100,000 tasks
PEERS_UP_TO, ALL_PAIRS_UP_TO = 100_000, 20_000
GROWTH_FROM = 100_000
GOALS = {100_000: (1.0, 400.0), 1_000_000: (10.0, 3 * 1024.0)}
"""CPU seconds and MiB of each of ours at a size."""


@dataclass(frozen=True)
class Data:
    """Unit vectors, predicted probabilities and true classes; the last LABELLED rows are those with a label."""

    vectors: Any
    probabilities: Any
    classes: Any
    assignment: Any
    centroids: Any

    @property
    def labelled(self) -> Any:
        return np.arange(len(self.vectors)) >= len(self.vectors) - LABELLED

    def part(self, n: int) -> Data:
        """The first n rows and those with a label."""
        rows = np.r_[:n, len(self.vectors) - LABELLED : len(self.vectors)]
        columns = (self.vectors, self.probabilities, self.classes, self.assignment)
        return Data(*(column[rows] for column in columns), self.centroids)

    def write(self, folder: Path) -> None:
        folder.mkdir()
        for name, array in vars(self).items():
            np.save(folder / name, array)

    @classmethod
    def read(cls, folder: Path) -> Data:
        return cls(**{name: np.load(folder / f"{name}.npy") for name in cls.__dataclass_fields__})


def make(n: int) -> Data:
    """A mixture whose cosines resemble those of sentence embeddings.

    All texts share a direction (mean cosine 0.2, as of MiniLM on questions), each belongs to one of 100 topics of
    uneven size (cosine within one 0.6), and the rest is noise of falling variance, so that near texts exist.
    Probabilities: softmax of a linear map with logits of standard deviation 2; the true classes are drawn from them.
    """
    from ml_backend import registry

    random = np.random.default_rng(SEED)
    spectrum = np.arange(1, DIMENSION + 1) ** -0.5
    spectrum /= np.linalg.norm(spectrum)
    common = _unit(random.normal(size=DIMENSION)).astype(np.float32)
    topics = _unit(random.normal(size=(TOPICS, DIMENSION)) * spectrum).astype(np.float32)
    sizes = random.lognormal(size=TOPICS)
    topic = random.choice(TOPICS, n, p=sizes / sizes.sum())
    vectors = np.empty((n, DIMENSION), np.float32)
    for start in range(0, n, CHUNK):
        part = vectors[start : start + CHUNK]
        random.standard_normal(out=part, dtype=np.float32)
        part *= 0.65 * spectrum.astype(np.float32)
        part += 0.45 * common + 0.6 * topics[topic[start : start + CHUNK]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    logits = vectors @ random.normal(size=(DIMENSION, CLASSES)).astype(np.float32)
    logits = 2 * (logits - logits.mean(axis=0)) / logits.std(axis=0)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes = (probabilities.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    clustering = registry.clusterer().cut(vectors, CLUSTERS, SEED)
    return Data(vectors, probabilities, classes, clustering.assignment, clustering.centroids)


def describe(data: Data) -> str:
    some = data.vectors[:1000] @ data.vectors[:PEERS_UP_TO].T  # with all of a million it would take gigabytes
    nearest = np.partition(some, -2, axis=1)[:, -2]
    return (
        f"{len(data.vectors):,} vectors: cosine of two {some.mean():.2f} (standard deviation {some.std():.2f}), "
        f"to the nearest {np.median(nearest):.2f}; the likeliest class has {data.probabilities.max(axis=1).mean():.2f}"
    )


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# One step, in a process of its own


def ours(name: str, data: Data, batch: int) -> Callable[[], object]:
    from ml_backend import registry
    from ml_backend.domain import Clustering, Pool

    if name == CUT:
        return lambda: registry.clusterer().cut(data.vectors, CLUSTERS, SEED)
    errors = np.where(data.labelled, 1 - data.probabilities[np.arange(len(data.classes)), data.classes], np.nan)
    pool = Pool(
        vectors=data.vectors,
        probabilities=data.probabilities,
        labelled=data.labelled,
        available=~data.labelled,
        multiple=False,
        errors=errors.astype(np.float32),
        clustering=Clustering(data.centroids, data.assignment),
    )
    return lambda: registry.acquisition(name).select(pool, batch, SEED)


def scikit_activeml(name: str, data: Data, batch: int) -> Callable[[], object]:
    from skactiveml import pool
    from skactiveml.base import SkactivemlClassifier

    class Ready(SkactivemlClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Ready:  # noqa: N803
            return self

        def predict_proba(self, X: Any) -> Any:  # noqa: N803
            return answers

    answers = data.probabilities[~data.labelled]
    labels = np.where(data.labelled, data.classes, np.nan)
    kind, _, method = name.partition(":")
    options: dict[str, Any] = {"method": method} if method else {}
    options |= {"n_classes": CLASSES} if kind == "ProbCover" else {}
    more = {"clf": Ready(range(CLASSES)), "fit_clf": False} if kind in ("UncertaintySampling", "Badge") else {}

    def query() -> object:
        strategy = getattr(pool, kind)(random_state=SEED, **options)  # anew, as ProbCover keeps its distances
        return strategy.query(data.vectors, labels, batch_size=batch, **more)

    return query


def small_text(name: str, data: Data, batch: int) -> Callable[[], object]:
    from small_text import query_strategies

    class Ready:
        def predict_proba(self, dataset: Any) -> Any:
            return data.probabilities

        def embed(self, dataset: Any, return_proba: bool, pbar: Any) -> Any:
            return data.vectors, data.probabilities  # asked for those without a label first, as they are

    class Texts:
        def __getitem__(self, rows: Any) -> Texts:
            return self

    if name == "BADGE":
        from small_text.integrations.pytorch.query_strategies import BADGE

        strategy = BADGE(CLASSES)
    else:
        strategy = getattr(query_strategies, name)()
    options = {"pbar": None} if isinstance(strategy, query_strategies.EmbeddingBasedQueryStrategy) else {}
    free, known = np.flatnonzero(~data.labelled), np.flatnonzero(data.labelled)
    np.random.seed(SEED)
    return lambda: strategy.query(Ready(), Texts(), free, known, data.classes[known], n=batch, **options)


def step(library: str, name: str, folder: Path, batch: int, limit: int) -> None:
    """Prints {"seconds", "mib"}; is ended by SIGXCPU if the query takes more than `limit` CPU seconds."""
    make_query = {OURS: ours, SKACTIVEML: scikit_activeml, SMALL_TEXT: small_text}[library]
    data = Data.read(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    make_query(name, data.part(WARM), batch)()
    query = make_query(name, data, batch)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # nothing is lying about that the step could use
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to now
    before = _mib("VmRSS")
    first = _seconds(query, 1, limit)
    mib = _mib("VmHWM") - before
    times = max(1, round(SHORT / max(first, 0.001)))  # the clock is too coarse for one short query
    seconds = [first] if times == 1 else []
    while len(seconds) < REPEATS and sum(seconds) < SLOW:
        seconds.append(_seconds(query, times, limit))
    print(json.dumps({"seconds": statistics.median(seconds), "mib": mib}))


def _seconds(query: Callable[[], object], times: int, limit: int) -> float:
    begin = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(begin) + limit, resource.RLIM_INFINITY))
    for _ in range(times):
        query()
    return (time.process_time() - begin) / times


def _mib(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


# The table


class Cell(NamedTuple):
    """One measurement, or why there is none."""

    seconds: float = math.inf
    mib: float = math.inf
    why: str = ""

    def __str__(self) -> str:
        return self.why or f"{self.seconds:.3g} s, {self.mib:,.0f} MiB"


class Runner:
    """Measures steps; one that was too slow is not tried with more."""

    def __init__(self, pythons: dict[str, str], limit: int) -> None:
        self._pythons, self._limit = pythons, limit
        self._slow: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def measure(self, library: str, name: str, folder: Path, size: int, batch: int) -> Cell:
        if any(s <= size and b <= batch for s, b in self._slow.get((library, name), [])):
            return Cell(why=f"not run (> {self._limit} s with less)")
        command = [self._pythons[library], "-m", "benchmarks.acquisition", "--step", library, name, str(folder)]
        command += [str(batch), str(self._limit)]
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        done = subprocess.run(command, check=False, env={**os.environ, **one}, capture_output=True, text=True)
        if done.returncode == -signal.SIGXCPU:
            self._slow.setdefault((library, name), []).append((size, batch))
            return Cell(why=f"> {self._limit} s")
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return Cell(why=f"fails: {(done.stderr.strip().splitlines() or [f'signal {-done.returncode}'])[-1][:60]}")
        return Cell(**json.loads(done.stdout.splitlines()[-1]))


HEAD = f"| strategy | tasks | batch | ours | {SKACTIVEML} | {SMALL_TEXT} | goal |\n|---|---|---|---|---|---|---|"


class Bench:
    """The rows of the table, made one after the other; our own figures stay in `results`."""

    def __init__(self, names: list[str], peers: str, limit: int) -> None:
        self._names, self._peers = names, peers
        self._runner = Runner({OURS: sys.executable, SKACTIVEML: peers, SMALL_TEXT: peers}, limit)
        self.results: dict[tuple[str, int, int], Cell] = {}
        self.data: list[str] = []

    def rows(self, size: int, batches: list[int]) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "data"
            data = make(size)
            self.data.append(describe(data))
            data.write(folder)
            del data
            yield f"| {CUT} | {size:,} | - | {self._runner.measure(OURS, CUT, folder, size, 0)} | | | |"
            for name in self._names:
                if name.startswith("(") and size > PEERS_UP_TO:
                    continue
                for batch in batches:
                    yield self._row(name, folder, size, batch)

    def _row(self, name: str, folder: Path, size: int, batch: int) -> str:
        peers: dict[str, Cell] = {}
        texts: dict[str, str] = {}
        for library, kind in PEERS.get(name, {}).items() if self._peers and size <= PEERS_UP_TO else ():
            if kind in ALL_PAIRS and size > ALL_PAIRS_UP_TO:
                peers[library] = Cell(why="not run (n x n)")
            else:
                peers[library] = self._runner.measure(library, kind, folder, size, batch)
            texts[library] = f"{kind} {peers[library]}"
        mine, goal = "", ""
        if not name.startswith("("):
            cell = self.results[name, size, batch] = self._runner.measure(OURS, name, folder, size, batch)
            mine, goal = str(cell), verdict(size, cell, [*peers.values()])
        columns = [name, f"{size:,}", str(batch), mine, texts.get(SKACTIVEML, ""), texts.get(SMALL_TEXT, ""), goal]
        return f"| {' | '.join(columns)} |"


def verdict(size: int, mine: Cell, peers: list[Cell]) -> str:
    seconds, mib = GOALS.get(size, (math.inf, math.inf))
    fastest = min((cell.seconds for cell in peers), default=math.inf)
    missed = [f"> {seconds:.0f} s"] if mine.seconds > seconds else []
    missed += [f"> {mib:,.0f} MiB"] if mine.mib > mib else []
    missed += ["slower than a peer"] if mine.seconds > fastest else []
    if not missed and size not in GOALS and not peers:
        return ""
    return f"**{', '.join(missed)}**" if missed else "met"


def growth(bench: Bench, names: list[str], sizes: list[int], batches: list[int]) -> Iterator[str]:
    """The sizes beside each other: the exponent of n that fits best, and the growth in parts of that of n log n."""
    sizes = sorted(size for size in sizes if size >= GROWTH_FROM)
    if len(sizes) < 2:
        return
    yield f"| strategy | batch | {' | '.join(f'{size:,}' for size in sizes)} | n to the power of | of n log n | goal |"
    yield "|---|---|" + "---|" * len(sizes) + "---|---|---|"
    first, last = sizes[0], sizes[-1]
    for name in names:
        for batch in batches:
            seconds = [bench.results.get((name, size, batch), Cell()).seconds for size in sizes]
            if not all(map(math.isfinite, seconds)):
                continue
            exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
            share = seconds[-1] / seconds[0] / (last * math.log(last) / (first * math.log(first)))
            found = " | ".join(f"{each:.3g} s" for each in seconds)
            goal = "met" if share <= 1 else "**more**"
            yield f"| {name} | {batch} | {found} | {exponent:.2f} | {share:.2f} | {goal} |"


def plot(file: Path) -> None:
    """Draws {"title", "sizes", "seconds": {name: [...]}} from standard input, with the matplotlib of the peers."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "apprentice"
    from matplotlib import pyplot

    given = json.load(sys.stdin)
    sizes = np.array(given["sizes"], float)
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for number, (name, seconds) in enumerate(sorted(given["seconds"].items(), key=lambda line: -line[1][-1])):
        axes.loglog(sizes, seconds, marker="os^Dvo"[number % 5], label=name)
    slope = sizes * np.log(sizes)
    axes.loglog(sizes, 0.3 * slope / slope[0], "--", color="grey", label="slope of n log n")
    goals = [(size, GOALS[size][0]) for size in given["sizes"] if size in GOALS]
    axes.loglog(*zip(*goals, strict=True), "k_", markersize=24, label="goal")
    axes.set(xlabel="tasks", ylabel="CPU seconds of one query step", title=given["title"])
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--batches", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="the interpreter that has both peers")
    parser.add_argument("--no-peers", dest="peers", action="store_const", const="")
    parser.add_argument("--limit", type=int, default=30, help="CPU seconds of a step")
    parser.add_argument("--save", action="store_true", help="write table and plot beside this file, under today's date")
    parser.add_argument("--step", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--plot", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        library, name, folder, batch, limit = options.step
        return step(library, name, Path(folder), int(batch), int(limit))
    if options.plot:
        return plot(options.plot)
    if options.peers and not Path(options.peers).is_file():
        parser.error(f"there is no {options.peers}: `make bench-acquisition` makes it, and --no-peers does without")

    from ml_backend import registry

    installed = registry.installed("acquisition")
    names = [name for name in PEERS if name in installed or (name.startswith("(") and options.peers)]
    names += sorted(set(installed) - set(names))
    bench = Bench(names, options.peers, options.limit)
    lines = [HEAD]
    print(HEAD, flush=True)
    for size in options.sizes:
        for row in bench.rows(size, options.batches):
            lines.append(row)
            print(row, flush=True)
    grown = [*growth(bench, names, options.sizes, options.batches)]
    print("", *grown, "", *bench.data, sep="\n")
    if options.save:
        save(lines, grown, bench, options)
    return None


def save(lines: list[str], grown: list[str], bench: Bench, options: argparse.Namespace) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    file = Path(__file__).with_name(f"{today}-acquisition.md")
    given = [argument for argument in sys.argv[1:] if argument != "--save"]
    command = f"python -m benchmarks.acquisition {' '.join(given)}" if given else "make bench-acquisition"
    text = f"# The acquisition strategies, {today}\n\n`{command}` on {platform.machine()}: "
    text += "CPU seconds of one query step on one thread, and by how much it raised\nthe peak of the process's memory. "
    text += f"{DIMENSION} dimensions, {CLASSES} classes, {LABELLED} labels.\n\n"
    text += "\n".join([*lines, "", "## Growth", "", *grown, ""])
    sizes = sorted(size for size in options.sizes if size >= GROWTH_FROM)
    batch = options.batches[-1]
    if options.peers and len(sizes) > 1:
        seconds = {name: [] for name, _, _ in bench.results}
        for name, found in seconds.items():
            found += [bench.results[name, size, batch].seconds for size in sizes]
        drawn = {"title": f"{batch} tasks of a pool, one thread", "sizes": sizes, "seconds": seconds}
        picture = file.with_suffix(".svg")
        plotting = [options.peers, "-m", "benchmarks.acquisition", "--plot", str(picture)]
        subprocess.run(plotting, input=json.dumps(drawn), text=True, check=True)
        text += f"\n![Seconds by size]({picture.name})\n"
    file.write_text(text + "\n## The vectors\n\n" + "\n".join(f"- {line}" for line in bench.data) + "\n")


if __name__ == "__main__":
    main()
