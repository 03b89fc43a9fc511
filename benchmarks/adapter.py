"""A language model that is fine-tuned on accepted texts at each milestone: what it costs, and how near its drafts for
held-out sources are to the texts that people wrote.

    nice python -m benchmarks.adapter --model <name, folder or .gguf> --milestones 50 100 200 --rows 100

The set is paradetox (Logacheva et al., ACL 2022), rewritten toxic comments with one to three rewrites each, from the
folder `generation` of the benchmarks' data. One core; CPU seconds of this process. The peak of the memory counts what
the process holds at most, with the weights of the base model.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import table
from benchmarks.data import DATA
from ml_backend.core.arrays import Tensors
from ml_backend.core.draft_checks import draft_problem, is_copy, rules_of
from ml_backend.core.word_distance import nearest_closeness, word_edits
from plugins.writers.adapter.base_model import load_base
from plugins.writers.adapter.fine_tuning import encoded_pairs, epochs_from, fine_tune
from plugins.writers.adapter.generation import GeneratedText, generate
from plugins.writers.adapter.memory import limit_memory
from plugins.writers.adapter.prompts import Prompts, instruction_for
from plugins.writers.adapter.training import TrainingPlan

SEED = 0


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A toxic comment and the rewrites by people."""

    source: str
    accepted: tuple[str, ...]


def load_rewrites() -> list[Rewrite]:
    """The rows of paradetox, in an order that is drawn with a fixed seed."""
    with (DATA / "generation" / "paradetox.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    texts = [[text for text in row if text.strip()] for row in rows]
    rewrites = [Rewrite(source, tuple(accepted)) for source, *accepted in filter(None, texts) if accepted]
    return [rewrites[i] for i in np.random.default_rng(SEED).permutation(len(rewrites))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--milestones", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--rows", type=int, default=100, help="held-out sources")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    limit_memory()
    rewrites = load_rewrites()
    pool, held_out = rewrites[: max(options.milestones)], rewrites[-options.rows :]
    copies = [GeneratedText(row, rewrite.source, 0.0) for row, rewrite in enumerate(held_out)]
    head = ["accepted pairs", "steps", "training s", "s a step", "s a draft", "peak GB", *QUALITY]
    print(table(head, [["copy of the source", "", "", "", "", "", *_quality(copies, held_out, pool)]]))
    with tempfile.TemporaryDirectory() as folder:
        for row in _milestones(options.model, pool, held_out, options.milestones, Path(folder)):
            print(table(head, [row]), flush=True)


def _milestones(
    name: str, pool: Sequence[Rewrite], held_out: Sequence[Rewrite], milestones: Sequence[int], folder: Path
) -> Iterator[list[str]]:
    """A row of the table for each milestone, whose training starts from the adapter of the one before."""
    adapter: Tensors | None = None
    for n in milestones:
        base = load_base(name, Path(tempfile.gettempdir()) / "adapter-cache")
        prompts = Prompts(base.tokenizer, base.is_seq2seq, instruction_for("rewrite"))
        pairs = encoded_pairs(prompts, *_columns(pool[:n]))
        steps = 0

        def count(step: int, n_steps: int, loss: float) -> bool:
            nonlocal steps
            steps = n_steps
            print(f"step {step} of {n_steps}, loss {loss:.3f}", flush=True)
            return True

        start = time.process_time()
        plan = TrainingPlan(epochs_from(adapter), SEED)
        result = fine_tune(base, pairs, plan, folder / "checkpoint", earlier=adapter, may_continue=count)
        assert result is not None
        model, adapter = result
        trained = time.process_time() - start
        start = time.process_time()
        drafts = list(generate(base, model, prompts, [rewrite.source for rewrite in held_out]))
        drafted = time.process_time() - start
        costs = [f"{trained:.0f}", f"{trained / steps:.2f}", f"{drafted / len(held_out):.2f}", f"{_peak_gb():.2f}"]
        yield [str(n), str(steps), *costs, *_quality(drafts, held_out, pool[:n])]
        del base, model, result


def _columns(rewrites: Sequence[Rewrite]) -> tuple[list[str], list[str], list[float]]:
    """The sources, the first rewrite of each, and the weights."""
    sources, texts = [rewrite.source for rewrite in rewrites], [rewrite.accepted[0] for rewrite in rewrites]
    return sources, texts, [1.0] * len(rewrites)


QUALITY = ["closeness", "words edited", "words saved", "accepted", "copies", "refused", "r(doubt, edits)"]


def _quality(drafts: Sequence[GeneratedText], held_out: Sequence[Rewrite], pool: Sequence[Rewrite]) -> list[Any]:
    """Mean closeness and words to the nearest rewrite; the words that the drafts save, as a share of those that a copy
    costs; the shares of drafts that are a rewrite, a copy, and refused by the checks; and the rank correlation of the
    doubt with the words. A refused draft counts as a copy of the source."""
    from scipy.stats import spearmanr

    sources, texts, _ = _columns(pool)
    rules = rules_of(sources, texts)
    by_row = sorted(drafts, key=lambda draft: draft.row)
    problems = [draft_problem(d.text, r.source, rules, may_leak=True) for d, r in zip(by_row, held_out, strict=True)]
    shown = [r.source if p else d.text for d, r, p in zip(by_row, held_out, problems, strict=True)]
    edits = np.array([_edits(text, rewrite) for text, rewrite in zip(shown, held_out, strict=True)])
    of_copies = np.array([_edits(rewrite.source, rewrite) for rewrite in held_out])
    doubts = [draft.doubt for draft in by_row]
    correlation = spearmanr(doubts, edits).statistic if len({*doubts}) > 1 else float("nan")
    return [
        f"{nearest_closeness(shown, [rewrite.accepted for rewrite in held_out]).mean():.3f}",
        f"{edits.mean():.2f}",
        f"{1 - edits.sum() / of_copies.sum():.2f}",
        f"{np.mean(edits == 0):.2f}",
        f"{np.mean([is_copy(text, rewrite.source) for text, rewrite in zip(shown, held_out, strict=True)]):.2f}",
        f"{np.mean([bool(problem) for problem in problems]):.2f}",
        f"{correlation:.2f}",
    ]


def _edits(text: str, rewrite: Rewrite) -> int:
    return min(word_edits(text, other) for other in rewrite.accepted)


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
