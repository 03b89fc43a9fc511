"""Variables and `.env` entries that look like settings and are none: what somebody set, and nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from ml_backend.settings import ProjectSettings, Settings

PREFIX = "APPRENTICE"
PREFIX_LIKENESS = 0.8  # of a misspelt prefix to ours, from 0 to 1: APRENTICE is one, APPLE is not
OTHERS = {"APPRENTICE_SCREENSHOTS", "APPRENTICE_BENCH_DATA", "APPRENTICE_BENCH_CACHE"}  # of our tests and benchmarks


def unknown_settings(environment: Mapping[str, str], env_file: Path | None) -> list[str]:
    """A sentence for each variable, and for each entry of the file, that was meant as a setting and is none."""
    found = dict.fromkeys(environment, "")
    if env_file is not None and env_file.is_file():
        found.update((name, f" in {env_file}") for name in dotenv_values(env_file) if name not in environment)
    return [f"{name}{where} is ignored: {advice}" for name, where in found.items() for advice in _advice(name)]


def _advice(name: str) -> Iterator[str]:
    """What to do about a name; nothing if it is a setting, or clearly somebody else's."""
    prefix, _, rest = name.upper().partition("_")
    is_meant = bool(difflib.get_close_matches(prefix, [PREFIX], 1, PREFIX_LIKENESS))
    if not rest or not is_meant or name.upper() in OTHERS:
        return
    if rest.lower() in ProjectSettings.model_fields:
        yield f"{rest.lower()} is set for each project, or for all of them in APPRENTICE_DEFAULTS"
    elif prefix != PREFIX or rest.lower() not in Settings.model_fields:
        near = difflib.get_close_matches(rest.lower(), Settings.model_fields, 1)
        yield f"did you mean {PREFIX}_{near[0].upper()}?" if near else "there is no such setting"
