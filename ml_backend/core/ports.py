"""The interfaces that plugins implement, one small protocol for each kind of plugin. A plugin imports types and ports
of `ml_backend.core` only.

A plugin is found by its entry point in the group `apprentice.plugins`, named `<kind>.<name>`, for example
`acquisition.margin`. `ml_backend.core.registry` loads the plugin when it is first used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from ml_backend.core.arrays import (
    AttributeFit,
    Attributions,
    Clustering,
    DistillationData,
    FieldScores,
    Fit,
    Floats,
    Pool,
    Rows,
    Selection,
    Tensors,
    TrainingSet,
)
from ml_backend.core.schema import ControlSchema
from ml_backend.core.teacher_types import Answer, Question, TeacherOptions
from ml_backend.core.text_drafts import AcceptedTexts, TextDrafts
from ml_backend.core.texts import Layers, Texts, WordVectors


class Encoder(Protocol):
    """Turns texts into vectors. Made by `factory(model)`, where `model` is the part of the setting after the colon.

    Weights are loaded at the first call, never at construction.
    """

    @property
    def name(self) -> str:
        """The name of the vector space: vectors of one name can be compared. It is safe as a folder's name."""

    @property
    def dim(self) -> int:
        """d, the dimension of a vector. May load the model's configuration, not its weights."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32 vectors of unit length. They are finite, also for a text without tokens."""

    def sketch(self, texts: Sequence[str]) -> Floats:
        """(n, d') float32 vectors of unit length in another space, made at least ten times faster than by `encode`."""

    @property
    def quick(self) -> bool:
        """Whether `encode` is as fast as `sketch`: thousands of texts in a second."""

    def __hash__(self) -> int:
        """The hash of the identity: one instance is one loaded model."""

    def verify(self) -> str:
        """Checks the weights and returns one sentence on what was checked. Raises ApprenticeError if weights are
        missing or damaged."""


@runtime_checkable
class WordEncoder(Encoder, Protocol):
    """An encoder that also says what each word means in its context, for learners that mark parts of a text."""

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, Sequence[WordVectors]]:
        """The vectors (n, d) as by `encode`, and for each text its words, as `core.words.word_offsets` cuts it. Words
        that the model cannot read have vectors of zeros."""


@runtime_checkable
class LayeredWordEncoder(WordEncoder, Protocol):
    """A `WordEncoder` whose words can be read after other layers of the model, so that each project gets those that its
    learners read best. Layers are numbers of the model's own: words are the mean of their states after them."""

    def layer_candidates(self) -> Sequence[Layers]:
        """The layers that are compared, those of `encode_with_words` first. May load the model."""

    def encode_with_layers(
        self, texts: Sequence[str], candidates: Sequence[Layers]
    ) -> tuple[Floats, Sequence[Sequence[WordVectors]]]:
        """The vectors (n, d) as by `encode`, and for each of the candidates the words of each text."""


@runtime_checkable
class RecordEncoder(Encoder, Protocol):
    """Encodes records, as `core.types.record_text` writes them. Created by its class, see `RecordEncoderClass`."""

    @property
    def vector_columns(self) -> Sequence[Column]:
        """The d columns of a vector, each with its field. A column's value of 0 is the mean over the pool."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the fields that hold texts."""

    def encode_phrases(self, phrases: Sequence[str]) -> Floats:
        """(n, d) float32 vectors of records that have one of n phrases in their text fields and no other value."""

    def attributions(self, estimates: Sequence[Mapping[str, FieldScores]], labels: Sequence[str]) -> Attributions:
        """Turns k estimates of the fields' scores into scores of the d columns, which are empty if k is 0.

        estimates  k mappings from a label to the scores of the fields for this label
        labels     the c labels, in the order of the result
        """

    def field_summaries(self) -> list[dict[str, Any]]:
        """`name`, `kind` and `values` of each field that is encoded. The values are all those of a category, or the
        lowest and the highest number."""

    def left_out(self) -> dict[str, str]:
        """The fields that are not encoded: for each name, the reason."""

    def groups(self, field: str, texts: Sequence[str]) -> list[str] | None:
        """(n,) the group of each record by a field; None if there is no such field."""


class RecordEncoderClass(Protocol):
    """The class of an encoder of records: the plugin that an entry point names."""

    def __call__(self, profile: str, text_encoder: Encoder, /) -> RecordEncoder:
        """Creates the encoder from a profile of a pool's records. `text_encoder` encodes the texts among the fields."""

    def profile(
        self,
        records: Sequence[Mapping[str, Any]],
        kinds: Mapping[str, object],
        text_encoder: Encoder,
        question_field: str,
        /,
    ) -> str:
        """Returns the profile of a pool's records. `kinds`: kinds, or orders of values, that replace the inferred ones,
        by field name; `question_field`: the field that the question is about, "" for none. Raises ApprenticeError if no
        field tells records apart."""

    def field_kinds(self) -> tuple[str, ...]:
        """Returns the kinds that a field may have."""


class Column(Protocol):
    @property
    def field(self) -> str:
        """The name of the field that the column encodes, "" if it encodes none."""


class Learner(Protocol):
    """A small model that is fitted on annotations. It is stateless: the fitted parameters are in the tensors it
    returns.

    A learner that is not for choices has the attribute `kinds`, the names of the kinds of labels that it is for. A
    class of learners that has the attribute `uses_writers`, True, is called with the installed writers by name; others
    are called without arguments.
    """

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits, calibrates and cross-validates on at least one row. Deterministic for a seed."""

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Priors that need no annotation, by name: the candidates of `TrainingSet.priors`. Empty without data.

        Takes seconds, so it does not run in a round: it runs beside the rounds when new teacher labels have come.
        """

    def predict(self, tensors: Tensors, vectors: Floats) -> Rows:
        """(n, ...) predictions of the kind of label; of choices, (n, c) calibrated probabilities. Uses nothing but
        numpy, because the web process calls it."""


@runtime_checkable
class TextLearner(Learner, Protocol):
    """A learner that reads the texts of the tasks beside their vectors. `fit` finds them in `TrainingSet.texts`."""

    @property
    def reads_texts(self) -> Literal[True]:
        """Tells a `TextLearner` from other learners."""

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        """As in `Learner`, for the tasks with these vectors and texts. Raises ValueError without texts."""


def predict_rows(learner: Learner, tensors: Tensors, vectors: Floats, texts: Texts | None) -> Rows:
    """The predictions of a learner, which gets the texts if it reads them."""
    if isinstance(learner, TextLearner):
        return learner.predict(tensors, vectors, texts)
    return learner.predict(tensors, vectors)


class Writer(Protocol):
    """Drafts the text that an annotator would accept for a source, as it has learnt from accepted texts. It is
    stateless: the fitted parameters are in the tensors it returns. The learner `writers` fits all installed writers and
    measures them."""

    @property
    def min_kept_share(self) -> float:
        """The share of a source's words that accepted texts must keep on average for the writer to be used: 0 for one
        that writes freely."""

    def fit(self, accepted: AcceptedTexts, earlier: Tensors | None) -> Tensors:
        """Fits on at least one accepted text. Deterministic. `earlier`: the tensors of a previous fit, from which the
        fit may start; each source of that fit is one of this fit, too."""

    def draft(self, tensors: Tensors, sources: Texts, vectors: Floats, *, held_out: bool = False) -> TextDrafts:
        """Drafts for n sources with vectors (n, d). Uses nothing but numpy, because the web process calls it.

        held_out  whether each source is drafted without the texts that were accepted for it or for a source with the
                  same words
        """


class Drafter(Protocol):
    """A teacher that drafts at once, at no cost and without training, until a learner or another teacher is better."""

    def draft(self, texts: Sequence[str], vectors: Floats, control: ControlSchema) -> Floats:
        """(n, c) probabilities. A row sums to one for a single choice; with several choices, columns are
        independent."""


class Teacher(Protocol):
    """Answers questions about texts: slowly, at a price, and with errors.

    Made by `factory(options: TeacherOptions)`, which neither connects nor loads anything. Never logs a key or a text.
    """

    @property
    def name(self) -> str:
        """The name that replies are stored under: replies under another name are not reused. It holds no key."""

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yields one answer for each question, in the order in which answers come. A caller that stops iterating stops
        the remaining questions.

        Raises TeacherUnavailableError, after the answers so far, if the teacher does not answer or cannot be used.
        """


class BatchFormat(Protocol):
    """The class of a teacher that is asked by files: writes questions and reads answers, one a line."""

    def write(self, questions: Iterable[Question], options: TeacherOptions) -> Iterator[str]:
        """Yields a line for each question, without the line break."""

    def read(self, lines: Iterable[str], questions: Mapping[str, Question], ignored: Counter[str]) -> Iterator[Answer]:
        """Yields the answers in the lines, for questions by id. Counts the other lines in `ignored`, by the reason."""


class AttributeModel(Protocol):
    """Judges whether the attribute that a project regulates, such as politeness, fails in a text. It is stateless: the
    fitted parameters are in the tensors it returns.

    Made by `factory(argument)`, where `argument` is the part of the setting after the colon, "" if there is none.
    """

    def check(self) -> None:
        """Raises ApprenticeError if the argument cannot be used. May read a file, and no model."""

    def fit(self, sources: Sequence[str], accepted: Sequence[str]) -> AttributeFit:
        """Fits the model, and judges the n pairs of a source and the text that was accepted for it, n >= 5.
        Deterministic. Raises ApprenticeError as `check`."""

    def failure_probabilities(self, tensors: Tensors, texts: Sequence[str]) -> Floats:
        """(n,) float32 in [0, 1]: the probability that the attribute fails in each text. Uses nothing but numpy,
        because the web process calls it."""


class Clusterer(Protocol):
    """Clusters a pool, for reports and for query strategies that use clusters."""

    def cut(self, vectors: Floats, k: int, seed: int) -> Clustering:
        """Makes at most k clusters of `vectors` (n, d), n >= 1. Deterministic for a seed."""

    def extend(self, vectors: Floats, clustering: Clustering) -> Clustering:
        """The same clustering, with each unassigned row (-1) assigned to one of its clusters."""


class Acquisition(Protocol):
    """A query strategy: chooses the tasks that are labelled next.

    A strategy that asks for `Predictions.gradient_residuals` has the attribute `needs_class_probabilities`, True: it is
    not used for kinds of labels that have none. One that ranks by `Pool.draft_failures` has the attribute
    `needs_draft_failures`, True: it is used if a control is a text that annotators write.
    """

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        """Selects min(k, available) different rows of `pool.available`, in serving order; duplicates of a text come
        last. Deterministic for a seed. Must not change the pool, whose arrays may be mapped from a file."""
