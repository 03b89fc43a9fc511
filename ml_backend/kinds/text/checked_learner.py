"""A learner whose drafts are checked, wherever they are used: shown, compared by the promotion gate, or reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Rows, Tensors, TrainingSet, object_rows
from ml_backend.core.draft_checks import NO_RULES, DraftRules, attribute_problem, draft_problem, rules_of
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.core.texts import Texts
from ml_backend.core.word_distance import kept_words
from ml_backend.kinds.text.attribute import AttributeJudge, fitted_judge, judge_in, packed
from ml_backend.kinds.text.values import Predicted

PREFIX = "checks."
KEEPS_LENGTH, PHRASES, IS_JUDGED = f"{PREFIX}keeps_length", f"{PREFIX}phrases", f"{PREFIX}is_judged"
"""Names of tensors, which are added to those of the learner."""


class CheckedLearner:
    """Learns to write with any learner, and marks the drafts that are not to be shown."""

    reads_texts: Literal[True] = True

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits the learner, and finds the rules for its drafts in the accepted texts. Raises ValueError without
        texts."""
        if train.texts is None:
            raise ValueError("A learner of texts reads the texts of the tasks, and got none")
        earlier = train.earlier_tensors
        fit = self._learner.fit(
            replace(train, earlier_tensors=None if earlier is None else _without_rules(earlier)), seed
        )
        sources = train.texts(np.arange(len(train.targets)))
        used = np.flatnonzero(train.weights > 0).tolist()
        pairs = [sources[row] for row in used], [train.targets[row][0] for row in used]
        rules, judge = rules_of(*pairs), fitted_judge(train.draft_rule, *pairs, judge_in(earlier or {}))
        is_judged = judge is not None and judge.is_used(train.draft_rule)
        tensors = {
            **fit.tensors,
            **packed(judge),
            KEEPS_LENGTH: np.array([rules.keeps_length]),
            PHRASES: rules.phrases,
            IS_JUDGED: np.array([is_judged]),
        }
        earlier_held_out = fit.held_out_earlier
        return replace(
            fit,
            tensors=tensors,
            held_out=checked(fit.held_out, sources, tensors),
            held_out_earlier=None if earlier_held_out is None else checked(earlier_held_out, sources, tensors),
        )

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """As the learner."""
        return self._learner.distil(data, seed)

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        """The checked drafts of n tasks. Raises ValueError without texts."""
        if texts is None:
            raise ValueError("A learner of texts reads the texts of the tasks, and got none")
        texts = texts.kept()
        predicted = predict_rows(self._learner, _without_rules(tensors), vectors, texts)
        return checked(predicted, texts(np.arange(len(predicted))), tensors)


def rules_in(tensors: Tensors) -> DraftRules:
    """The rules in the tensors of a `CheckedLearner`; those without accepted texts for other tensors."""
    if PHRASES not in tensors:
        return NO_RULES
    return DraftRules(bool(tensors[KEEPS_LENGTH].all()), np.asarray(tensors[PHRASES], np.uint64))


def used_judge(tensors: Tensors) -> AttributeJudge | None:
    """The attribute model that judges drafts, in the tensors of a `CheckedLearner`."""
    return judge_in(tensors) if IS_JUDGED in tensors and tensors[IS_JUDGED].all() else None


def checked(predicted: Rows, sources: Sequence[str], tensors: Tensors, *, may_leak: bool = False) -> Rows:
    """The predictions (n,) with the code of each draft's problem and, if an attribute model judges the drafts, the
    probability that the attribute fails. `tensors`: those of a `CheckedLearner`, or {}"""
    rules, judge = rules_in(tensors), used_judge(tensors)
    rows = [
        row and (*row[:4], draft_problem(row[0], source, rules, may_leak=may_leak))
        for row, source in zip(predicted, sources, strict=True)
    ]
    return object_rows(rows if judge is None else _judged(rows, sources, judge))


def _judged(rows: Sequence[Predicted | None], sources: Sequence[str], judge: AttributeJudge) -> list[Predicted | None]:
    """Rows of predictions with the judgement of an attribute model."""
    drafts = judge.failures([row[0] if row else "" for row in rows]).tolist()
    pairs = zip(rows, sources, drafts, judge.failures(sources).tolist(), strict=True)
    return [row and _with_judgement(row, source, *failures) for row, source, *failures in pairs]


def _with_judgement(row: Predicted, source: str, draft_failure: float, source_failure: float) -> Predicted:
    """A row with the problem that an attribute model finds, unless it has another one. A draft with a problem, or
    without a word of its source, counts as failed: models pass an empty text, or one such as "removed"."""
    draft, _, _, is_copy, problem = row
    problem = problem or attribute_problem(draft_failure, source_failure, is_copy=is_copy)
    return (*row[:4], problem, 1.0 if problem or not kept_words(draft, source) else draft_failure)


def _without_rules(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
