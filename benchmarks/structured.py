"""Drafts of ratings and of taxonomies, against drafts that ignore the order or the hierarchy.

    python -m benchmarks.structured [--seeds 10] [--save]

The default learner and encoder, fitted on random rows without a prior, and measured on test rows. All drafts of a row
come from the same probabilities: what differs is the decision. The rule for taxonomies was chosen on TREC.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.arms import publish, spread, table
from benchmarks.data import CACHE, DATA, encoded
from benchmarks.joint_queue import ControlsSet, Labelled, class_and_subclass, domain_and_intent
from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Mask, TrainingSet
from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import record_text
from ml_backend.evaluation.metrics import decide_labels
from ml_backend.evaluation.structured_metrics import hierarchical_f1, mean_absolute_distance, quadratic_weighted_kappa
from ml_backend.kinds.choices.hierarchy import consistent_decisions
from ml_backend.kinds.choices.scoring import decide
from ml_backend.label_studio.label_config import read_schema

SIZES = (50, 100, 200, 500)
OURS = "ours"
Metrics = Mapping[str, Callable[[Mask, Mask], float]]
"""Each metric from the drafts and the annotators' labels, (n, c) each."""
Drafter = Callable[[Floats], Mask]
"""Decides for labels (n, c) from probabilities (n, c)."""


@dataclass(frozen=True)
class StructuredSet:
    """Tasks with labels of one control: vectors (n, d), targets (n, c). `learner`: the default one for such tasks;
    `drafters`: those to compare ours with."""

    name: str
    control: ChoicesSchema
    train: tuple[Floats, Floats]
    test: tuple[Floats, Floats]
    metrics: Metrics
    drafters: Mapping[str, Drafter]
    learner: str


def similarity() -> StructuredSet:
    """STS benchmark: the similarity of two texts, rounded, as a rating from 1 to 6."""
    texts = ("first", "second")
    objects = "".join(f'<Text name="{name}" value="${name}"/>' for name in texts)
    config = f'<View>{objects}<Rating name="similarity" toName="first" maxRating="6"/></View>'
    control = _control_of(config)
    pairs = {part: _pairs(part) for part in ("train", "test")}
    records = [dict(zip(texts, pair, strict=True)) for pair, _ in pairs["train"]]
    encoder = registry.record_encoder(registry.profile(records, dict.fromkeys(texts, "text"), "minilm"), "minilm")

    def encoded_part(part: str) -> tuple[Floats, Floats]:
        file = CACHE / f"stsb-{part}-{encoder.name}.npy"
        if not file.is_file():
            np.save(file, encoder.encode([record_text(dict(zip(texts, pair, strict=True))) for pair, _ in pairs[part]]))
        places = [round(score) for _, score in pairs[part]]
        return np.load(file), np.eye(len(control.labels), dtype=np.float32)[places]

    def kappa(drafts: Mask, expected: Mask) -> float:
        return 100 * quadratic_weighted_kappa(drafts.argmax(axis=1), expected.argmax(axis=1), drafts.shape[1])

    def distance(drafts: Mask, expected: Mask) -> float:
        return 100 * mean_absolute_distance(drafts.argmax(axis=1), expected.argmax(axis=1))

    metrics = {"mean distance, hundredths": distance, "weighted kappa, hundredths": kappa}
    most_probable = {"most probable, without the order": lambda probabilities: decide_labels(probabilities, False)}
    train, test = encoded_part("train"), encoded_part("test")
    return StructuredSet("stsb, a rating", control, train, test, metrics, most_probable, "tabular")


def _control_of(config: str) -> ChoicesSchema:
    [control] = read_schema(config).controls
    assert isinstance(control, ChoicesSchema)
    return control


def _pairs(part: str) -> list[tuple[tuple[str, str], float]]:
    with (DATA / "text" / "stsb" / f"sts-{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [((row[5], row[6]), float(row[4])) for row in rows]


def taxonomy(controls_set: ControlsSet, branch_control: str, leaf_control: str) -> StructuredSet:
    """A taxonomy of two levels: the labels of one control, and below each those of another one that occur with it."""
    branches = {labels[leaf_control]: labels[branch_control] for _, labels in controls_set.train}
    tree = "".join(
        f'<Choice value="{branch}">'
        + "".join(f'<Choice value="{leaf}"/>' for leaf in sorted(branches) if branches[leaf] == branch)
        + "</Choice>"
        for branch in sorted({*branches.values()})
    )
    config = f'<View><Text name="text" value="$text"/><Taxonomy name="topic" toName="text">{tree}</Taxonomy></View>'
    control = _control_of(config)
    row_by_path = {path: row for row, path in enumerate(map(tuple, control.stored))}

    def part(rows: Sequence[Labelled]) -> tuple[Floats, Floats]:
        targets = np.zeros((len(rows), len(control.labels)), np.float32)
        for row, (_, labels) in enumerate(rows):
            branch, leaf = labels[branch_control], labels[leaf_control]
            targets[row, [row_by_path[(branch,)], row_by_path[branch, leaf]]] = 1
        return encoded([text for text, _ in rows]), targets

    def f1(drafts: Mask, expected: Mask) -> float:
        return 100 * hierarchical_f1(drafts, expected, control.parents)

    def inconsistent(drafts: Mask, _: Mask) -> float:
        kept = consistent_decisions(drafts, drafts.astype(np.float32), control)
        return 100 * float((kept != drafts).any(axis=1).mean())

    def exact(drafts: Mask, expected: Mask) -> float:
        return 100 * float((drafts == expected).all(axis=1).mean())

    metrics = {"hierarchical F1": f1, "exactly right, %": exact, "child without its parent, %": inconsistent}
    drafters = {
        "without the hierarchy": lambda probabilities: decide_labels(probabilities, True),
        "top-down": lambda probabilities: _top_down(decide_labels(probabilities, True), control),
    }
    return StructuredSet(
        f"{controls_set.name}, a taxonomy", control, part(controls_set.train), part(controls_set.test), metrics,
        drafters, "logistic",
    )  # fmt: skip


def _top_down(chosen: Mask, control: ChoicesSchema) -> Mask:
    """Drops the labels of which an ancestor is not chosen."""
    kept = chosen.copy()
    for label, parent in enumerate(control.parents):
        if parent >= 0:
            kept[:, label] &= kept[:, parent]
    return kept


def report(structured: StructuredSet, seeds: int) -> str:
    """Returns the table of one set: each metric by number of labels and way of drafting."""
    control, learner = structured.control, registry.learner(structured.learner)
    drafters: dict[str, Drafter] = {OURS: lambda probabilities: decide(probabilities, control), **structured.drafters}
    values: dict[tuple[str, str, int], list[float]] = {}
    vectors, targets = structured.train
    test_vectors, test_targets = structured.test
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(vectors))
        for n in SIZES:
            rows = np.sort(order[:n])
            train = TrainingSet(
                vectors[rows], targets[rows], np.ones(n, np.float32), ChoicesSchema("", "", multiple=control.multiple)
            )
            probabilities = learner.predict(learner.fit(train, seed).tensors, test_vectors)
            for drafter, draft in drafters.items():
                drafts = draft(probabilities)
                for metric, measure in structured.metrics.items():
                    values.setdefault((metric, drafter, n), []).append(measure(drafts, test_targets > 0.5))
    lines = [
        [metric, drafter, *(spread(values[metric, drafter, n]) for n in SIZES)]
        for metric in structured.metrics
        for drafter in drafters
    ]
    head = f"## {structured.name}: {len(vectors):,} tasks, {len(test_vectors):,} test rows, {targets.shape[1]} labels"
    return f"{head}\n\n{table(['metric', 'draft', *(f'{n} labels' for n in SIZES)], lines)}"


SETS: Sequence[Callable[[], StructuredSet]] = (
    similarity,
    lambda: taxonomy(domain_and_intent(), "domain", "intent"),
    lambda: taxonomy(class_and_subclass(), "class", "subclass"),
)


def pages(seeds: int) -> Iterator[str]:
    import torch

    torch.set_num_threads(1)
    yield from (report(load(), seeds) for load in SETS)


if __name__ == "__main__":
    publish("structured", "Drafts of ratings and taxonomies", 10, pages, "errors and scores in hundredths")
