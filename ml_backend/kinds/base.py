"""The interface of a kind of labels: everything that the loop needs to know of the labels of a control.

The loop passes three opaque values on without looking inside:

value      what one annotation says for a control, as a `LabelValue`
targets    what the annotators say of n tasks, as `Rows`: a learner is fitted on them
predicted  what a learner, or a teacher, expects for n tasks, as `Rows`

A kind is found by its entry point `kind.<name>` in the group `apprentice.plugins`, which names an instance of a
subclass of `Kind`. No other part of Apprentice changes for a new kind; docs/kinds.md says what a kind cannot do yet.
`KindContract` in tests/kinds/kind_contract.py is the contract suite, to be run on any kind.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask, Predictions, Rows, Tensors
from ml_backend.core.ports import Drafter, Learner
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts
from ml_backend.core.types import Annotation, Estimate, EstimateSource, Label, LabelValue, TaskContent
from ml_backend.kinds import tag_attributes
from ml_backend.kinds.parts import DraftChanges, PartAgreement, PartCounts, PartError

Schema = TypeVar("Schema", bound=ControlSchema)
Doubles = npt.NDArray[np.float64]
ACCURACY = "accuracy"
"""The name of a mean score that is the share of right drafts, because each score is 0 or 1."""


@dataclass(frozen=True, slots=True)
class SuspectedError:
    """A row whose target is probably wrong, the value that is proposed instead, and the confidence in it.

    added, removed  the parts of the proposed value that the target lacks, and the parts of the target that the proposed
                    value lacks; () if values are judged as a whole
    """

    row: int
    instead: LabelValue
    confidence: float
    added: LabelValue = ()
    removed: LabelValue = ()


@dataclass(frozen=True, slots=True)
class LabelMasks:
    """The labels of n drafts and targets. All masks are (n, k) for the k labels of the control, or for none.

    drafted    the labels of the draft
    annotated  the labels of the target
    disputed   labels for which the annotators are evenly split
    """

    drafted: Mask
    annotated: Mask
    disputed: Mask


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """The part of a question to a teacher that is about one control.

    decision    what a reply says, in words, after "say": "the one label that fits best"
    details     what the teacher needs to know of the control, in lines
    schema      the JSON schema of the reply
    max_tokens  of the reply
    identity    the parts, as JSON, whose change makes it another question
    labels      the labels whose probabilities are needed, () unless `Kind.replies_with_labels`
    multiple    whether the reply is a list of labels
    """

    decision: str
    details: str
    schema: Mapping[str, Any]
    max_tokens: int
    identity: Sequence[Any]
    labels: tuple[str, ...] = ()
    multiple: bool = False

    @property
    def digest(self) -> str:
        """The digest of `identity`."""
        return blake2b(json.dumps(self.identity).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class AttributeJudgement:
    """What an attribute model says about n accepted pairs.

    setting  the setting of the attribute model
    auc      how well it tells sources from accepted texts, held out
    is_used  whether it judges drafts
    source_failures    (n,) the probability that the attribute fails in the source
    accepted_failures  (n,) the same for the accepted text
    """

    setting: str
    auc: Estimate
    is_used: bool
    source_failures: Floats
    accepted_failures: Floats


NO_DESCRIPTIONS: Mapping[str, str] = MappingProxyType({})


class Kind(ABC, Generic[Schema]):
    """A kind of labels, for controls that a `Schema` describes. All methods are functions of their arguments alone.

    name             the name of the entry point, without `kind.`
    tags             the control tags, with the number of object tags that one control labels together: 1 or 2. If a
                     project has controls of several tags, those of the first tag come first
    default_learner  the learner if the setting `learner` names one that is not for this kind
    replies_with_labels  whether a teacher's reply consists of labels, whose probabilities are asked for
    locates_regions  whether regions have positions in the displayed content. Then the displayed content is stored, and
                     no region is read or written without the content of its task
    reads_words      whether learners need the vectors of the words of the text. Then all of a project's controls are
                     learnt from a single text
    prefers_words    whether learners also use the vectors of words. They get them if the kinds of all controls of a
                     project read or prefer them, and the controls are learnt from a single text
    writes_texts     whether values are texts that annotators write
    draft_rule_names  the names of the fields of `core.types.DraftRule` that a fit of the kind depends on
    unread_reasons   further codes of labels that cannot be learnt from, beside `core.types.UNREADABLE_CODES`, with a
                     few words on each. A code that begins with `core.types.PARTLY_READABLE` is that of a label of which
                     the rest can be learnt from
    part_name        the name of the parts of which values consist, such as "span"; "" if values are judged as a whole.
                     A kind with parts has the methods on parts
    changed_part     the name of what `draft_changes` counts, if that is no part of values: the words of a text
    agreement_name   the name of the measure of `agreement`
    min_labelled_share  the share of annotated tasks that must have a label of a control, so that it is learnt, unless
                     it may be hidden; 0 for any share. Annotators leave boxes for comments empty most of the time
    """

    name: ClassVar[str]
    tags: ClassVar[Mapping[str, int]]
    default_learner: ClassVar[str]
    replies_with_labels: ClassVar[bool] = False
    locates_regions: ClassVar[bool] = False
    reads_words: ClassVar[bool] = False
    prefers_words: ClassVar[bool] = False
    writes_texts: ClassVar[bool] = False
    draft_rule_names: ClassVar[tuple[str, ...]] = ()
    unread_reasons: ClassVar[Mapping[str, str]] = MappingProxyType({})
    part_name: ClassVar[str] = ""
    changed_part: ClassVar[str] = ""
    agreement_name: ClassVar[str] = "kappa"
    min_labelled_share: ClassVar[float] = 0.0

    # The labelling configuration

    @abstractmethod
    def read_schema(self, element: Any, name: str, source: str) -> Schema:
        """The schema of a control: from its element in the XML, its name, and the name of the tag that it labels."""

    def schema_problem(self, control: Schema) -> str:
        """A key of `core.schema.REASONS_NOT_LEARNT`, or a few words, if the control cannot be learnt, else ""."""
        return ""

    def is_dynamic(self, element: Any) -> bool:
        """Whether the labels of a control come from the task or from a server, so that they cannot be learnt.
        `element`: of the control in the XML"""
        return tag_attributes.is_dynamic(element)

    def learning_order(self, control: Schema) -> tuple[int, ...]:
        """A key that sorts the controls of one tag, the first to be learnt first."""
        return ()

    @abstractmethod
    def describe_control(self, control: Schema) -> str:
        """A few words on what annotators say, such as "one choice out of 3"."""

    def advice(self, control: Schema) -> str:
        """Attributes that should be added to a control, in a few words, "" if it can stay as it is."""
        return ""

    # Annotations and drafts in Label Studio

    @abstractmethod
    def read_label(self, regions: Sequence[Mapping[str, Any]], control: Schema, content: TaskContent) -> Label:
        """The label in an annotation's regions for a control. Without regions, the label says whether that means
        something. Never raises: regions may be malformed.

        content  of the task; only its id may be known unless `locates_regions`
        """

    @abstractmethod
    def write_regions(self, value: LabelValue, control: Schema, content: TaskContent) -> list[dict[str, Any]]:
        """The `type` and the `value` of each region with which the labelling screen stores a value of a task. A region
        may have a `score` of its own. `read_label` reads the regions as the same value. No region means that a value,
        unless it is empty, does not fit the content: then there is no draft. `content`: as in `read_label`"""

    def displayable_part(self, value: LabelValue, control: Schema, content: TaskContent) -> LabelValue:
        """The part of a draft that the labelling screen can show of a task, () if it can show nothing. The whole draft
        or nothing, unless the parts of a value are separate regions. `content`: as in `read_label`"""
        return value if self.write_regions(value, control, content) else ()

    def bulk_import_drops(self, control: Schema) -> bool:
        """Whether Label Studio's bulk import drops the drafts of a control, so that they are written one by one."""
        return False

    def unknown_labels(self, label: Label, control: Schema) -> tuple[str, ...]:
        """The parts of a label that are not labels of the control, as annotators read them."""
        return ()

    def leaves_out_hidden_draft(self, control: Schema) -> bool:
        """Whether the labelling screen submits no draft of a control that another choice hides ("choice-selected")."""
        return False

    def has_choice(self, control: Schema, value: LabelValue, choices: Sequence[str]) -> bool:
        """Whether a value fulfils a condition that shows other controls: whether it has one of `choices`, by their
        names or as Label Studio stores them; for no choices, whether it has any."""
        return bool(value) if not choices else not {*map(str, value)}.isdisjoint(choices)

    def in_words(self, control: Schema, value: LabelValue) -> tuple[str, ...]:
        """A value as people read it: its labels, or its parts; without labels that others of them imply."""
        return tuple(map(str, value))

    def draft_outcome(self, drafted: LabelValue, annotated: LabelValue) -> str:
        """What an annotator did with a draft: `accepted`, `edited` or `replaced`."""
        return "accepted" if drafted == annotated else "replaced"

    # Targets

    @abstractmethod
    def aggregate(self, control: Schema, labels: Sequence[Label]) -> Any | None:
        """The target of one task, an item of `as_targets`, from the labels that count, one of each annotator; None if
        none of them can be learnt from."""

    @abstractmethod
    def as_targets(self, control: Schema, targets: Sequence[Any]) -> Rows:
        """(n, ...) from n results of `aggregate`, also for n = 0."""

    @abstractmethod
    def target_values(self, control: Schema, targets: Rows) -> list[LabelValue]:
        """The value that each of n targets is most like. If the annotators are evenly split, it may be the union of
        their values."""

    def are_tied(self, control: Schema, targets: Rows) -> Mask:
        """(n,) whether the annotators of a task are evenly split."""
        return np.zeros(len(targets), np.bool_)

    def unusual_targets(self, control: Schema, texts: Texts, targets: Rows) -> dict[str, Mask]:
        """(n,) masks of targets that may be mistakes, by a few words on what they are. They are learnt from, and
        counted. `texts` (n,): of the tasks"""
        return {}

    def strata(self, control: Schema, targets: Rows) -> Mask:
        """(n, k) whether a target has each of k labels. A sample of many tasks has as many of each."""
        return np.zeros((len(targets), 0), np.bool_)

    # Learning

    @abstractmethod
    def learner(self, control: Schema, plugin: str) -> Learner:
        """The learner of a control, from the learner plugin of this name."""

    def learnable_rows(self, control: Schema, vectors: Floats) -> Mask | None:
        """(n,) the annotated rows that a learner is fitted and judged on, from their vectors (n, d); None for all."""
        return None

    @abstractmethod
    def fit_document(self, control: Schema) -> dict[str, Any]:
        """The properties of a control that a fit depends on, as JSON."""

    @abstractmethod
    def fitted_schema(self, document: Mapping[str, Any]) -> Schema:
        """The inverse of `fit_document`. All other properties of the control have their defaults."""

    def remap(self, control: Schema, rows: Rows, old: Schema) -> Rows | None:
        """Targets or predictions (n, ...) for the control `old` as those for `control`; None if they cannot be
        compared, for example because the labels are others."""
        return rows if self.fit_document(control) == self.fit_document(old) else None

    @abstractmethod
    def adapt(self, control: Schema, predicted: Rows, old: Schema) -> Rows:
        """The predictions (n, ...) of a learner that was fitted for the control `old`, as those for `control`, whatever
        has changed."""

    @abstractmethod
    def pack_targets(self, control: Schema, targets: Rows) -> Tensors:
        """Packs targets for an artifact without loss. The names of the tensors begin with `snapshot.`."""

    @abstractmethod
    def unpack_targets(self, control: Schema, tensors: Tensors) -> Rows:
        """Removes the tensors of `pack_targets` from those of an artifact; returns the targets."""

    @abstractmethod
    def pack_predicted(self, control: Schema, predicted: Rows) -> Tensors:
        """Packs predictions for an artifact, perhaps rounded. The names of the tensors begin with `snapshot.`."""

    @abstractmethod
    def unpack_predicted(self, control: Schema, tensors: Tensors) -> Rows:
        """Removes the tensors of `pack_predicted` from those of an artifact; returns the predictions."""

    # Drafts and the queue

    @abstractmethod
    def predictions(self, control: Schema, predicted: Rows) -> Predictions:
        """The predictions as query strategies see them."""

    @abstractmethod
    def drafts(self, control: Schema, predicted: Rows) -> list[tuple[LabelValue, float] | None]:
        """The value of each draft and its confidence in [0, 1]; None where nothing should be drafted, as in missing
        rows."""

    def draft_failures(self, control: Schema, predicted: Rows) -> Floats | None:
        """(n,) float32: the probabilities that the attribute that a project regulates fails in the drafts, 1 where
        there is none; None for a kind that drafts no texts, and while no attribute model judges them."""
        return None

    def attribute_judgement(
        self, control: Schema, tensors: Tensors, texts: Sequence[str], targets: Rows
    ) -> AttributeJudgement | None:
        """What the attribute model among the `tensors` of the learner says about the texts (n,) of tasks and their
        targets; None for a kind that drafts no texts, and without an attribute model."""
        return None

    def withheld_drafts(self, control: Schema, predicted: Rows) -> dict[str, int]:
        """The numbers of predictions that `drafts` does not draft although there is a value, by the reason in a few
        words."""
        return {}

    def checked(self, control: Schema, predicted: Rows, texts: Sequence[str], tensors: Tensors) -> Rows:
        """The predictions (n, ...) of a teacher after checks that need the `texts` (n,) of the tasks, and what the
        learner has found in annotations, its `tensors` ({} before there is a learner). `drafts` leaves out what fails
        them."""
        return predicted

    def is_predictable(self, control: Schema, predicted: Rows, targets: Rows) -> bool:
        """Whether n held-out predictions are so good that their uncertainty counts in the queue. If not, only the other
        controls of the project count, unless a setting weighs this one."""
        return True

    def cold_start(self, control: Schema, drafter: Drafter, texts: Sequence[str], vectors: Floats) -> Rows | None:
        """Predictions of the embedded teacher for n texts; None if it has none for this kind."""
        return None

    def doubts_learner(self, control: Schema) -> bool:
        """Whether a learner of few annotations is often worse than the embedded teacher, so that its drafts are shown
        only if they score at least as well on annotated tasks."""
        return False

    def support(self, control: Schema, predicted: Rows, drafted: Rows) -> Floats:
        """(n,) how much predictions support the drafts that are made of other predictions, `drafted`, for the same
        rows. A draft of a record is explained by the fields without which the support falls most."""
        return np.zeros(len(predicted), np.float32)

    # Evaluation

    @abstractmethod
    def scores(self, control: Schema, predicted: Rows, targets: Rows) -> Doubles:
        """(n,) in [0, 1]: how good each draft is, 1 if it is right. The promotion gate, the audit sample, the groups
        and the comparison with random order use nothing else."""

    def score_name(self, control: Schema) -> str:
        """The name of the mean score: ACCURACY if a score is 0 or 1."""
        return ACCURACY

    def main_metric(self, control: Schema) -> str:
        """The name of the metric that is shown where there is room for one: that of the mean score, or one of
        `metrics`. It is the mean of the scores with the weights `score_weights`."""
        return self.score_name(control)

    def score_weights(self, control: Schema, predicted: Rows, targets: Rows) -> Doubles | None:
        """(n,) the weights with which the mean of n scores is the main metric; None if all weights are equal."""
        return None

    @abstractmethod
    def expected_errors(self, control: Schema, predicted: Rows, targets: Rows) -> Floats:
        """(n,) float32 in [0, 1]: the expected error of each prediction. Unlike a score, it tells a sure prediction
        from an unsure one."""

    @abstractmethod
    def agreement(self, control: Schema, earlier: Rows, later: Rows) -> float:
        """The agreement of two learners' predictions for the same rows, at most 1; beyond chance, if the kind has such
        a measure. Labelling may stop when it stays near 1."""

    @abstractmethod
    def without_learner(self, control: Schema, targets: Rows, n: int) -> Rows:
        """n equal predictions that follow from the targets (m, ...) of other tasks alone, or from nothing if m is 0."""

    def metrics(self, control: Schema, predicted: Rows, targets: Rows) -> dict[str, float]:
        """The usual metrics of the kind, by name, besides the mean score."""
        return {}

    def simulation_metrics(
        self, control: Schema, predicted: Rows, targets: Rows, *, in_group: bool = False
    ) -> dict[str, float]:
        """The metrics of a simulation; `main_metric` is among them. `in_group`: the rows are one group of the test
        rows, so that some labels may be missing"""
        mean_score = float(self.scores(control, predicted, targets).mean())
        return {self.score_name(control): mean_score, **self.metrics(control, predicted, targets)}

    def region_counts(self, control: Schema, targets: Rows) -> Ints | None:
        """(n,) the number of regions that annotators mark in each of n tasks, as a measure of their effort; None if
        they mark none."""
        return None

    def label_masks(self, control: Schema, predicted: Rows, targets: Rows) -> LabelMasks:
        """The labels of drafts and targets, in which pairs of labels that are confused are found."""
        no_labels = np.zeros((len(targets), 0), np.bool_)
        return LabelMasks(no_labels, no_labels, no_labels)

    def label_scores(self, control: Schema, predicted: Rows, targets: Rows) -> dict[str, tuple[float, int]]:
        """The F1 score of each label that occurs, and in how many targets it occurs."""
        return {}

    def label_agreement(self, control: Schema, predicted: Rows, targets: Rows) -> dict[str, tuple[int, int]]:
        """For each label, in how many rows prediction and target agree on it, and how many rows have it."""
        return {}

    def balance(self, control: Schema, targets: Rows, source: EstimateSource) -> dict[str, Estimate]:
        """The share of each label in the targets of a random sample."""
        return {}

    def suspected_errors(
        self, control: Schema, predicted: Rows, targets: Rows, protected: Mask, budget: int
    ) -> list[SuspectedError]:
        """At most `budget` targets that are probably wrong according to held-out predictions, the most suspicious
        first. `protected` (n,): rows that are never proposed."""
        return []

    def irregularities(
        self, control: Schema, tasks: Sequence[int], targets: Rows, annotations: Sequence[Annotation]
    ) -> Iterator[str]:
        """Yields a sentence for each irregularity in the annotations of n tasks. `annotations`: of these and other
        tasks"""
        yield from ()

    # Parts of values

    def part_counts(self, control: Schema, predicted: Rows, targets: Rows) -> dict[str, PartCounts]:
        """For each label that occurs, the numbers of right, drafted and annotated parts in n drafts and targets."""
        return {}

    def part_errors(self, control: Schema, predicted: Rows, targets: Rows) -> list[PartError]:
        """The errors in the parts of n drafts."""
        return []

    def part_agreement(self, control: Schema, labels: Sequence[Sequence[Label]]) -> PartAgreement | None:
        """How far annotators agree. `labels`: of each task, one label of each annotator. None if no task has several
        labels that can be compared"""
        return None

    def draft_changes(self, drafted: LabelValue, annotated: LabelValue, text: str) -> DraftChanges:
        """How many parts of a draft, or how many of what `changed_part` names, an annotator kept, removed and added.
        `text`: of the task, in which words are counted"""
        return DraftChanges()

    def quote(self, control: Schema, value: LabelValue, text: str, *, in_context: bool = True) -> str:
        """A quote of a task's text in which the parts of a value are marked; "" if a part is not in the text, and for a
        value without parts. `in_context`: with a few words before and after them"""
        return ""

    # The teacher

    def describes_labels(self, control: Schema) -> bool:
        """Whether phrases can describe the labels of a control, to the teacher and to the learner."""
        return False

    def reply_format(
        self, control: Schema, descriptions: Mapping[str, str] = NO_DESCRIPTIONS, refusal: str = ""
    ) -> ReplyFormat | None:
        """The part of a question to a teacher that is about a control; None if a teacher is not asked about it.

        descriptions  of the labels, by label
        refusal       what a teacher may reply instead, "" for nothing
        """
        return None

    def reply_of(self, control: Schema, value: LabelValue, text: str) -> Any:
        """The reply, as JSON, that says a value. `text`: the beginning of the task's text that the teacher reads"""
        return list(value)

    def read_replies(self, control: Schema, replies: Rows, texts: Texts) -> Rows:
        """(m, ...) the predictions of a teacher, from m replies: the probabilities of the labels, (m, c) float32, if
        `replies_with_labels`, else (m,) objects of JSON, which may be of any form. `texts`: of the m tasks, of which
        the teacher has read the beginning (`core.teacher_types.MAX_TEXT_LENGTH`)"""
        return self.as_targets(control, [])

    def reply_problem(self, control: Schema, reply: Any, text: str, refusal: float) -> str:
        """A reason of `kinds.reply_problems` if a text that a teacher wrote is not used with its label, "" if it is.

        reply    to the text, in the form of one of `read_replies`
        refusal  the probability of the refusal that the question offered, 0 if it offered none
        """
        return ""

    def reliability(self, control: Schema, predicted: Rows, targets: Rows, *, is_trusted: bool) -> Doubles:
        """Estimates how far the annotators follow a teacher, from its predictions for n tasks and their targets.

        is_trusted  whether a teacher counts as right until annotators contradict it

        Returns float64 numbers of any shape; `expected` knows their meaning.
        """
        return np.zeros(0)

    def expected(self, control: Schema, predicted: Rows, reliability: Doubles) -> Rows:
        """The predictions of what annotators will say, from those of a teacher and its reliability."""
        return predicted

    def distilled_targets(self, control: Schema, expected: Rows) -> Rows:
        """(m, ...) the targets that a learner is distilled from, from m results of `expected`."""
        return expected
