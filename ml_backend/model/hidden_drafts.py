"""Removes drafts of controls that annotators are not shown, whose labels they would submit without having seen them.

Measured on Label Studio 1.23: the labelling screen submits the drafted region of a hidden control, except that of a
<Choices> or <Taxonomy> that is hidden by "choice-selected", or of a control whose own "choice-unselected" hides it. A
draft of the former stays, because the screen fills it in when the annotator makes a choice that shows the control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml_backend.core.schema import ControlSchema, ProjectSchema, ShowCondition
from ml_backend.core.types import Draft
from ml_backend.kinds.lookup import kind_of

Conditions = Sequence[tuple[bool, Sequence[str]]]
"""Conditions that must all hold: whether one of these controls must be shown, or none of them, and the controls whose
drafts have one of the condition's choices."""


def without_hidden(drafts: Mapping[str, Draft], schema: ProjectSchema) -> dict[str, Draft]:
    """The drafts of a task, by the name of the control, without those of controls that these drafts hide and that the
    labelling screen would submit."""
    controls = {control.name: control for control in schema.controls}
    visibility = _Visibility({name: _conditions(control, drafts, controls) for name, control in controls.items()})
    return {
        name: draft
        for name, draft in drafts.items()
        if _is_left_out_if_hidden(controls[name]) or visibility.is_shown(name)
    }


def _is_left_out_if_hidden(control: ControlSchema) -> bool:
    is_left_out = kind_of(control).leaves_out_hidden_draft(control)
    return is_left_out and all(condition.when == "choice-selected" for condition in control.shown_if)


class _Visibility:
    """Which controls the labelling screen shows as long as the annotator changes no draft. In a circle of conditions,
    the control in question, and each control that is being evaluated for it, counts as hidden."""

    def __init__(self, conditions: Mapping[str, Conditions]) -> None:
        """`conditions`: those of each control, by name"""
        self._conditions = conditions
        self._depends_on = {name: _dependencies(name, conditions) for name in conditions}
        self._shown: dict[str, bool] = {}

    def is_shown(self, name: str) -> bool:
        if name not in self._shown:
            self._shown[name] = self._evaluate(name, name, {})
        return self._shown[name]

    def _evaluate(self, name: str, asked: str, circle: dict[str, bool]) -> bool:
        """Whether a control is shown if the visibility of `asked` is in question. `circle`: whether the controls in a
        circle with `asked` are shown, by name, as far as they are evaluated"""
        if name not in circle:
            circle[name] = False  # while it is being evaluated
            circle[name] = all(
                any(
                    self._evaluate(other, asked, circle) if asked in self._depends_on[other] else self.is_shown(other)
                    for other in others
                )
                == is_needed
                for is_needed, others in self._conditions[name]
            )
        return circle[name]


def _dependencies(name: str, conditions: Mapping[str, Conditions]) -> set[str]:
    """The controls whose visibility may change that of a control, directly or through others."""
    dependencies: set[str] = set()
    pending = [name]
    while pending:
        direct = {other for _, others in conditions[pending.pop()] for other in others}
        pending += direct - dependencies
        dependencies |= direct
    return dependencies


def _conditions(
    control: ControlSchema, drafts: Mapping[str, Draft], controls: Mapping[str, ControlSchema]
) -> list[tuple[bool, list[str]]]:
    """The conditions of a control as these drafts decide them. `controls`: by name"""
    return [
        (condition.when != "choice-unselected", _chosen_controls(condition, control.name, drafts, controls))
        for condition in control.shown_if
    ]


def _chosen_controls(
    condition: ShowCondition, name: str, drafts: Mapping[str, Draft], controls: Mapping[str, ControlSchema]
) -> list[str]:
    """The other controls whose drafts have one of the choices of a condition of a control; any choice if the condition
    names no control."""
    if condition.when == "region-selected":  # a draft is no region that can be selected
        return []
    return [
        other
        for other, draft in drafts.items()
        if other != name
        and (other == condition.control if condition.control else controls[other].tag == "Choices")
        and kind_of(controls[other]).has_choice(
            controls[other], draft.value, condition.choices if condition.control else ()
        )
    ]
