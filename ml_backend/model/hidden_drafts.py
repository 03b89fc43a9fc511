"""Removes drafts of controls that annotators are not shown, whose labels they would submit without having seen them.

Measured on Label Studio 1.23: the labelling screen submits the drafted region of a hidden control, except that of a
<Choices> or <Taxonomy> that is hidden by "choice-selected", or of a control whose own "choice-unselected" hides it. A
draft of the former stays, because the screen fills it in when the annotator makes a choice that shows the control.
"""

from __future__ import annotations

from collections.abc import Mapping

from ml_backend.core.schema import ControlSchema, ProjectSchema, ShowCondition
from ml_backend.core.types import LABEL_PATH_SEPARATOR, Draft
from ml_backend.kinds.choices.hierarchy import deepest_labels
from ml_backend.kinds.choices.tags.control_tag import stored_paths

LEFT_OUT_TAGS = ("Choices", "Taxonomy")
"""Control tags whose regions the labelling screen leaves out if "choice-selected" hides the control."""


def without_hidden(drafts: Mapping[str, Draft], schema: ProjectSchema) -> dict[str, Draft]:
    """The drafts of a task, by the name of the control, without those of controls that these drafts hide and that the
    labelling screen would submit."""
    controls = {control.name: control for control in schema.controls}
    return {
        name: draft
        for name, draft in drafts.items()
        if _is_left_out_if_hidden(controls[name]) or _is_shown(controls[name], drafts, controls)
    }


def _is_left_out_if_hidden(control: ControlSchema) -> bool:
    return control.tag in LEFT_OUT_TAGS and all(condition.when == "choice-selected" for condition in control.shown_if)


def _is_shown(control: ControlSchema, drafts: Mapping[str, Draft], controls: Mapping[str, ControlSchema]) -> bool:
    """Whether the labelling screen shows a control as long as the annotator changes no draft. `controls`: by name"""
    others = {name: other for name, other in controls.items() if name != control.name}  # conditions may form a circle
    return all(_holds(condition, drafts, others) for condition in control.shown_if)


def _holds(condition: ShowCondition, drafts: Mapping[str, Draft], controls: Mapping[str, ControlSchema]) -> bool:
    if condition.when == "region-selected":  # a draft is no region that can be selected
        return False
    if condition.control:
        names = [condition.control] if condition.control in controls else []
    else:
        names = [name for name, control in controls.items() if control.tag == "Choices"]
    chosen = [name for name in names if name in drafts and _is_chosen(condition, drafts[name], controls[name])]
    is_chosen = any(_is_shown(controls[name], drafts, controls) for name in chosen)
    return is_chosen == (condition.when == "choice-selected")


def _is_chosen(condition: ShowCondition, draft: Draft, control: ControlSchema) -> bool:
    """Whether one of the choices of a condition is in a draft; any choice if the condition names none."""
    labels = deepest_labels(draft.value, control)
    if not (condition.control and condition.choices):
        return bool(labels)
    names = {label.rpartition(LABEL_PATH_SEPARATOR)[2] for label in labels if control.stored}
    return not names.union(labels, (path[-1] for path in stored_paths(labels, control))).isdisjoint(condition.choices)
