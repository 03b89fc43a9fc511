"""The answers judged by learners that did not have them, nor anything that was chosen because of them.

Acquisition avoids what was answered before, so that a cross-validated learner lacks the neighbours of the very row that
it is judged by: of a strategy that asks for what it is sure of, the estimate was thirty points too high. An audited
task is a random one for learners of the answers before it, whatever acquisition does afterwards (prequential: Dawid,
"Statistical Theory: The Prequential Approach", JRSS A, 1984).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml_backend.core.ports import Learner
from ml_backend.core.types import Estimate, Floats, Ints, Mask, TrainingSet
from ml_backend.evaluation.metrics import ENOUGH, correct, wilson

FEWEST = 4
"""Audited answers that are judged by the same learners, and that the smallest learner has."""


def blocks(places: Ints, first: int) -> Iterator[Ints]:
    """`places` (a,) from number `first` on, in order; a block grows with the answers before it, as learners change ever
    more slowly."""
    while first < len(places):
        judged = places[first : first + max(FEWEST, first // 5)]
        yield judged
        first += len(judged)


def right(learner: Learner, train: TrainingSet, known: Ints, judged: Ints, seed: int) -> Mask:
    """(m,) bool: which of the rows `judged` (m,) the learner of the rows `known` gets right."""
    some = TrainingSet(
        train.vectors[known], train.targets[known], train.weights[known], train.multiple, priors=train.priors
    )
    said: Floats = learner.predict(learner.fit(some, seed).tensors, train.vectors[judged])
    return correct(said, train.targets[judged], train.multiple)


def accuracy(learner: Learner, train: TrainingSet, audited: Mask, seed: int) -> Estimate | None:
    """How often drafts were right of late: of the later half of the audited rows (n,) of `train`, which are in
    answering order, but of at least ENOUGH; None with fewer.

    Unbiased for the learners of that time. The one of today has learnt more, and so is better rather than worse. Costs
    a fit for each block: at 40 audited answers five, at 400 four.
    """
    places = np.flatnonzero(audited)
    first = min(len(places) // 2, len(places) - ENOUGH)
    if first < FEWEST:
        return None
    found = [right(learner, train, np.arange(judged[0]), judged, seed) for judged in blocks(places, first)]
    hits = np.concatenate(found)
    source = f"audit slice, each answer judged by a learner of those before it, {places[first]} to {places[-1]}"
    return wilson(int(hits.sum()), len(hits), source)
