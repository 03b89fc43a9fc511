"""Versions to store."""

from __future__ import annotations

from ml_backend.core.types import ModelVersion


def version(number: int, project: int = 5, **values: object) -> ModelVersion:
    named: dict[str, object] = {
        "learner": None,
        "labelled": number,
        "controls": {},
        "created_at": float(number),
        "remarks": (),
    }
    return ModelVersion(project=project, number=number, name=f"apprentice-{number}-abcd", **{**named, **values})  # type: ignore[arg-type]
