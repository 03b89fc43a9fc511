"""How well the attribute model `pairs` tells fresh sources from accepted texts: `python -m benchmarks.attribute`.

The model is fitted on rows of the pool of `benchmarks.generation`, and judges its development rows.
"""

from __future__ import annotations

import argparse
import datetime
import time

import numpy as np

from benchmarks.arms import print_page, table
from benchmarks.generation import load
from ml_backend.core import registry
from ml_backend.core.arrays import AttributeFit
from ml_backend.kinds.text.attribute import attribute_auc

BUDGETS = (25, 50, 100, 200)


def measure(seed: int, budget: int) -> tuple[float, float, float, float]:
    """The AUC on the development rows, the AUC that a project is shown, the seconds of the fit, and the milliseconds
    in which a text is judged."""
    pool, fresh = load()["pool"], load()["development"]
    rows = np.random.default_rng(seed).permutation(len(pool.sources))[:budget].tolist()
    model = registry.attribute_model("pairs")
    started = time.process_time()
    fit = model.fit([pool.sources[row] for row in rows], [pool.accepted[row][0] for row in rows])
    seconds = time.process_time() - started
    texts = fresh.sources, [accepted[0] for accepted in fresh.accepted]
    started = time.process_time()
    failures = [model.failure_probabilities(fit.tensors, part) for part in texts]
    milliseconds = (time.process_time() - started) * 1000 / (2 * len(fresh.sources))
    fresh_auc = attribute_auc(AttributeFit(fit.tensors, *failures)).value
    return fresh_auc, attribute_auc(fit).value, seconds, milliseconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the table beside this file, under today's date")
    options = parser.parse_args()
    measure(0, BUDGETS[0])  # imports
    rows = []
    for budget in BUDGETS:
        measured = np.array([measure(seed, budget) for seed in range(options.seeds)])
        spread = [f"{low:.3f} to {high:.3f}" for low, high in zip(measured.min(0), measured.max(0), strict=True)]
        means = measured.mean(0)
        rows.append(
            [str(budget), f"{means[0]:.3f} ({spread[0]})", f"{means[1]:.3f} ({spread[1]})", f"{means[2]:.2f}",
             f"{means[3]:.2f}"]
        )  # fmt: skip
    today = datetime.datetime.now(datetime.UTC).date()
    head = (
        f"# The attribute model `pairs`, {today}\n\n`python -m benchmarks.attribute --seeds {options.seeds}`. "
        "ParaDetox, fitted on rows of the pool; AUC on the development rows, and as projects are shown it, on their "
        "own pairs, held out: means, with the lowest and the highest seed. CPU seconds of one core.\n\n"
    )
    names = ["accepted pairs", "AUC, fresh pairs", "AUC, held out", "seconds a fit", "milliseconds a text"]
    print_page("attribute", head + table(names, rows), is_saved=options.save)


if __name__ == "__main__":
    main()
