"""A learner whose drafts are checked, wherever they are used: shown, compared by the promotion gate, or reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Rows, Tensors, TrainingSet, object_rows
from ml_backend.core.draft_checks import NO_RULES, DraftRules, draft_problem, rules_of
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.core.texts import Texts

PREFIX = "checks."
KEEPS_LENGTH, PHRASES = f"{PREFIX}keeps_length", f"{PREFIX}phrases"
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
        rules = rules_of([sources[row] for row in used], [train.targets[row][0] for row in used])
        return replace(
            fit,
            tensors={**fit.tensors, KEEPS_LENGTH: np.array([rules.keeps_length]), PHRASES: rules.phrases},
            held_out=checked(fit.held_out, sources, rules),
            held_out_earlier=None if fit.held_out_earlier is None else checked(fit.held_out_earlier, sources, rules),
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
        return checked(predicted, texts(np.arange(len(predicted))), rules_in(tensors))


def rules_in(tensors: Tensors) -> DraftRules:
    """The rules in the tensors of a `CheckedLearner`; those without accepted texts for other tensors."""
    if PHRASES not in tensors:
        return NO_RULES
    return DraftRules(bool(tensors[KEEPS_LENGTH].all()), np.asarray(tensors[PHRASES], np.uint64))


def checked(predicted: Rows, sources: Sequence[str], rules: DraftRules, *, may_leak: bool = False) -> Rows:
    """The predictions (n,) with the code of each draft's problem."""
    pairs = zip(predicted, sources, strict=True)
    return object_rows(
        [row and (*row[:4], draft_problem(row[0], source, rules, may_leak=may_leak)) for row, source in pairs]
    )


def _without_rules(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
