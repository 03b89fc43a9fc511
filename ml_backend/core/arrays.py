"""The arrays that learners and query strategies exchange, as frozen values.

Arrays are row-aligned: row i of every array in one value is about the same task. `n` is the number of rows, `d` the
dimension of a vector, `c` the number of labels of the schema, in the schema's order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts
from ml_backend.core.types import DEFAULT_DRAFT_RULE, DraftRule, Remark

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]
"""An array whose first axis is the rows, with targets or predictions. The kind of label decides the other axes and the
type, float32 or object: of choices, the array is (n, c) float32. A missing row is NaN, or None in an array of
objects. Objects are texts, numbers, None and tuples of these, which compare and hash by their content in every
process."""
Tensors = dict[str, npt.NDArray[np.generic]]
"""Fitted parameters as named arrays: the content of an artifact."""


def object_rows(values: Sequence[Any]) -> Rows:
    """(n,) an array of objects, also if these are sequences."""
    rows = np.empty(len(values), object)
    for row, value in enumerate(values):
        rows[row] = value
    return rows


def as_tuples(value: Any) -> Any:
    """An object of some rows as it was before it was stored as JSON, which has lists in place of tuples."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def missing_rows(like: Rows, n: int) -> Rows:
    """n missing rows, of the type and the other axes of `like` (m, ...)."""
    return np.full((n, *like.shape[1:]), None if like.dtype == object else np.nan, like.dtype)


def are_missing(rows: Rows) -> Mask:
    """(n,) whether each row is missing."""
    if rows.dtype == object:
        return np.array([row is None for row in rows], np.bool_)
    return np.asarray(np.isnan(rows).any(axis=tuple(range(1, rows.ndim))))


def equals_row(rows: Rows, others: Rows) -> Mask:
    """(n,) whether each row equals that of `others` (n, ...); a missing row equals none."""
    if rows.dtype == object:
        return np.array([row is not None and row == other for row, other in zip(rows, others, strict=True)], np.bool_)
    return np.asarray((rows == others).all(axis=tuple(range(1, rows.ndim))))


def content_bytes(values: Any) -> bytes:
    """The content of some rows, or of one of them, as bytes, to be hashed."""
    if isinstance(values, np.ndarray | np.generic) and values.dtype != object:
        return values.tobytes()
    return repr(values.tolist() if isinstance(values, np.ndarray) else values).encode()


def are_equal(rows: Rows) -> bool:
    """Whether all rows are equal, also if there are none."""
    if len(rows) < 2 or not equals_row(rows[:1], rows[-1:]).all():  # cheap, and true of most projects
        return len(rows) < 2
    return bool(equals_row(rows, np.repeat(rows[:1], len(rows), axis=0)).all())


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """Rows that the teacher has labelled: vectors (m, d), soft targets (m, ...), weights (m,) >= 0, and their texts for
    learners that read them. Phrases that describe labels have no texts. `is_generated` (m,): the texts that the teacher
    has written itself; None if it has written none"""

    vectors: Floats
    targets: Rows
    weights: Floats
    texts: Texts | None = None
    is_generated: Mask | None = None


FieldScores = Mapping[str, float | Mapping[str, float]]
"""Scores of the fields of a record for one label, by field: a number from -10 (against the label) to 10 (for it), or
one such number for each value of a category."""


@dataclass(frozen=True, slots=True)
class Attributions:
    """Prior knowledge about the d columns that a record is encoded in.

    scores        (c, k, d) k estimates of the evidence of a column's high value for a label (> 0) or against it (< 0)
    prior_scales  (d,) prior scale of a column's weight, relative to the other columns; 0 for a column without evidence
    """

    scores: Floats
    prior_scales: Floats


@dataclass(frozen=True, slots=True)
class DistillationData:
    """Training data of a learner that needs no annotation.

    labels         tasks that the teacher has labelled
    label_phrases  phrases that describe labels; the weight of the most reliable phrase is 1
    pool           (p, d) vectors of tasks, labelled or not
    control        with the properties that a fit depends on
    attributions   of the columns of records, None for texts
    pool_texts     texts of a random sample of the tasks, for learners that read them; None if there is none
    """

    labels: PseudoLabels
    label_phrases: PseudoLabels
    pool: Floats
    control: ControlSchema
    attributions: Attributions | None = None
    pool_texts: Texts | None = None


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The data that a learner is fitted on.

    vectors               (n, d) float32
    targets               (n, ...) of the kind of label. Of choices, (n, c) float32 in [0, 1]: a distribution for a
                          single choice, a probability per label for several
    weights               (n,) float32 >= 0, the weight of each row in the fit
    control               with the properties that a fit depends on
    earlier               (n, ...) or None: the targets that the serving learner was fitted on, missing in rows that it
                          did not have. For the promotion gate, the learner cross-validates a fit on them and the new
                          fit, on the same folds
    earlier_tensors       the tensors of the serving learner, from whose prior the fit on `earlier` starts; None if its
                          labels are in another order
    priors                priors that `distil` has made, by name: the learner starts from the prior that the annotations
                          support, or from none
    prior_selection_mask  (n,) bool or None: rows that decide which prior is used, None for all. Generated texts are
                          excluded because they would favour the teacher's own prior
    validates_earlier     whether `earlier` is cross-validated; if False, `earlier` only shows which rows are new
    texts                 of the n tasks, for a `TextLearner`; None if no such learner is fitted
    draft_rule            for a learner that drafts parts of a text
    pool_texts            texts of a random sample of all tasks, with a label or not, for a learner that decides by them
                          what it drafts; None if no such learner is fitted
    """

    vectors: Floats
    targets: Rows
    weights: Floats
    control: ControlSchema
    earlier: Rows | None = None
    earlier_tensors: Tensors | None = None
    priors: Mapping[str, Tensors] = field(default_factory=dict)
    prior_selection_mask: Mask | None = None
    validates_earlier: bool = True
    texts: Texts | None = None
    pool_texts: Texts | None = None
    draft_rule: DraftRule = DEFAULT_DRAFT_RULE

    @property
    def earlier_to_validate(self) -> Rows | None:
        """(n, ...) `earlier` if it is cross-validated, else None."""
        return self.earlier if self.validates_earlier else None

    def take(self, rows: Ints) -> TrainingSet:
        """The training set of these rows alone."""
        return replace(
            self,
            vectors=np.asarray(self.vectors[rows]),
            targets=self.targets[rows],
            weights=self.weights[rows],
            earlier=None if self.earlier is None else self.earlier[rows],
            prior_selection_mask=None if self.prior_selection_mask is None else self.prior_selection_mask[rows],
            texts=self.texts_of(rows),
        )

    def texts_of(self, rows: Ints) -> Texts | None:
        """The texts of these rows alone."""
        return None if self.texts is None else self.texts.take(rows)

    @property
    def prior_selection_weights(self) -> Floats:
        """(n,) the weight of each row in the choice of a prior: 0 for rows outside `prior_selection_mask`."""
        return self.weights if self.prior_selection_mask is None else self.weights * self.prior_selection_mask


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted learner and its held-out predictions.

    held_out          (n, ...) cross-validated predictions for the training rows; of choices, (n, c) calibrated
                      probabilities
    held_out_earlier  (n, ...) the same for a fit on `TrainingSet.earlier`, or None
    prior             the name of the prior that the fit starts from, "" for none
    prior_errors      for each prior, the held-out error of a fit that starts from the prior, divided by that of a fit
                      without a prior: below 1 the prior helps, unless the difference is chance
    trust             for records, the support of the annotations for the `Attributions`, from 0 to 1; None without
                      attributions
    remark            what users should know as long as the fitted learner serves, None for nothing
    """

    tensors: Tensors
    held_out: Rows
    held_out_earlier: Rows | None = None
    prior: str = ""
    prior_errors: Mapping[str, float] = field(default_factory=dict)
    trust: float | None = None
    remark: Remark | None = None

    def take(self, rows: Mask) -> Fit:
        """The same fit with the held-out predictions for the rows (n,) that the mask selects."""
        earlier = None if self.held_out_earlier is None else self.held_out_earlier[rows]
        return replace(self, held_out=self.held_out[rows], held_out_earlier=earlier)


@dataclass(frozen=True, slots=True)
class AttributeFit:
    """A fitted `AttributeModel`, and its judgement of n pairs: held-out if it was fitted on them.

    source_failures    (n,) float32: the probability that the attribute fails in the source
    accepted_failures  (n,) float32: the same for the accepted text
    """

    tensors: Tensors
    source_failures: Floats
    accepted_failures: Floats


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters of the pool: centroids (k, d) float32 and the cluster of each pool row, (n,) int64, -1 if unassigned."""

    centroids: Floats
    assignment: Ints

    def take(self, rows: Ints) -> Clustering:
        """The clustering of these rows alone."""
        return Clustering(self.centroids, self.assignment[rows])


@dataclass(frozen=True, slots=True)
class LabelledDistances:
    """Distances to the nearest labelled row, cached from round to round.

    labelled   (n,) bool: the labelled rows
    distances  a function of rows (m,): (m,) the squared distance of each row to the nearest row of `labelled`, infinite
               if there is none
    """

    labelled: Mask
    distances: Callable[[Ints], Floats]


InclusiveBy = Literal["attribute-least", "attribute-unsure", "doubt"]
UncertaintyMeasure = Literal["margin", "least confidence", "entropy"]


class Predictions(Protocol):
    """The predictions of the serving learner for the n rows of a pool, whatever the kind of label."""

    def __len__(self) -> int:
        """n."""

    def take(self, rows: Ints) -> Predictions:
        """The predictions for these rows alone."""

    def is_finite(self) -> Mask:
        """(n,) whether all numbers of a row's prediction are finite."""

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        """(m,) float32 in [0, 1]: the uncertainty of some rows; 1 is the highest. A kind of label for which a measure
        is not defined uses the measure that is nearest to it."""

    def gradient_residuals(self, rows: Ints) -> Floats | None:
        """(m, r) float32: for each of some rows, the derivative of the loss at the predicted label with respect to the
        r outputs of the learner. For classes, the predicted probabilities minus 1 at the likeliest class, or at each
        class that is likelier than not. None if the kind of label has no class probabilities."""


ERROR_PRIOR_ROWS = 2.0  # pseudo-count of rows with the mean error: the error of a group with few labels is uncertain


@dataclass(frozen=True, slots=True)
class Pool:
    """The tasks of a project, as the input of a query strategy.

    vectors        (n, d) float32 of unit length, to be read by rows: `vectors[rows]`. They may be a part of a larger
                   matrix, which `numpy.asarray` copies
    predictions    the predictions of the serving learner for the n rows, or None before there is a learner
    labelled       (n,) bool: the row has a target, made from annotations
    available      (n,) bool: the row may be selected now (no annotation, not skipped, usable)
    errors         (n,) float32 in [0, 1]: for a labelled row, the held-out probability of the learner for a wrong
                   label; NaN in every other row. None before there is a learner
    clustering     the clusters of the pool, which stay the same for many rounds; each row is in a cluster. None without
                   clusters
    nearest        cached distances to labelled rows, or None
    words          (n,) int64: the number of words that annotators read in a task, None if each task costs them as much
                   as another
    draft_failures  (n,) float32: the probability that the attribute that the project regulates fails in the draft of
                   the learner; None without an attribute model, or if the strategy does not need it
    inclusive_by   what the strategy `inclusive` ranks by if `draft_failures` is given
    """

    vectors: Floats
    predictions: Predictions | None
    labelled: Mask
    available: Mask
    errors: Floats | None = None
    clustering: Clustering | None = None
    nearest: LabelledDistances | None = None
    words: Ints | None = None
    draft_failures: Floats | None = None
    inclusive_by: InclusiveBy = "attribute-least"

    def with_selected(self, rows: Ints) -> Pool:
        """The pool after these rows are selected: they count as labelled and are not available."""
        selected = np.isin(np.arange(len(self.vectors)), rows)
        return replace(self, available=self.available & ~selected, labelled=self.labelled | selected)

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        """(m,) the uncertainty of some rows, as in `Predictions`; NaN before there is a learner."""
        if self.predictions is None:
            return np.full(len(rows), np.nan, dtype=np.float32)
        return self.predictions.uncertainty(measure, rows)

    def mean_errors_by_group(self, groups: Ints, count: int) -> npt.NDArray[np.float64] | None:
        """(count,) the mean error of the labelled rows of each group, shrunk towards the mean of all labelled rows,
        which counts as `ERROR_PRIOR_ROWS` rows; None if no error is known. groups (n,) int64: the group of each row,
        below `count`.
        """
        if self.errors is None or not len(labelled := np.flatnonzero(~np.isnan(self.errors))):
            return None
        errors = self.errors[labelled].astype(np.float64)
        counts = np.bincount(groups[labelled], minlength=count)
        sums = np.bincount(groups[labelled], weights=errors, minlength=count)
        return np.asarray((sums + ERROR_PRIOR_ROWS * errors.mean()) / (counts + ERROR_PRIOR_ROWS))


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a query strategy has selected, in serving order.

    rows         (k,) int64 row numbers of the pool, without repeats
    uncertainty  (k,) float32 in [0, 1]; NaN before there is a learner
    ground       a few words on why the rows are selected, apart from the uncertainty
    """

    rows: Ints
    uncertainty: Floats
    ground: str = ""

    def where(self, kept: Mask) -> Selection:
        """The selected rows that the mask (k,) keeps."""
        return replace(self, rows=self.rows[kept], uncertainty=self.uncertainty[kept])

    def at(self, places: Ints) -> Selection:
        """The selected rows at these places, in their order."""
        return replace(self, rows=self.rows[places], uncertainty=self.uncertainty[places])
