"""Classifies texts by a logistic regression over their words, pairs of words, and parts of words of 2 to 5 characters.

Features are hashed, so that the parameters hold no words, and only features that occur in training have a weight. The
probabilities are calibrated on held-out examples by a logistic regression over the scores (Platt, "Probabilistic
Outputs for Support Vector Machines", 1999). Fitting takes a fraction of a second for hundreds of texts and judging a
text a fraction of a millisecond, without a language model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask, Tensors
from ml_backend.core.words import words_of

PART_LENGTHS = range(2, 6)
FOLDS = 5
INVERSE_REGULARISATION = 10.0
FEATURES, WEIGHTS, CALIBRATION = "ngrams.features", "ngrams.weights", "ngrams.calibration"
"""Names of tensors: the hashes of the features, ascending; their weights, and at last the intercept; the slope and the
offset of the calibration."""

Hashes = npt.NDArray[np.uint32]


def fit(texts: Sequence[str], fails: Mask, groups: Ints) -> tuple[Tensors, Floats]:
    """Fits on n texts.

    fails   (n,) whether the attribute fails; some do and some do not
    groups  (n,) the group of each text: texts of a group are held out together

    Returns the tensors and (n,) the held-out probabilities. Raises ValueError with fewer than FOLDS groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    rows = [_features(text) for text in texts]
    held_out_scores = np.zeros(len(texts))
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=0).split(fails, groups=groups):
        features, weights = _fit([rows[row] for row in train], fails[train])
        held_out_scores[test] = [_score(rows[row], features, weights) for row in test]
    calibration = LogisticRegression(class_weight="balanced").fit(held_out_scores[:, None], fails)
    slope, offset = float(calibration.coef_[0, 0]), float(calibration.intercept_[0])
    features, weights = _fit(rows, fails)
    tensors: Tensors = {FEATURES: features, WEIGHTS: weights, CALIBRATION: np.array([slope, offset])}
    return tensors, _probabilities(held_out_scores, slope, offset)


def failure_probabilities(tensors: Tensors, texts: Sequence[str]) -> Floats:
    """(n,) the probabilities that the attribute fails. Needs numpy alone."""
    features, weights = np.asarray(tensors[FEATURES], np.uint32), np.asarray(tensors[WEIGHTS], np.float64)
    slope, offset = np.asarray(tensors[CALIBRATION], np.float64).tolist()
    scores = np.array([_score(_features(text), features, weights) for text in texts])
    return _probabilities(scores, slope, offset)


def _probabilities(scores: npt.NDArray[np.float64], slope: float, offset: float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(slope * scores + offset, -50, 50))), np.float32)


def _features(text: str) -> tuple[Hashes, Hashes]:
    """The hashes of the words and pairs of words of a text, and those of its parts of words."""
    words = words_of(text.lower())
    return (
        _hashes([*(f"w{word}" for word in words), *(f"p{first} {second}" for first, second in pairwise(words))]),
        _hashes([f"c{part}" for word in {*words} for part in _parts(f" {word} ")]),
    )


def _parts(word: str) -> Iterator[str]:
    for length in PART_LENGTHS:
        for start in range(len(word) - length + 1):
            yield word[start : start + length]


def _hashes(features: Sequence[str]) -> Hashes:
    """The different hashes, ascending: the same numbers in every process."""
    return np.unique(np.array([crc32(feature.encode("utf-8", "surrogatepass")) for feature in features], np.uint32))


def _fit(rows: Sequence[tuple[Hashes, Hashes]], fails: Mask) -> tuple[Hashes, Floats]:
    """The features of the rows, and their weights with the intercept."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    hashes = [np.concatenate(row) for row in rows]
    features = np.unique(np.concatenate(hashes))
    values = np.concatenate([_values(row) for row in rows])
    columns = np.searchsorted(features, np.concatenate(hashes))
    starts = np.cumsum([0, *map(len, hashes)])
    matrix = csr_matrix((values, columns, starts), (len(rows), len(features)))
    model = LogisticRegression(
        C=INVERSE_REGULARISATION, class_weight="balanced", solver="liblinear", random_state=0
    ).fit(matrix, fails)
    return features, np.append(model.coef_[0], model.intercept_[0])


def _values(row: tuple[Hashes, Hashes]) -> npt.NDArray[np.float64]:
    """The values of the features of a text: those of each of the two sorts have the length 1."""
    return np.concatenate([np.full(len(part), len(part) ** -0.5 if len(part) else 0.0) for part in row])


def _score(row: tuple[Hashes, Hashes], features: Hashes, weights: npt.NDArray[np.floating]) -> float:
    hashes = np.concatenate(row)
    places = np.searchsorted(features, hashes).clip(max=max(len(features) - 1, 0))
    has_weight = features[places] == hashes
    return float(_values(row)[has_weight] @ weights[places[has_weight]] + weights[-1])
