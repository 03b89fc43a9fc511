"""What a field reads of words apart from the labels: their vectors and shapes, and the vectors of their neighbours.

Vectors are reduced to their first principal components, which makes all else faster. Measured on development texts of
wnut17 and of ncbi-disease, strict F1 with 500 labelled sentences in percent: 53.0 and 69.6 without neighbours, 52.8 and
71.5 with these numbers of components, 53.0 and 72.0 with all components of the word and a scale of 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats
from plugins.learners.crf.word_shapes import COLUMNS, neighbours, of_next, of_previous, shape_bits, word_shapes
from plugins.learners.crf.word_table import WordTable

OWN_COMPONENTS, NEIGHBOUR_COMPONENTS = 256, 64
"""Principal components of the vectors of a word and of its neighbours."""
NEIGHBOUR_SCALE = 0.35
"""Factor of the features of neighbours, against those of the word itself."""
MAX_COVARIANCE_WORDS = 5000
"""Words from which the principal components are computed."""
MAX_PROJECTED_WEIGHTS = 100
"""Weights of each feature up to which it is faster to project weights than words."""
MIN_DEVIATION = 1e-6
"""Standard deviation below which a feature is not scaled."""


@dataclass(frozen=True, slots=True)
class WordFeatures:
    """The standardisation of the e numbers of a vector and of the shapes of a word.

    mean, scale  (e + COLUMNS,)
    components   (e, r) the principal components of standardised vectors, the first one first
    """

    mean: Floats
    scale: Floats
    components: Floats

    @classmethod
    def of(cls, tables: Sequence[WordTable]) -> WordFeatures:
        """The standardisation by which the words of these tables have a mean of 0 and a variance of 1."""
        values = np.concatenate(
            [np.hstack([table.vectors, word_shapes(table.shapes, table.lengths)]) for table in tables]
        )
        e = values.shape[1] - COLUMNS
        if not len(values):
            return cls(np.zeros(e + COLUMNS, np.float32), np.ones(e + COLUMNS, np.float32), np.eye(e, dtype=np.float32))
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        scale = np.where(deviation > MIN_DEVIATION, deviation, 1.0).astype(np.float32)
        sample = values[:: -(-len(values) // MAX_COVARIANCE_WORDS), :e]
        sample = (sample - mean[:e]) / scale[:e]
        _, components = np.linalg.eigh((sample.T @ sample).astype(np.float64))
        return cls(mean, scale, components[:, ::-1][:, :OWN_COMPONENTS].astype(np.float32))

    @property
    def vector_size(self) -> int:
        """e, the length of the vectors of words."""
        return len(self.components)

    def __call__(self, table: WordTable) -> Floats:
        """(w, d) the features of words."""
        own = self._products(table, self._projection)
        shapes = word_shapes(table.shapes, table.lengths)
        shapes -= self.mean[self.vector_size :]
        shapes /= self.scale[self.vector_size :]
        nearby = neighbours(NEIGHBOUR_SCALE * own[:, :NEIGHBOUR_COMPONENTS], table.lengths)
        return np.hstack([own, shapes, *nearby])

    def scores(self, table: WordTable, weights: Floats) -> Floats:
        """(w, t) the product of the features and weights (d, t). As the features are linear in the vectors and shapes,
        it is faster to project few weights than many words."""
        if weights.shape[1] > MAX_PROJECTED_WEIGHTS:
            return np.asarray(self(table) @ weights)
        projection, e = self._projection, self.vector_size
        nearby = NEIGHBOUR_SCALE * projection[:, :NEIGHBOUR_COMPONENTS]
        own, shapes, before, after = np.split(
            weights, np.cumsum([projection.shape[1], COLUMNS, nearby.shape[1]]).tolist()
        )
        shapes = shapes / self.scale[e:, None]
        products = self._products(table, np.hstack([projection @ own, nearby @ before, nearby @ after]))
        products += shape_bits(table.shapes) @ np.hstack(np.split(shapes, 3))
        own, before, after = np.split(products, 3, axis=1)
        of_neighbours = of_previous(before, table.lengths) + of_next(after, table.lengths)
        return np.asarray(own + of_neighbours - self.mean[e:] @ shapes)

    @property
    def _projection(self) -> Floats:
        """(e, r) from vectors to the features of the word itself, apart from their mean."""
        return self.components / self.scale[: self.vector_size, None]

    def _products(self, table: WordTable, projection: Floats) -> Floats:
        """(w, t) of the vectors, less their mean, and a projection (e, t)."""
        mean = self.mean[: self.vector_size] @ projection
        if table.vectors.shape[1] != self.vector_size:  # another encoder's vectors mean nothing here
            return np.zeros((len(table.starts), len(mean)), np.float32)
        products = np.asarray(table.vectors @ projection, np.float32)
        products -= mean
        return products
