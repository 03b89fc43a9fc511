"""Prequential accuracy: audited answers, judged by learners of the answers before them.

Acquisition avoids tasks like those already answered, so that a cross-validated learner lacks the neighbours of the very
row that it is judged on. It may also choose tasks because of an audited answer: for a strategy that chooses tasks whose
label it is sure of, the cross-validated estimate was thirty points too high. An audited task is a random one for
learners of the answers before it, whatever acquisition does afterwards (prequential: Dawid, "Statistical Theory: The
Prequential Approach", JRSS A, 1984).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints, Mask, Rows, TrainingSet
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY, RowScorer, RowWeigher, mean_score

MIN_BLOCK_ANSWERS = 4
"""Audited answers, at least, that the same learner judges, and that the smallest learner was fitted on."""


def blocks(audited_rows: Ints, start: int) -> Iterator[Ints]:
    """The `audited_rows` (a,) from index `start` on, in order, in blocks. A block grows with the number of audited
    answers before it, because learners change ever more slowly."""
    while start < len(audited_rows):
        block = audited_rows[start : start + max(MIN_BLOCK_ANSWERS, start // 5)]
        yield block
        start += len(block)


def judge_rows(
    learner: Learner, train: TrainingSet, fitted_rows: Ints, judged_rows: Ints, seed: int, score: RowScorer
) -> npt.NDArray[np.float64]:
    """(m,) the scores of the drafts for the rows `judged_rows` (m,) by a learner that is fitted on `fitted_rows`."""
    return score(_predict(learner, train, fitted_rows, judged_rows, seed), train.targets[judged_rows])


def _predict(learner: Learner, train: TrainingSet, fitted_rows: Ints, judged_rows: Ints, seed: int) -> Rows:
    """(m, ...) the predictions for the rows `judged_rows` (m,) by a learner that is fitted on `fitted_rows`."""
    subset = replace(train.take(fitted_rows), earlier=None, earlier_tensors=None, prior_selection_mask=None)
    tensors = learner.fit(subset, seed).tensors
    return predict_rows(learner, tensors, train.vectors[judged_rows], train.texts_of(judged_rows))


def prequential_accuracy(
    learner: Learner,
    train: TrainingSet,
    audited: Mask,
    seed: int,
    score: RowScorer,
    weigh: RowWeigher = lambda predicted, targets: None,
) -> Estimate | None:
    """How often recent drafts were right, or their mean score: on the later half of the audited rows (n,) of `train`,
    which are in answering order, but on at least MIN_ANSWERS_FOR_ACCURACY of them; None if there are too few.

    Unbiased for the learners of that time. Today's learner was fitted on more answers, so it is rather better than
    worse. Costs one fit for each block: five at 40 audited answers, four at 400.
    """
    audited_rows = np.flatnonzero(audited)
    start = min(len(audited_rows) // 2, len(audited_rows) - MIN_ANSWERS_FOR_ACCURACY)
    if start < MIN_BLOCK_ANSWERS:
        return None
    predicted = np.concatenate(
        [_predict(learner, train, np.arange(block[0]), block, seed) for block in blocks(audited_rows, start)]
    )
    targets = train.targets[audited_rows[start:]]
    details = {"fewest": int(audited_rows[start]), "most": int(audited_rows[-1])}
    source = EstimateSource.AUDIT_SAMPLE_PREQUENTIAL
    return mean_score(score(predicted, targets), weigh(predicted, targets), source, details)
