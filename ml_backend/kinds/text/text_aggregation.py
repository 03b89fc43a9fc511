"""Aggregates the texts of several annotators of a task to one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ml_backend.core.types import Label
from ml_backend.core.word_distance import closeness_matrix
from ml_backend.kinds.text.values import Target


def aggregate_texts(labels: Sequence[Label]) -> Target | None:
    """The different texts, the most central one first: that with the highest mean closeness to the texts of all
    annotators (the medoid). Of equally central texts, that of more annotators comes first, then the alphabet decides.
    None without a text."""
    counts = Counter(label.value[0] for label in labels if label.is_read and label.value)
    texts = sorted(counts)
    if len(texts) < 2:
        return tuple(texts) or None
    centrality = np.average(closeness_matrix(texts, texts), axis=1, weights=[counts[text] for text in texts])
    order = sorted(range(len(texts)), key=lambda i: (-round(float(centrality[i]), 9), -counts[texts[i]], texts[i]))
    return tuple(texts[i] for i in order)
