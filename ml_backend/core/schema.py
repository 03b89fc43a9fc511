"""What a labelling configuration asks: one input that annotators read, and the controls with which they label it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ml_backend.core.exceptions import ApprenticeError

PAIR_SIDES = ("left", "right")
"""The fields of a task with two texts that are compared, and the labels of the comparison."""


@dataclass(frozen=True, slots=True)
class DialogueField:
    """A field of a task's data that holds a dialogue: a list of objects, one for each message.

    author_key, text_key  the keys of an object that hold the author and the text of a message
    """

    name: str
    author_key: str
    text_key: str


@dataclass(frozen=True, slots=True)
class ObjectTag:
    """A tag that displays a part of a task, which controls label.

    tag         the name of the tag in the XML: Text, HyperText, Paragraphs …
    value       the attribute that names fields of the task's data, such as "$text"
    attributes  the other attributes, the names in lower case, sorted
    """

    name: str
    tag: str
    value: str
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The fields of a task's data that are read: a text, a record, or a pair of texts that are compared.

    text_field      the field that holds the text; "" if the tasks are records
    record_field    the field that holds the record as an object; "" if there is none
    fields          fields of the task that are fields of the record, the field that the question is about first
    html            those of the fields above that hold HTML
    dialogues       those that hold a dialogue
    lists           those that hold a list of items with titles and bodies
    pair            the fields with the left and those with the right text of a comparison, also in `fields`; () if
                    nothing is compared
    located         the tags in whose displayed content regions have positions, see `TaskContent.displayed_values`
    reads_words     whether a control needs the vectors of the words of the text
    """

    text_field: str = ""
    record_field: str = ""
    fields: tuple[str, ...] = ()
    html: tuple[str, ...] = ()
    dialogues: tuple[DialogueField, ...] = ()
    lists: tuple[str, ...] = ()
    pair: tuple[tuple[str, ...], ...] = ()
    located: tuple[ObjectTag, ...] = ()
    reads_words: bool = False

    @property
    def structured(self) -> tuple[str, ...]:
        """The fields that hold lists of objects, which are read as texts."""
        return (*(dialogue.name for dialogue in self.dialogues), *self.lists)

    @property
    def is_record(self) -> bool:
        """Whether the tasks are records, whose fields are encoded one by one."""
        return bool(self.record_field or self.fields) and not self.pair

    @property
    def data(self) -> tuple[str, ...]:
        """The fields of a task's data that hold the text or the record."""
        return tuple(name for name in (self.text_field, self.record_field, *self.fields) if name)


ShowWhen = Literal["choice-selected", "choice-unselected", "region-selected"]
"""A value of `visibleWhen` under which a control may stay hidden."""


@dataclass(frozen=True, slots=True)
class ShowCondition:
    """A condition under which annotators are shown a control.

    control  the name of the control whose choices count, "" for any <Choices>
    choices  one of these must be chosen in it, by name or stored value, or none of them for "choice-unselected"; () for
             any choice
    """

    when: ShowWhen
    control: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlSchema:
    """A control of a labelling configuration that is learnt. A kind of labels whose controls have more to describe has
    a class of its own for them, such as `ChoicesSchema`.

    name         the name of the control tag (from_name of a region)
    source       the name of the object tag (to_name of a region)
    labels       the labels as annotators read them; () if annotations consist of no labels
    hints        descriptions of the labels, one for each label ("" for none), or ()
    conditional  whether the control may stay hidden or must be answered: then an empty annotation has no meaning
    kind         the name of the kind of labels, see `kinds.base`
    tag          the control tag, one of those of the kind
    shown_if     the conditions under which annotators are shown the control, all of which must hold
    needs_name   whether a teacher's reply that names no control is not for it, because another control, also one that
                 the setting `choices` leaves out, has its labels
    object_tag   the object tag; None if the control was not read from a labelling configuration
    """

    name: str
    source: str
    labels: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    conditional: bool = False
    kind: str = ""
    tag: str = ""
    # not in `repr`, which identifies how annotations are read (see `sync`): these change no annotation
    shown_if: tuple[ShowCondition, ...] = field(default=(), repr=False)
    needs_name: bool = field(default=False, repr=False)
    # a change of the object tag changes the `InputSpec`, if it changes what is read
    object_tag: ObjectTag | None = field(default=None, repr=False, compare=False)

    @property
    def always_answered(self) -> bool:
        """Whether every annotation has a label: annotators are always shown the control, and must answer it."""
        return self.conditional and not self.shown_if


@dataclass(frozen=True, slots=True)
class ChoicesSchema(ControlSchema):
    """A control whose annotations consist of labels for a whole task.

    multiple     whether several labels may hold at once
    stored       for each label the value, or the path of a nested label, that Label Studio stores; () if it stores the
                 labels themselves
    nested       whether labels are nested in labels
    ordered      whether the labels are in their order, so that a wrong label may be near the right one or far from it
    parents      for each label the index of its parent, which comes before it, or -1; () if no label has a parent. A
                 label implies its ancestors
    max_usages   the highest number of labels, without implied ones, that Label Studio accepts; 0 for any number
    antisymmetric  whether the labels are the sides of a pair, so that swapping the sides swaps the labels
    """

    kind: str = "choices"
    tag: str = "Choices"
    multiple: bool = False
    stored: tuple[tuple[str, ...], ...] = ()
    nested: bool = False
    ordered: bool = False
    parents: tuple[int, ...] = ()
    max_usages: int = 0
    antisymmetric: bool = False


def takes_several_labels(control: ControlSchema) -> bool:
    """Whether a control is one of choices of which several may hold at once."""
    return isinstance(control, ChoicesSchema) and control.multiple


def has_ordered_labels(control: ControlSchema) -> bool:
    """Whether the labels of a control are in an order, as the numbers of a rating."""
    return isinstance(control, ChoicesSchema) and control.ordered


def compares_pair(control: ControlSchema) -> bool:
    """Whether the labels of a control are the sides of a pair of texts."""
    return isinstance(control, ChoicesSchema) and control.antisymmetric


MAX_LABELS = 2000
"""Labels of a control that is learnt."""


@dataclass(frozen=True, slots=True)
class UnlearntControl:
    """A control that is not learnt.

    tag   the kind of control tag, for example Choices
    code  the reason: a key of `REASONS_NOT_LEARNT`, or the words of the kind of labels
    """

    name: str
    tag: str
    code: str

    @property
    def reason(self) -> str:
        """The reason in a few words."""
        return REASONS_NOT_LEARNT.get(self.code, self.code)


REASONS_NOT_LEARNT = {
    "tag": "controls with this tag are not",
    "name": "another control has the same name",
    "source": "it labels none of the tags that are read",
    "two sources": "it does not label two of the tags that are read",
    "value": "what it labels is not in the tasks",
    "composed": "it marks positions in a text that Label Studio composes",
    "dynamic": "its labels come from the task or a server",
    "prefilled": "its value fills the box with a text of the task, which annotators would submit as it is",
    "per region": "it is asked for each region",
    "few labels": "it has too few labels",
    "many labels": f"it has more than {MAX_LABELS} labels",
    "other text": "it marks another text than the other controls label",
    "pair": "it compares other texts than the first Pairwise",
    "setting": "the setting `choices` names another",
}
"""Why a control is not learnt, by the code of `UnlearntControl`."""


@dataclass(frozen=True, slots=True)
class ProjectSchema:
    """The input of a project and its controls.

    controls  the controls that are learnt, at least one, the one that annotators are asked most surely first
    unlearnt  the other controls, in the order of the configuration
    """

    input: InputSpec
    controls: tuple[ControlSchema, ...]
    unlearnt: tuple[UnlearntControl, ...] = ()

    @property
    def control_names(self) -> tuple[str, ...]:
        """The names of all controls."""
        return (*(control.name for control in self.controls), *(control.name for control in self.unlearnt))

    def selected_controls(self, name: str) -> tuple[ControlSchema, ...]:
        """The learnt control with this name, or all of them for "". Raises ApprenticeError if there is none, with the
        reason if the control exists."""
        selected = tuple(control for control in self.controls if name in ("", control.name))
        if not selected:
            reasons = [control.reason for control in self.unlearnt if control.name == name]
            reason = f" ({reasons[0]})" if reasons else ""
            names = ", ".join(repr(control.name) for control in self.controls)
            raise ApprenticeError(f"The project learns no control {name!r}{reason}: name one of {names}")
        return selected

    @property
    def names_controls(self) -> bool:
        """Whether a question to a teacher about one of the controls names it: there are several, or the reply could
        otherwise be for another one."""
        return len(self.controls) > 1 or self.controls[0].needs_name

    def only(self, control: ControlSchema) -> ProjectSchema:
        """The schema with one learnt control; the others count as those that the setting `choices` leaves out."""
        others = tuple(UnlearntControl(other.name, "", "setting") for other in self.controls if other != control)
        return replace(self, controls=(control,), unlearnt=(*others, *self.unlearnt))
