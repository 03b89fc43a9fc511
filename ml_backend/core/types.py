"""Frozen values that the parts of Apprentice exchange: schema, tasks, annotations, drafts, versions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from math import isfinite
from typing import Any, Literal

CONTENT_KEY_BYTES = 16
MAX_RECORD_FIELDS = 300  # further fields of a record are not read
MAX_FIELD_CHARACTERS = 64  # of the name of a field, and of a value that may name a group
UNNAMED_FIELD = "(unnamed)"  # for example the first column of a CSV file
MAX_LISTED = 5  # names or tasks that a message lists
LABEL_PATH_SEPARATOR = " > "
"""Separates the labels of a path in the name of a nested label."""


def content_key(text: str) -> bytes:
    """The hash of `CONTENT_KEY_BYTES` bytes under which a text's vector is cached."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=CONTENT_KEY_BYTES).digest()


EMPTY_TEXT_KEY = content_key("")
"""The content key of a task that has neither a text nor a record."""


def storable_text(text: str) -> str:
    """The text with replacements for NUL, which PostgreSQL cannot store, and lone surrogates, which no database can."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def label_words(label: str) -> str:
    """A label's name as words: 'abbreviation_question' and 'AbbreviationQuestion' -> 'abbreviation question'."""
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    words = re.sub(r"[\W_]+", " ", separated).split()
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in words) or label


def shorten(value: str, max_length: int = 24) -> str:
    """The value with at most `max_length` characters, the last of them an ellipsis if it is cut."""
    return value if len(value) <= max_length else f"{value[: max_length - 1]}…"


def listed(names: Sequence[object]) -> str:
    """The first `MAX_LISTED` names, and the number of the others."""
    shown = ", ".join(map(str, names[:MAX_LISTED]))
    return shown + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def listed_tasks(tasks: Sequence[int]) -> str:
    """The number of the tasks, and the ids of the first ones."""
    return f"{len(tasks)} (task {listed(tasks)})"


def record_field_name(field: object) -> str:
    """The name of a field in a record: without characters that cannot be stored, and of limited length."""
    return storable_text(str(field)).strip()[:MAX_FIELD_CHARACTERS] or UNNAMED_FIELD


def record_text(record: Mapping[str, Any]) -> str:
    """A record as the text of a `TaskContent`: JSON, with the fields in alphabetical order."""
    return json.dumps(record, ensure_ascii=False, sort_keys=True)


def read_record(text: str) -> dict[str, Any]:
    """The record of a text that `record_text` wrote, {} for any other text."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def storable_json(value: Any) -> Any:
    """The JSON value with the `storable_text` of each text, and without infinite numbers; None if it is nested too
    deeply."""
    try:
        return _storable_json(value)
    except RecursionError:
        return None


def _storable_json(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable_text(str(name)): _storable_json(item) for name, item in value.items()}
    if isinstance(value, float) and not isfinite(value):  # PostgreSQL refuses it
        return None
    return [_storable_json(item) for item in value] if isinstance(value, list) else value


SYNTHETIC_FIELD = "apprentice_synthetic"
"""The field that marks a task whose text the teacher wrote. Its value is the intended difficulty, hard or easy."""


MAX_TEXT_CHARACTERS = 20_000
"""Characters of a text that are read; no encoder reads as many."""


@dataclass(frozen=True, slots=True)
class TaskContent:
    """The content of one task.

    task    the id of the task in Label Studio
    text    the first `MAX_TEXT_CHARACTERS` of the text, or the record as `record_text` writes it; two texts that are
            compared are a record of them
    key     the content key of the text, under which its vector is cached
    fields  the short values of the task's other data, as text: each may name the task's group
    displayed_values  the values that the tags `InputSpec.located` display, as JSON by the names of the tags, unless
                      they are the text
    """

    task: int
    text: str
    key: bytes
    fields: Mapping[str, str] = field(default_factory=dict)
    displayed_values: Mapping[str, Any] = field(default_factory=dict)

    def displayed(self, object_tag: str) -> Any:
        """The value that the object tag with this name, one of `InputSpec.located`, displays: a text, HTML, a number,
        the messages of a dialogue, or a record. None if the task has none, or one that is too large or cannot be
        stored."""
        return self.displayed_values.get(object_tag, self.text)


def unknown_content(task: int) -> TaskContent:
    """The content of a task of which only the id is known."""
    return TaskContent(task, "", EMPTY_TEXT_KEY)


LabelValue = tuple[Any, ...]
"""The value of a control, in the form of its kind: of choices, the names of the chosen labels. It consists of texts,
numbers and tuples of these, and can be stored as JSON."""


@dataclass(frozen=True, slots=True)
class Label:
    """What one annotation says for one control.

    value   the labels of the control, also other values of the control tag. Of choices: if it is empty and `unread` is
            "", none of several labels applies
    unread  one of the codes `UNREADABLE_CODES` if the label cannot be learnt from, PARTLY_READABLE if only a part of
            `value` are labels, else "". Kinds have further codes, see `Kind.unread_reasons`
    """

    value: LabelValue
    unread: str = ""

    @property
    def is_read(self) -> bool:
        """Whether a learner can be fitted on the label."""
        return not self.unread or self.is_partly_read

    @property
    def is_partly_read(self) -> bool:
        """Whether a learner can be fitted on a part of the label only."""
        return self.unread.startswith(PARTLY_READABLE)


@dataclass(frozen=True, slots=True)
class Annotation:
    """The annotation of one task by one annotator.

    task        the id of the task
    annotator   the id of the annotator, None if unknown
    labels      the label for each control that is learnt, by the name of the control
    cancelled   whether the annotator skipped the task
    updated_at  ISO text in UTC
    lead_time   seconds that the annotator took
    """

    id: int
    task: int
    annotator: int | None
    labels: Mapping[str, Label] = field(default_factory=dict)
    cancelled: bool = False
    ground_truth: bool = False
    updated_at: str = ""
    lead_time: float | None = None


PARTLY_READABLE = "partly"
UNREADABLE_CODES = ("empty", "control", "label", "parent", "shape")
"""Codes of labels that cannot be learnt from: nothing is chosen; the control does not exist; no label exists; the
chosen label holds nested labels; or the value is no label."""


@dataclass(frozen=True, slots=True)
class DraftRule:
    """What a learner drafts, for kinds of labels that draft parts of a text, or texts.

    precision  the lowest expected share of right parts among the drafted ones of a label; 0 for any share that gives
               the highest expected F1 score
    repeats    whether what annotators have marked once is drafted wherever it occurs, as far as they bear it out
    attribute  of texts: the setting of the attribute model that judges drafts, "" for none
    trusts_attribute  whether the attribute model judges drafts however often it is wrong about accepted pairs
    """

    precision: float = 0.0
    repeats: bool = True
    attribute: str = ""
    trusts_attribute: bool = False


DEFAULT_DRAFT_RULE = DraftRule()


@dataclass(frozen=True, slots=True)
class Draft:
    """A pre-annotation for one control: the label, its confidence, who made it, and the fields of a record that support
    it most."""

    value: LabelValue
    confidence: float
    author: Literal["learner", "teacher"]
    explanation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One task of the published queue.

    score   the rank in [0, 1], not the confidence of the draft: the task with the lowest score is served first
    drafts  the draft for each control that has one, by the name of the control; none for a task of the audit sample
    reason  a few words on why the task is in the queue
    """

    task: int
    score: float
    drafts: Mapping[str, Draft] = field(default_factory=dict)
    reason: str = ""


class EstimateSource(StrEnum):
    """The observations from which a share is estimated. The comments name the details of each."""

    AUDIT_SAMPLE = "audit sample"
    AUDIT_SAMPLE_CROSS_VALIDATED = "audit sample, cross-validated"
    AUDIT_SAMPLE_PREQUENTIAL = "audit sample, prequential"  # fewest, most: answers before a judged one
    ALL_LABELS_CROSS_VALIDATED = "all labels, cross-validated"  # audited, minimum: answers of the audit sample
    GROUP = "group"
    QUEUE = "queue"
    TEACHER_LABELS = "teacher labels"
    LEARNER_LABELS_CROSS_VALIDATED = "learner labels, cross-validated"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured share with its 95 % interval, from `n` observations.

    source   an EstimateSource; a description in an estimate that was stored before there were codes
    details  numbers about the source
    """

    value: float
    low: float
    high: float
    n: int
    source: str
    details: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remark:
    """What users should know about a version, as a code and the values of its sentence, which can be stored as JSON.
    `rendering.remarks_text` words it.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ControlVersion:
    """The learner of one control in a version.

    learner   the number of the version for which the serving learner was fitted: an earlier one if the promotion gate
              kept it, None while the teacher alone drafts
    labelled  number of tasks with a label
    accuracy  of the serving learner
    is_rarely_labelled  whether annotators leave the control empty so often that nothing is drafted for it, see
              `Kind.min_labelled_share`
    """

    learner: int | None
    labelled: int
    accuracy: Estimate | None
    is_rarely_labelled: bool = False


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One published version of a project's queue.

    number       the number of the version
    name         the name of the version in Label Studio (model_version)
    learner      the number of the version whose artifact holds the serving learners of all controls: `number` if a
                 candidate was promoted, else an earlier number; None while the teacher alone drafts
    labelled     number of tasks that are labelled for a control
    controls     the learner of each control, by its name
    created_at   seconds since the epoch
    remarks      what users should know about the version
    acquisition  the query strategy that ordered the queue
    """

    project: int
    number: int
    name: str
    learner: int | None
    labelled: int
    controls: Mapping[str, ControlVersion]
    created_at: float
    remarks: tuple[Remark, ...] = ()
    acquisition: str = ""

    def learner_of(self, control: str) -> int | None:
        """The number of the version for which the learner of a control was fitted; None if no learner serves it."""
        of_control = self.controls.get(control)
        return of_control.learner if of_control else None

    @property
    def controls_without_learner(self) -> set[str]:
        """The names of the controls that no learner serves. The artifact may have one of a control that has lost its
        labels since."""
        return {name for name, control in self.controls.items() if control.learner is None}

    @property
    def accuracy(self) -> Estimate | None:
        """The accuracy of the least accurate learner, None as long as none is known."""
        known = [control.accuracy for control in self.controls.values() if control.accuracy]
        return min(known, key=lambda estimate: estimate.value, default=None)
