"""Finds the kind of a control, and what follows from it: the properties that a fit depends on, and the learner."""

from __future__ import annotations

import json
from typing import Any

from ml_backend.core import registry
from ml_backend.core.exceptions import UnknownPluginError
from ml_backend.core.schema import ControlSchema
from ml_backend.kinds.base import Kind

FIRST_KIND = "choices"
"""The kind whose controls are learnt first, so that a project keeps its first control if another kind is installed."""


def kind(name: str) -> Kind[Any]:
    """The kind with this name. Raises UnknownPluginError."""
    loaded: Kind[Any] = registry.kind(name)
    return loaded


def kind_of(control: ControlSchema) -> Kind[Any]:
    """The kind of the labels of a control. Raises UnknownPluginError."""
    return kind(control.kind)


def kinds_by_tag() -> dict[str, Kind[Any]]:
    """The kind of each control tag that can be learnt, in the order in which controls are learnt: the tags of
    `FIRST_KIND`, then those of the others by name. A tag of several kinds belongs to the first that comes from another
    package, because that one was installed on purpose."""
    by_tag: dict[str, Kind[Any]] = {}
    usable = registry.kinds().keys() - unusable_kinds().keys()
    for name in sorted(usable, key=lambda name: (name != FIRST_KIND, name)):
        for tag in kind(name).tags:
            if tag not in by_tag or (_is_built_in(by_tag[tag]) and not _is_built_in(kind(name))):
                by_tag[tag] = kind(name)
    return by_tag


def _is_built_in(of_kind: Kind[Any]) -> bool:
    return type(of_kind).__module__.startswith(f"{__package__}.")


def unusable_kinds() -> dict[str, str]:
    """The installed kinds that cannot be loaded, and why. Their controls are not learnt."""
    return {name: str(error) for name, error in registry.kinds().items() if isinstance(error, UnknownPluginError)}


def fitted_schema(control: ControlSchema) -> ControlSchema:
    """The control with the properties that a fit depends on, and no others."""
    fitted: ControlSchema = kind_of(control).fitted_schema(kind_of(control).fit_document(control))
    return fitted


def fit_properties(control: ControlSchema) -> dict[str, Any]:
    """The kind of a control and its `Kind.fit_document`, as they are after they were stored as JSON."""
    properties: dict[str, Any] = json.loads(json.dumps(kind_of(control).fit_document(control)))
    return {"kind": control.kind, **properties}


def learner_name(control: ControlSchema, setting: str) -> str:
    """The name of the learner plugin of a control: that of the setting `learner`, if it is for the kind of labels."""
    of_kind = kind_of(control)
    is_suitable = of_kind.name in getattr(registry.learner(setting), "kinds", (FIRST_KIND,))
    return setting if is_suitable else of_kind.default_learner
