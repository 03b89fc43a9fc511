"""Removes drafts of controls that annotators are not shown, whose labels they would submit without having seen them.

Measured on Label Studio 1.23: the labelling screen submits the drafted region of a hidden control, except that of a
<Choices> or <Taxonomy> that is hidden by "choice-selected", or of a control whose own "choice-unselected" hides it. A
draft of the former stays, because the screen fills it in when the annotator makes a choice that shows the control.
"""

from __future__ import annotations

from collections.abc import Mapping

from ml_backend.core.schema import ControlSchema, ProjectSchema, ShowCondition
from ml_backend.core.types import Draft
from ml_backend.kinds.base import kind_of


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
    is_left_out = kind_of(control).leaves_out_hidden_draft(control)
    return is_left_out and all(condition.when == "choice-selected" for condition in control.shown_if)


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
    choices = condition.choices if condition.control else ()
    return kind_of(control).has_choice(control, draft.value, choices)
