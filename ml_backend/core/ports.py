"""What a plugin must offer: one small protocol for each kind. Plugins import this module and `domain`, nothing else.

A plugin is found by its entry point in the group `apprentice.plugins`, named `<kind>.<name>`, for example
`acquisition.margin`; `ml_backend.core.registry` loads it when it is first used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ml_backend.core.teacher_types import Answer, Question, TeacherOptions
from ml_backend.core.types import (
    Attributions,
    Clustering,
    DistillationData,
    FieldScores,
    Fit,
    Floats,
    Pool,
    Selection,
    TaskSchema,
    Tensors,
    TrainingSet,
)


class Encoder(Protocol):
    """Turns texts into vectors. Made by `factory(model)` where `model` is the part of the setting after the colon.

    Loading weights happens at the first call, never at construction.
    """

    @property
    def name(self) -> str:
        """Names the vector space: vectors of one name may be compared. Safe as a folder's name."""

    @property
    def dim(self) -> int:
        """d, the length of a vector (may load the model's configuration, not its weights)."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32 of unit length, every one finite: of a text without tokens, too."""

    def sketch(self, texts: Sequence[str]) -> Floats:
        """(n, d') float32 of unit length in a space of its own, at least ten times faster than `encode`."""

    @property
    def quick(self) -> bool:
        """Whether `encode` takes no longer than a sketch: thousands of texts in a second."""

    def __hash__(self) -> int:
        """By identity: one instance is one loaded model."""

    def verify(self) -> str:
        """One sentence on what was checked of the weights; raises ApprenticeError if they are missing or damaged."""


@runtime_checkable
class RecordEncoder(Encoder, Protocol):
    """Encodes records, as `types.record_text` writes them. Created by its class, see `RecordEncoderClass`."""

    @property
    def columns_in_full(self) -> Sequence[Column]:
        """What each of the d columns of a vector is of. A value of 0 is that of the pool on average."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The fields that are texts."""

    def phrases(self, phrases: Sequence[str]) -> Floats:
        """(n, d) float32 of records that say each of these in the fields that are texts, and of which nothing else is
        known."""

    def attributions(self, estimates: Sequence[Mapping[str, FieldScores]], labels: Sequence[str]) -> Attributions:
        """What k estimates, of each label's scores, say of the columns; nothing, if there are none."""

    def about(self) -> list[dict[str, Any]]:
        """`name`, `kind` and `values` of the fields that tell records apart: all values of a category, the lowest and
        the highest of numbers."""

    def left_out(self) -> dict[str, str]:
        """The names of the other fields, and what they are."""

    def groups(self, field: str, texts: Sequence[str]) -> list[str] | None:
        """(n,) the group of each record by one of its fields; None if there is no such field."""


class RecordEncoderClass(Protocol):
    """The class of an encoder of records: the plugin that an entry point names."""

    def __call__(self, profile: str, text_encoder: Encoder, /) -> RecordEncoder:
        """Creates the encoder from a profile of a pool's records. `text_encoder` encodes the texts among the fields."""

    def profile(
        self,
        records: Sequence[Mapping[str, Any]],
        kinds: Mapping[str, object],
        text_encoder: Encoder,
        asked_about: str,
        /,
    ) -> str:
        """Returns the profile of a pool's records. `kinds`: kinds, or orders of values, that replace the inferred ones,
        by field name; `asked_about`: the field that the question is about, "" for none. Raises ApprenticeError if no
        field tells records apart."""

    def field_kinds(self) -> tuple[str, ...]:
        """Returns the kinds that a field may have."""


class Column(Protocol):
    @property
    def field(self) -> str:
        """Whose column it is, "" of none."""


class Learner(Protocol):
    """The small model between annotators and queue. Stateless: what it learns is in the tensors it returns."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits, calibrates and cross-validates. Deterministic for a seed. Needs at least one row."""

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """What can be learnt without an annotator, in several ways, by name: candidates for `TrainingSet.priors`. Takes
        seconds, and is done when the teacher has said more, not in a round. Nothing if there is nothing to learn from.
        """

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities, in numpy alone: the web process calls this."""


class Drafter(Protocol):
    """Drafts at once and for nothing, without having been trained on this project: until somebody knows better."""

    def draft(self, texts: Sequence[str], vectors: Floats, schema: TaskSchema) -> Floats:
        """(n, c) probabilities: rows sum to one for a single choice, are independent for several."""


class Teacher(Protocol):
    """The second master: answers questions about texts, slowly, at a price, and not always rightly.

    Made by `factory(options: TeacherOptions)`, which neither connects nor loads anything. Never logs a key or a text.
    """

    @property
    def name(self) -> str:
        """What its replies are kept under: another name gives other replies. Without the key."""

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """An answer to each, as they come, in any order; whoever stops iterating stops asking.

        Raises TeacherUnavailableError, after the answers so far, if nobody answers or asking again is of no use.
        """


class BatchFormat(Protocol):
    """The class of a teacher that is asked by file: writes questions and reads answers, one a line."""

    def write(self, questions: Iterable[Question], options: TeacherOptions) -> Iterator[str]:
        """A line for each question, without its end."""

    def read(self, lines: Iterable[str], questions: Mapping[str, Question], ignored: Counter[str]) -> Iterator[Answer]:
        """The answers in the lines to these questions, by their ids; counts lines that are none, by the reason."""


class Clusterer(Protocol):
    """Cuts a pool into clusters, for the reports and for strategies that want them."""

    def cut(self, vectors: Floats, k: int, seed: int) -> Clustering:
        """At most k clusters of `vectors` (n, d), n >= 1. Deterministic for a seed."""

    def extend(self, vectors: Floats, clustering: Clustering) -> Clustering:
        """The clustering with each unknown row (-1) put into one of its clusters."""


class Acquisition(Protocol):
    """Decides what is labelled next."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        """min(k, available) different rows of `pool.available`, in serving order; repetitions of a text come last.
        Deterministic for a seed. Leaves the pool as it is, which may be mapped from a file."""
