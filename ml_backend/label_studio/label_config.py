"""Reads Label Studio's labelling configuration (XML) into a ProjectSchema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from typing import Any

from ml_backend.core import registry
from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.schema import (
    MAX_LABELS,
    REASONS_NOT_LEARNT,
    ControlSchema,
    InputSpec,
    ProjectSchema,
    UnlearntControl,
    compares_pair,
)
from ml_backend.kinds.base import Kind
from ml_backend.kinds.lookup import kind_of, kinds_by_tag
from ml_backend.kinds.tag_attributes import is_conditional, is_per_region, is_required, show_conditions
from ml_backend.label_studio.input_tags import OBJECT_TAGS, WHOLE_FIELD, read_input, read_object_tag, tag_fields

Pair = tuple[tuple[str, ...], ...]
"""The fields of each side of a comparison, see `InputSpec.pair`."""
TEXT_SOURCES = tuple(tag for tag in OBJECT_TAGS if tag != "Table")
"""The object tags that can be compared."""
PROBLEMS = {
    "name": "{control} has the name of another control: give each control a name of its own",
    "dynamic": "{control} takes its labels from the task or a server: list them in the configuration",
    "source": "{control} does not point at {sources} (toName)",
    "two sources": "{control} does not point at {sources} (toName)",
    "prefilled": "{control} is filled with a text of the task, which annotators would submit as it is: remove `value`",
    "per region": "{control} is asked for each region: only whole tasks can be labelled",
    "composed": "{source} must display a single value of the task, such as $text: {control} marks positions",
    "value": "{source} must take its value from the task, for example $text, and the value must not be a URL",
    "few labels": "{control} has too few labels to learn from",
    "many labels": f"{{control}} has more than {MAX_LABELS} labels: leave out the deepest ones",
}
"""What is wrong with a control that could be learnt, by the code of `UnlearntControl`."""


def read_schema(label_config: str, choices: str = "") -> ProjectSchema:
    """The input and the controls of a project. `choices`: the name of the only control that is learnt, "" to learn all
    that can be.

    A control whose tag a kind of labels has can be learnt if it points at one of `OBJECT_TAGS`. Raises
    UnsupportedConfigError, whose message says what is missing, if no control can be learnt.
    """
    return _read_schema(label_config, choices, id(registry.kinds()))


@lru_cache(maxsize=256)
def _read_schema(label_config: str, choices: str, kinds: int) -> ProjectSchema:
    """`kinds`: identifies the installed kinds of labels, because another kind may read other tags"""
    interface, tree = _parse(label_config)
    learnt, unlearnt = _read_controls(interface, tree, choices)
    tag_by_name = {tag.name: tag for tag in interface.controls}
    learnt, of_other_text = _with_same_text(learnt, tag_by_name)
    unlearnt += of_other_text
    if not learnt:
        raise UnsupportedConfigError(_refusal(tag_by_name, unlearnt, choices))
    learnt_tags = [tag_by_name[control.name] for control in learnt]
    if any(kind_of(control).reads_words for control in learnt):
        seen = [source for tag in learnt_tags for source in _sources(tag)]
    else:
        seen = _tags_of_input(learnt_tags, tag_by_name, list(interface.objects))
    pair = next((_pair(tag_by_name[control.name]) for control in learnt if compares_pair(control)), ())
    learnable, _ = _read_controls(interface, tree, "") if choices else (learnt, unlearnt)
    controls = tuple(replace(control, needs_name=_needs_name(control, learnable)) for control in learnt)
    input_spec = replace(read_input(seen), pair=pair)
    located = {control.object_tag for control in controls if control.object_tag and kind_of(control).locates_regions}
    input_spec = replace(
        input_spec,
        located=tuple(sorted(located, key=lambda tag: tag.name)),
        reads_words=_reads_words(controls, input_spec),
    )
    return ProjectSchema(input_spec, controls, tuple(unlearnt))


def _with_same_text(
    learnt: Sequence[ControlSchema], tag_by_name: Mapping[str, Any]
) -> tuple[list[ControlSchema], list[UnlearntControl]]:
    """The controls without those that read the words of another text than the other controls label, and these:
    vectors of words are made of a single text."""
    fields = {
        control.name: {field for source in _sources(tag_by_name[control.name]) for field in tag_fields(source)}
        for control in learnt
    }
    others = [fields[control.name] for control in learnt if not kind_of(control).reads_words]
    text = set.union(*others) if others else fields[learnt[0].name] if learnt else set()
    kept = [c for c in learnt if not kind_of(c).reads_words or (len(text) == 1 and fields[c.name] == text)]
    return kept, [UnlearntControl(c.name, c.tag, "other text") for c in learnt if c not in kept]


def _reads_words(controls: Sequence[ControlSchema], input_spec: InputSpec) -> bool:
    """Whether vectors of words are made: they take time and space, so that one kind alone gets them only if it needs
    them."""
    kinds = [kind_of(control) for control in controls]
    are_used = all(of_kind.reads_words or of_kind.prefers_words for of_kind in kinds)
    return any(of_kind.reads_words for of_kind in kinds) or (are_used and bool(input_spec.text_field))


def _needs_name(control: ControlSchema, learnable: Sequence[ControlSchema]) -> bool:
    """Whether a reply with the labels of a control may be for another one: an earlier one with the same labels, which
    was the one to be learnt when only one was, or one with more labels. `learnable`: also controls that the setting
    `choices` leaves out, since it may have named another one"""
    labels = set(control.labels)
    if not labels:
        return False
    earlier = takewhile(lambda other: other.name != control.name, learnable)
    return any(labels == {*other.labels} for other in earlier) or any(labels < {*other.labels} for other in learnable)


def read_controls(label_config: str) -> tuple[list[ControlSchema], list[UnlearntControl]]:
    """The controls that can be learnt and the others, in the order of `ProjectSchema`. Raises UnsupportedConfigError if
    the configuration cannot be read."""
    return _read_controls(*_parse(label_config), "")


def _parse(label_config: str) -> tuple[Any, Any]:
    """The SDK's object for a labelling configuration, and the root of its XML."""
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        interface = LabelInterface(label_config)
        list(interface.controls)
        *_, tree = interface.parse(label_config)
    except Exception as error:  # the SDK passes on the errors of lxml, of its validation and of missing attributes
        raise UnsupportedConfigError(
            "The labelling configuration cannot be read: it is not valid XML of Label Studio"
        ) from error
    return interface, tree


def _read_controls(interface: Any, tree: Any, choices: str) -> tuple[list[ControlSchema], list[UnlearntControl]]:
    learnt: list[tuple[Any, ControlSchema]] = []  # with the key of the order
    unlearnt: list[UnlearntControl] = []
    pair: Pair = ()  # that of the first comparison: a project has one vector for each task
    name_counts = Counter(element.get("name") for element in tree.iter() if element.get("toName"))
    for tag in interface.controls:
        element = next((element for element in tree.iter(tag.tag) if element.get("name") == tag.name), None)
        if choices not in ("", tag.name):
            control: ControlSchema | str = "setting"
        elif name_counts[tag.name] > 1 and tag.tag in kinds_by_tag():
            control = "name"
        else:
            control = _read_control(tag, element)
        if isinstance(control, ControlSchema) and compares_pair(control):
            pair = pair or _pair(tag)
            control = control if _pair(tag) == pair else "pair"
        if isinstance(control, str):
            unlearnt.append(UnlearntControl(tag.name, tag.tag, control))
        else:
            learnt.append((_learning_order_key(element, control), control))
    # Label Studio takes a control without `toName`, and its validation refuses all predictions for such a control
    for element in tree.iter(*kinds_by_tag()):
        if element.get("name") and not element.get("toName"):
            unlearnt.append(UnlearntControl(element.get("name"), element.tag, "source"))
    return [control for _, control in sorted(learnt, key=lambda entry: entry[0])], unlearnt


def _read_control(tag: Any, element: Any) -> ControlSchema | str:
    """The schema of a control, or the code of the reason why it is not learnt. `tag`: the SDK's object; `element`: its
    element in the XML"""
    of_kind = kinds_by_tag().get(tag.tag)
    if of_kind is None or element is None:
        return "tag"
    sources = _sources(tag)
    if code := _problem(of_kind, element, sources):
        return code
    control: ControlSchema = of_kind.read_schema(element, tag.name, sources[0].name)
    control = replace(control, shown_if=show_conditions(element), object_tag=read_object_tag(sources[0]))
    return of_kind.schema_problem(control) or control


def _problem(of_kind: Kind[Any], element: Any, sources: Sequence[Any]) -> str:
    """The code of the reason why a control is not learnt, whatever its labels are, "" for none. `element`: of the
    control in the XML; `sources`: see `_sources`"""
    if of_kind.is_dynamic(element):
        return "dynamic"
    if not sources:
        return "source" if _source_count(element.tag) == 1 else "two sources"
    if is_per_region(element):
        return "per region"
    if of_kind.locates_regions and not WHOLE_FIELD.fullmatch(str(sources[0].value)):
        return "composed"
    return "" if all(tag_fields(source) for source in sources) else "value"


def _learning_order_key(element: Any, control: ControlSchema) -> tuple[int, ...]:
    """The key that sorts the controls: those of the first of `kinds_by_tag` first. Among these, a control that is
    always visible comes first, then one that is required, then as its kind orders them."""
    tag_rank = [*kinds_by_tag()].index(control.tag)
    return tag_rank, is_conditional(element), not is_required(element), *kind_of(control).learning_order(control)


def _refusal(tag_by_name: Mapping[str, Any], unlearnt: Sequence[UnlearntControl], choices: str) -> str:
    """Says why no control of a configuration is learnt. `tag_by_name`: the SDK's objects for the controls"""
    for control in unlearnt:
        if control.code in PROBLEMS:
            tag = tag_by_name.get(control.name)  # it may be another tag with the same name
            sources = _sources(tag) if tag is not None and tag.tag == control.tag else []
            needs_two = _source_count(control.tag) == 2
            return PROBLEMS[control.code].format(
                control=f"<{control.tag} name={control.name!r}>",
                source=" or ".join(f"<{source.tag} name={source.name!r}>" for source in sources),
                sources=f"two of {_tag_list(TEXT_SOURCES)}" if needs_two else f"a {_tag_list(OBJECT_TAGS)}",
            )
        if control.code not in REASONS_NOT_LEARNT:
            return f"<{control.tag} name={control.name!r}> cannot be learnt: {control.reason}"
    if choices:
        names = ", ".join(repr(control.name) for control in unlearnt if control.tag in kinds_by_tag())
        return (
            f"The labelling configuration has no control to learn with the name {choices!r}, which the setting "
            f"`choices` has: there is {names or 'none'}"
        )
    return (
        f"The labelling configuration has no {_tag_list(kinds_by_tag())} over a {_tag_list(OBJECT_TAGS)}: add one, "
        "because nothing else can be learnt"
    )


def _tag_list(tags: Iterable[str]) -> str:
    """The names of tags, in words."""
    *first, last = (f"<{tag}>" for tag in tags)
    return f"{', '.join(first)} or {last}" if first else last


def _sources(tag: Any) -> list[Any]:
    """The object tags that a control labels together, one for most controls; [] if their content is not read."""
    count = _source_count(tag.tag)
    readable_tags = OBJECT_TAGS if count == 1 else TEXT_SOURCES
    sources = [source for source in tag.objects or () if source.tag in readable_tags][:count]
    return sources if len(sources) == count else []


def _source_count(tag: str) -> int:
    return kinds_by_tag()[tag].tags[tag]


def _pair(tag: Any) -> Pair:
    """The fields of the left and of the right text of a comparison."""
    return tuple(tuple(tag_fields(source)) for source in _sources(tag))


def _tags_of_input(learnt: Sequence[Any], controls: Mapping[str, Any], objects: Sequence[Any]) -> list[Any]:
    """The object tags that are read: those that the learnt controls label, then those that no other control labels.
    `controls`: the SDK's objects for all controls, by name"""
    sources = [source for tag in learnt for source in _sources(tag)]
    labelled = {name for tag in learnt for name in tag.to_name}
    foreign = {name for tag in controls.values() if tag not in learnt for name in tag.to_name or ()} - labelled
    return [*sources, *(tag for tag in objects if tag.tag in OBJECT_TAGS and tag.name not in foreign)]
