"""Finds variables and `.env` entries that are meant as settings but misspelt."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import BaseModel

from ml_backend.core.settings import ProjectSettings, Settings

PREFIX, DEFAULTS = "APPRENTICE", "APPRENTICE_DEFAULTS"
MIN_PREFIX_SIMILARITY = 0.8  # of a misspelt prefix to PREFIX, from 0 to 1: that of APRENTICE is higher, of APPLE lower
# read by tests and benchmarks
DEVELOPMENT_VARIABLES = {"APPRENTICE_SCREENSHOTS", "APPRENTICE_BENCH_DATA", "APPRENTICE_BENCH_CACHE"}


def unknown_settings(environment: Mapping[str, str], env_file: Path | None) -> list[str]:
    """Returns one sentence for each variable, or entry of the file, that looks like a setting and is none: it names the
    variable, and says what to do."""
    file_entries = dotenv_values(env_file) if env_file is not None and env_file.is_file() else {}
    values = {**file_entries, **environment}
    origins = {name: "" if name in environment else f" in {env_file}" for name in values}
    return [
        *(f"{name}{origins[name]} is ignored: {advice}" for name in values for advice in _advice(name)),
        *(
            f"{name}{origins[name]}: {unknown_name!r} is ignored: {_suggestion(unknown_name, ProjectSettings)}"
            for name, value in values.items()
            if name.upper() == DEFAULTS
            for unknown_name in _unknown_names(value)
        ),
    ]


def _unknown_names(defaults: str | None) -> list[str]:
    """The names in the defaults of all projects that are no project settings."""
    try:
        values = json.loads(defaults or "{}")
    except ValueError:  # `load_settings` raises the error
        return []
    return [name for name in values if name not in ProjectSettings.model_fields] if isinstance(values, dict) else []


def _advice(name: str) -> Iterator[str]:
    """Yields what to do about a variable; nothing if it is a setting or not meant as one."""
    prefix, _, rest = name.upper().partition("_")
    is_meant = bool(difflib.get_close_matches(prefix, [PREFIX], 1, MIN_PREFIX_SIMILARITY))
    if not rest or not is_meant or name.upper() in DEVELOPMENT_VARIABLES:
        return
    if rest.lower() in ProjectSettings.model_fields:
        yield f"{rest.lower()} is set for each project, or for all of them in {DEFAULTS}"
    elif prefix != PREFIX or rest.lower() not in Settings.model_fields:
        yield _suggestion(rest.lower(), Settings, ProjectSettings)


def _suggestion(name: str, *models: type[BaseModel]) -> str:
    """A sentence on the setting of these models that `name` may stand for."""
    near = difflib.get_close_matches(name, [setting for model in models for setting in model.model_fields], 1)
    if not near:
        return "there is no such setting"
    if Settings not in models:
        return f"did you mean {near[0]}?"
    if near[0] in Settings.model_fields:
        return f"did you mean {PREFIX}_{near[0].upper()}?"
    return f"did you mean {near[0]}, which is set for each project, or for all of them in {DEFAULTS}?"
