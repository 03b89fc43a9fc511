"""Variables and `.env` entries that look like settings and are none: what somebody set, and nothing reads."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import BaseModel

from ml_backend.core.settings import ProjectSettings, Settings

PREFIX, DEFAULTS = "APPRENTICE", "APPRENTICE_DEFAULTS"
PREFIX_LIKENESS = 0.8  # of a misspelt prefix to ours, from 0 to 1: APRENTICE is one, APPLE is not
OTHERS = {"APPRENTICE_SCREENSHOTS", "APPRENTICE_BENCH_DATA", "APPRENTICE_BENCH_CACHE"}  # of our tests and benchmarks


def unknown_settings(environment: Mapping[str, str], env_file: Path | None) -> list[str]:
    """A sentence for each variable, and for each entry of the file, that was meant as a setting and is none."""
    in_file = dotenv_values(env_file) if env_file is not None and env_file.is_file() else {}
    values = {**in_file, **environment}
    where = {name: "" if name in environment else f" in {env_file}" for name in values}
    return [
        *(f"{name}{where[name]} is ignored: {advice}" for name in values for advice in _advice(name)),
        *(
            f"{name}{where[name]}: {inside!r} is ignored: {_near(inside, ProjectSettings)}"
            for name, value in values.items()
            if name.upper() == DEFAULTS
            for inside in _unknown(value)
        ),
    ]


def _unknown(defaults: str | None) -> list[str]:
    """The names that stand in the defaults of all projects and are no settings of one."""
    try:
        given = json.loads(defaults or "{}")
    except ValueError:  # whoever reads the settings says so
        return []
    return [name for name in given if name not in ProjectSettings.model_fields] if isinstance(given, dict) else []


def _advice(name: str) -> Iterator[str]:
    """What to do about a name; nothing if it is a setting, or clearly somebody else's."""
    prefix, _, rest = name.upper().partition("_")
    is_meant = bool(difflib.get_close_matches(prefix, [PREFIX], 1, PREFIX_LIKENESS))
    if not rest or not is_meant or name.upper() in OTHERS:
        return
    if rest.lower() in ProjectSettings.model_fields:
        yield f"{rest.lower()} is set for each project, or for all of them in {DEFAULTS}"
    elif prefix != PREFIX or rest.lower() not in Settings.model_fields:
        yield _near(rest.lower(), Settings, ProjectSettings)


def _near(name: str, *models: type[BaseModel]) -> str:
    """Which setting may have been meant."""
    near = difflib.get_close_matches(name, [known for model in models for known in model.model_fields], 1)
    if not near:
        return "there is no such setting"
    if Settings not in models:
        return f"did you mean {near[0]}?"
    if near[0] in Settings.model_fields:
        return f"did you mean {PREFIX}_{near[0].upper()}?"
    return f"did you mean {near[0]}, which is set for each project, or for all of them in {DEFAULTS}?"
