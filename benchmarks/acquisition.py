"""`make bench-acquisition`: one query step of every strategy, beside scikit-activeml and small-text in the same run.

    python -m benchmarks.acquisition [--peers PYTHON | --no-peers] [--sizes ...] [--batches 20 200] [--save]

Each figure is of a process of its own, on the same vectors: CPU seconds of all threads (median of 3; 1 if slow), and
by how much the step raised the peak of the process's memory. What is no part of the query is not timed: imports, a
first small query, the fit (peers get a classifier that has its answers ready), the vectors. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.mixture import CLASSES, DIMENSION, LABELLED, Data, make
from benchmarks.queries import ALL_PAIRS, CUT, OURS, PEERS, SKACTIVEML, SMALL_TEXT
from benchmarks.steps import Cell, Runner, step

# a step may run in the peers' environment without our packages, so they are imported where they are used

PEERS_UP_TO, ALL_PAIRS_UP_TO = 100_000, 20_000
GROWTH_FROM = 100_000
GOALS = {100_000: (1.0, 400.0), 1_000_000: (10.0, 3 * 1024.0)}
"""size -> CPU seconds and MiB that one of our strategies may take."""
HEAD = f"| strategy | tasks | batch | ours | {SKACTIVEML} | {SMALL_TEXT} | goal |\n|---|---|---|---|---|---|---|"


def describe(data: Data) -> str:
    cosines = data.vectors[:1000] @ data.vectors[:PEERS_UP_TO].T  # all pairs of a million vectors would take gigabytes
    nearest = np.partition(cosines, -2, axis=1)[:, -2]
    return (
        f"{len(data.vectors):,} vectors: cosine of two {cosines.mean():.2f} (standard deviation {cosines.std():.2f}), "
        f"to the nearest {np.median(nearest):.2f}; the likeliest class has {data.probabilities.max(axis=1).mean():.2f}"
    )


class Bench:
    """Measures the rows of the table one after the other, and stores our own figures in `results`."""

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
        own_figure, goal = "", ""
        if not name.startswith("("):
            cell = self.results[name, size, batch] = self._runner.measure(OURS, name, folder, size, batch)
            own_figure, goal = str(cell), verdict(size, cell, [*peers.values()])
        columns = [
            name,
            f"{size:,}",
            str(batch),
            own_figure,
            texts.get(SKACTIVEML, ""),
            texts.get(SMALL_TEXT, ""),
            goal,
        ]
        return f"| {' | '.join(columns)} |"


def verdict(size: int, own_cell: Cell, peers: list[Cell]) -> str:
    seconds, mib = GOALS.get(size, (math.inf, math.inf))
    fastest = min((cell.seconds for cell in peers), default=math.inf)
    missed = [f"> {seconds:.0f} s"] if own_cell.seconds > seconds else []
    missed += [f"> {mib:,.0f} MiB"] if own_cell.mib > mib else []
    missed += ["slower than a peer"] if own_cell.seconds > fastest else []
    if not missed and size not in GOALS and not peers:
        return ""
    return f"**{', '.join(missed)}**" if missed else "met"


def growth(bench: Bench, names: list[str], sizes: list[int], batches: list[int]) -> Iterator[str]:
    """Yields table rows: seconds by size, the best-fitting exponent of n, and the growth relative to n log n."""
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
            text = " | ".join(f"{value:.3g} s" for value in seconds)
            goal = "met" if share <= 1 else "**more**"
            yield f"| {name} | {batch} | {text} | {exponent:.2f} | {share:.2f} | {goal} |"


def plot(file: Path) -> None:
    """Plots {"title", "sizes", "seconds": {name: [...]}} from standard input. Needs the peers' environment."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "apprentice"
    from matplotlib import pyplot

    data = json.load(sys.stdin)
    sizes = np.array(data["sizes"], float)
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for number, (name, seconds) in enumerate(sorted(data["seconds"].items(), key=lambda line: -line[1][-1])):
        axes.loglog(sizes, seconds, marker="os^Dvo"[number % 5], label=name)
    slope = sizes * np.log(sizes)
    axes.loglog(sizes, 0.3 * slope / slope[0], "--", color="grey", label="slope of n log n")
    goals = [(size, GOALS[size][0]) for size in data["sizes"] if size in GOALS]
    axes.loglog(*zip(*goals, strict=True), "k_", markersize=24, label="goal")
    axes.set(xlabel="tasks", ylabel="CPU seconds of one query step", title=data["title"])
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

    from ml_backend.core import registry

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
    arguments = [argument for argument in sys.argv[1:] if argument != "--save"]
    command = f"python -m benchmarks.acquisition {' '.join(arguments)}" if arguments else "make bench-acquisition"
    text = f"# The acquisition strategies, {today}\n\n`{command}` on {platform.machine()}: "
    text += "CPU seconds of one query step on one thread, and by how much it raised\nthe peak of the process's memory. "
    text += f"{DIMENSION} dimensions, {CLASSES} classes, {LABELLED} labels.\n\n"
    text += "\n".join([*lines, "", "## Growth", "", *grown, ""])
    sizes = sorted(size for size in options.sizes if size >= GROWTH_FROM)
    batch = options.batches[-1]
    if options.peers and len(sizes) > 1:
        seconds: dict[str, list[float]] = {name: [] for name, _, _ in bench.results}
        for name, values in seconds.items():
            values += [bench.results[name, size, batch].seconds for size in sizes]
        drawn = {"title": f"{batch} tasks of a pool, one thread", "sizes": sizes, "seconds": seconds}
        picture = file.with_suffix(".svg")
        plotting = [options.peers, "-m", "benchmarks.acquisition", "--plot", str(picture)]
        subprocess.run(plotting, input=json.dumps(drawn), text=True, check=True)
        text += f"\n![Seconds by size]({picture.name})\n"
    file.write_text(text + "\n## The vectors\n\n" + "\n".join(f"- {line}" for line in bench.data) + "\n")


if __name__ == "__main__":
    main()
