"""The labels of a control in a prompt."""

from __future__ import annotations

from collections.abc import Mapping

from ml_backend.core.schema import ControlSchema


def listed_labels(control: ControlSchema, descriptions: Mapping[str, str]) -> str:
    """The labels of a control in a line each, with their descriptions."""
    lines = (f"- {name}: {text}" if (text := descriptions.get(name, "")) else f"- {name}" for name in control.labels)
    return "\n".join(lines)
