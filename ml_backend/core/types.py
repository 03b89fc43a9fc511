"""The vocabulary of Apprentice: frozen values that every part of the house speaks in.

Nothing here has behaviour that needs more than numpy, and nothing here knows Label Studio, SQL or a model.
Arrays are row-aligned: row i of every array in one value is about the same task. `n` is the number of rows,
`d` the dimension of a vector, `c` the number of labels of the schema, in the schema's order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Tensors = dict[str, npt.NDArray[np.generic]]
"""What a learner has learnt, as named arrays: exactly what an artifact holds."""


KEY_BYTES = 16
PATH = " > "
"""Stands in a nested label's name between the labels around it and its own."""


def content_key(text: str) -> bytes:
    """The hash, `KEY_BYTES` long, under which a text's vector is cached."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


NO_TEXT = content_key("")
"""The key of a task without a text, or without a record."""


def storable(text: str) -> str:
    """The text as any database takes it: NUL cannot be stored by PostgreSQL, lone surrogates by none."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def tidy(label: str) -> str:
    """A label's name as words: 'abbreviation_question' and 'AbbreviationQuestion' -> 'abbreviation question'."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    words = re.sub(r"[\W_]+", " ", split).split()
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in words) or label


def shortened(value: str, most: int = 24) -> str:
    """A value of a field as it is told beside others."""
    return value if len(value) <= most else f"{value[: most - 1]}…"


@dataclass(frozen=True, slots=True)
class TaskSchema:
    """What one project asks of its annotators.

    `control` and `source` name the two ends of an answer (in Label Studio: from_name and to_name), `text_field` the
    task's field that holds the text. A record has none: it is in the field `record_field` (of field to value), or the
    task's own `fields` are those of the record, the one that is asked about first, or both. `html` are those of all
    these that hold HTML. `hints` are optional descriptions, one for each label ("" where there is none).

    A label is what annotators read. `stored` is what is stored for each of them where that is something else: a code,
    or, if the labels are `nested`, the path of those around it and itself; () if every label is stored by its name.
    `conditional`: whether the question may stay hidden, or must be answered, so that no answer says nothing.
    `other_controls` are the names of all other controls, which are not learnt.
    """

    labels: tuple[str, ...]
    multiple: bool
    control: str
    source: str
    text_field: str
    hints: tuple[str, ...] = ()
    record_field: str = ""
    fields: tuple[str, ...] = ()
    html: tuple[str, ...] = ()
    stored: tuple[tuple[str, ...], ...] = ()
    nested: bool = False
    conditional: bool = False
    other_controls: tuple[str, ...] = ()
    kind: Literal["choices"] = "choices"

    @property
    def is_record(self) -> bool:
        """Whether an example's text is a record, as `record_text` writes it."""
        return bool(self.record_field or self.fields)

    @property
    def data(self) -> tuple[str, ...]:
        """The task's fields that hold what is asked about."""
        return tuple(name for name in (self.text_field, self.record_field, *self.fields) if name)


def record_text(record: Mapping[str, Any]) -> str:
    """A record as the text of an example: JSON, its fields in alphabetical order."""
    return json.dumps(record, ensure_ascii=False, sort_keys=True)


def read_record(text: str) -> dict[str, Any]:
    """The record of a text that `record_text` wrote, {} if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


SYNTHETIC = "apprentice_synthetic"
"""The field of a task's data that says that the teacher wrote the text, and whether it meant it to be hard or easy."""


@dataclass(frozen=True, slots=True)
class Example:
    """One task: its number in Label Studio, its text, and the content hash that its vector is cached under.

    `fields` are the short values of the task's other data, as text: groups of tasks are told apart by them.
    """

    task: int
    text: str
    key: bytes
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotator's answer to one task. A skip has `cancelled` set; `updated_at` is ISO text in UTC.

    `unread` says, as one of the codes `UNREAD`, why the answer cannot be learnt from, "" if it can: then no `choices`
    mean that none of several labels applies. `choices` are labels, and whatever else was found among them: `unread` is
    PARTLY if there were both.
    """

    id: int
    task: int
    annotator: int | None
    choices: tuple[str, ...]
    cancelled: bool = False
    ground_truth: bool = False
    updated_at: str = ""
    lead_time: float | None = None
    unread: str = ""

    @property
    def is_read(self) -> bool:
        """Whether it can be learnt from."""
        return self.unread in ("", PARTLY)


PARTLY = "partly"
UNREAD = ("empty", "control", "label", "parent", "shape")
"""Nothing was chosen, the answer belongs to a control that there is not, has no label that there is, stops at a label
that holds others, or is no choice at all."""


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """Rows that the teacher stands behind: vectors (m, d), soft targets (m, c), weights (m,) >= 0."""

    vectors: Floats
    targets: Floats
    weights: Floats


FieldScores = Mapping[str, float | Mapping[str, float]]
"""How much fields of a record speak for a label, from -10 to 10: a number's by its name, a category's by its values."""


@dataclass(frozen=True, slots=True)
class Attributions:
    """What somebody knows of the d columns that a record is encoded in.

    scores  (c, k, d) k estimates of how much a high value of a column speaks for a label (> 0) or against it (< 0)
    width   (d,) how far the weight of a column may lie from nothing, beside the others; 0: it says nothing
    """

    scores: Floats
    width: Floats


@dataclass(frozen=True, slots=True)
class DistillationData:
    """All that a learner can be taught without an annotator.

    labels  tasks that the teacher has labelled
    cues    phrases that stand for labels; weights up to 1, for the surest
    pool    (p, d) vectors of tasks, labelled or not
    attributions  of the columns of records, None for texts
    """

    labels: PseudoLabels
    cues: PseudoLabels
    pool: Floats
    attributions: Attributions | None = None


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a learner is fitted on.

    vectors   (n, d) float32
    targets   (n, c) float32 in [0, 1]: a distribution for one choice, a probability per label for several
    weights   (n,)   float32 >= 0, the trust in each row
    multiple  whether several labels may hold at once
    earlier   (n, c) float32 or None: what the serving learner was fitted on, NaN in the rows that it did not have.
              The learner cross-validates that knowledge beside the new one, on the same folds, for the promotion gate.
    earlier_tensors  of the serving learner, whose prior the earlier knowledge starts from again; None if its labels are
              in another order
    priors    what the learner has been taught without annotators, by `distil`, by name: the learner starts from the one
              that the annotators' answers speak for, or from none
    judges    (n,) bool or None: the rows that have a say in that, None for all; a text that the teacher wrote speaks
              for the teacher
    judges_earlier  False if the earlier knowledge is judged by other means: then it is not cross-validated, and only
              says how far the answers have grown
    """

    vectors: Floats
    targets: Floats
    weights: Floats
    multiple: bool
    earlier: Floats | None = None
    earlier_tensors: Tensors | None = None
    priors: Mapping[str, Tensors] = field(default_factory=dict)
    judges: Mask | None = None
    judges_earlier: bool = True

    @property
    def earlier_to_judge(self) -> Floats | None:
        """(n, c) `earlier`, if the learner is to cross-validate it."""
        return self.earlier if self.judges_earlier else None

    def of(self, rows: Ints) -> TrainingSet:
        """The same, of some rows alone."""
        return replace(
            self,
            vectors=np.asarray(self.vectors[rows]),
            targets=self.targets[rows],
            weights=self.weights[rows],
            earlier=None if self.earlier is None else self.earlier[rows],
            judges=None if self.judges is None else self.judges[rows],
        )

    @property
    def say(self) -> Floats:
        """(n,) the trust in each row as a judge: 0 for those that have no say."""
        return self.weights if self.judges is None else self.weights * self.judges


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted learner and what it would have said of each training row without having seen it.

    held_out          (n, c) calibrated cross-validated probabilities
    held_out_earlier  the same for the knowledge of `TrainingSet.earlier`, or None
    prior             name of the prior that it starts from, "" for none
    prior_errors      of each prior, the error on the annotators' answers of who starts from it, in parts of the error
                      of who starts from none: below 1 it would help, if that is more than chance
    trust             of records, how much the answers speak for what is known of their fields, from 0 to 1; None if
                      nobody knows anything
    """

    tensors: Tensors
    held_out: Floats
    held_out_earlier: Floats | None = None
    prior: str = ""
    prior_errors: Mapping[str, float] = field(default_factory=dict)
    trust: float | None = None

    def of(self, rows: Mask) -> Fit:
        """The same fit, judged by some of its rows (n,) alone."""
        earlier = None if self.held_out_earlier is None else self.held_out_earlier[rows]
        return replace(self, held_out=self.held_out[rows], held_out_earlier=earlier)


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters of the pool: centroids (k, d) float32 and, for each pool row, its cluster (n,) int64, -1 if unknown."""

    centroids: Floats
    assignment: Ints

    def of(self, rows: Ints) -> Clustering:
        """The same, of some rows alone."""
        return Clustering(self.centroids, self.assignment[rows])


@dataclass(frozen=True, slots=True)
class Nearest:
    """What is remembered of a pool from round to round: `distances(rows)` is the squared distance (m,) of each of some
    rows to the nearest of the rows `among` (n,) bool, infinite if there is none."""

    among: Mask
    distances: Callable[[Ints], Floats]


PRIOR_ROWS = 2.0  # the error of a group of few labels says little: one without any has that of all


@dataclass(frozen=True, slots=True)
class Pool:
    """Every task of a project as acquisition sees it.

    vectors        (n, d) float32, of unit length, to be read by rows: `vectors[rows]`. They may be a part of a larger
                   matrix, of which `numpy.asarray` makes a copy
    probabilities  (n, c) float32 of the serving learner, or None before there is one
    labelled       (n,) bool: has a counted human label
    available      (n,) bool: may be chosen now (no label, not skipped, not set aside)
    multiple       whether several labels may hold at once
    errors         (n,) float32 in [0, 1]: of a labelled row, the probability that the learner, without having seen it,
                   gave to a wrong answer; NaN in every other row. None before there is a learner
    clustering     the pool's clusters, which stay for many rounds; every row is in one. None if nobody has cut any
    nearest        how far rows are from labelled ones, as far as that is remembered; None if nobody does
    """

    vectors: Floats
    probabilities: Floats | None
    labelled: Mask
    available: Mask
    multiple: bool
    errors: Floats | None = None
    clustering: Clustering | None = None
    nearest: Nearest | None = None

    def without(self, rows: Ints) -> Pool:
        """The same when these are chosen: as good as labelled, and no more to be had."""
        taken = np.isin(np.arange(len(self.vectors)), rows)
        return replace(self, available=self.available & ~taken, labelled=self.labelled | taken)

    def errors_by(self, groups: Ints, count: int) -> npt.NDArray[np.float64] | None:
        """(count,) the mean error of the labelled rows of each group, drawn to that of all rows by as much as
        `PRIOR_ROWS` of them; None as long as nobody can tell. groups (n,) int64: the rows' groups, from 0 to count - 1.
        """
        if self.errors is None or not len(known := np.flatnonzero(~np.isnan(self.errors))):
            return None
        found = self.errors[known].astype(np.float64)
        counts = np.bincount(groups[known], minlength=count)
        sums = np.bincount(groups[known], weights=found, minlength=count)
        return np.asarray((sums + PRIOR_ROWS * found.mean()) / (counts + PRIOR_ROWS))


@dataclass(frozen=True, slots=True)
class Selection:
    """The tasks to serve next, first one first.

    rows         (k,) int64 into the pool, without repeats
    uncertainty  (k,) float32 in [0, 1]; NaN before there is a learner
    ground       a few words on why they were chosen, beside the uncertainty
    """

    rows: Ints
    uncertainty: Floats
    ground: str = ""

    def where(self, kept: Mask) -> Selection:
        """The same without some of them; `kept` (k,) bool."""
        return replace(self, rows=self.rows[kept], uncertainty=self.uncertainty[kept])


@dataclass(frozen=True, slots=True)
class Draft:
    """The answer proposed to the annotator, whose it is, and the fields of a record that speak most for it."""

    choices: tuple[str, ...]
    confidence: float
    author: Literal["learner", "teacher"]
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of the published queue.

    score   in [0, 1], the lowest is served first: it carries the rank, not the confidence of the draft
    draft   None for a task of the audit slice, which is served without one
    reason  a few words on why the task is here
    """

    task: int
    score: float
    draft: Draft | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured share with its 95 % interval, from n observations of a named source."""

    value: float
    low: float
    high: float
    n: int
    source: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One published version: the learner that ranked it, and what was known about that learner then.

    `learner` is the version whose fit is being used: its own number if its candidate was promoted, an earlier one's if
    the gate kept that, None while drafts come from the teacher alone. `acquisition`: the strategy that ordered its
    queue.
    """

    project: int
    number: int
    name: str
    learner: int | None
    labelled: int
    accuracy: Estimate | None
    created_at: float
    note: str = ""
    acquisition: str = ""
