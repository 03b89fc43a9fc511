"""Aggregates the labels of several annotators into one target by majority vote; a tie becomes a soft label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import Label


def aggregate_labels(control: ChoicesSchema, labels: Sequence[Label]) -> Floats | None:
    """(c,) float32: the target of one task from one label of each annotator, None if no label counts. Labels that are
    no longer in the schema are ignored. With several choices, an empty label means that no choice applies, unless it
    could not be read."""
    votes = [vote for label in labels if (vote := _vote(control, label)) is not None]
    if not votes:
        return None
    shares = np.mean(votes, axis=0)
    if control.multiple:
        return np.where(shares == 0.5, 0.5, shares > 0.5).astype(np.float32)
    winners = (shares == shares.max()).astype(np.float32)
    return np.asarray(winners / winners.sum())


def _vote(control: ChoicesSchema, label: Label) -> Floats | None:
    """(c,) float32: the vote of one annotation, None if it does not count."""
    columns = [control.labels.index(choice) for choice in label.value if choice in control.labels]
    if not label.is_read or (not columns and (label.value or not control.multiple)):
        return None
    vote = np.zeros(len(control.labels), np.float32)
    vote[columns] = 1.0 if control.multiple else 1.0 / len(columns)
    return vote
