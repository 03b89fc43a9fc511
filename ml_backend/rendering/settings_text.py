"""Words the problems of a project's settings."""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.settings import SettingProblem


def settings_problems_text(problems: Sequence[SettingProblem]) -> str:
    """The problems in one line, "" if there are none."""
    parts = ["extra params are not a JSON object; ignored" for problem in problems if problem.code == "not an object"]
    for problem in problems:
        if problem.code == "unknown":
            suggestion = f", did you mean {problem.detail}?" if problem.detail else ""
            parts.append(f"extra params: there is no setting {problem.name!r}{suggestion}")
    if invalid := [f"{problem.name}: {problem.detail}" for problem in problems if problem.code == "invalid"]:
        parts.append(f"extra params: {'; '.join(invalid)}")
    if unlearnt := [problem.detail for problem in problems if problem.code == "no control"]:
        parts.append(f"control_weights: no control {' or '.join(map(repr, unlearnt))} is learnt")
    return "; ".join(parts)
