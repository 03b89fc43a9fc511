"""What each label means, and phrases with scores that speak for it: asked for once a project, to be read and edited.

Kept as plain JSON: {label: {"description": ..., "cues": [[phrase, score], ...]}}, scores from -10 to 10. A cue that
speaks against the label may name the one that it speaks for instead: [phrase, -6, other label].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Floats, TaskSchema, tidy
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher.project_snapshot import stands
from ml_backend.teacher.prompts import describe

MOST_CUES = 20
HIGHEST = 10

Cues = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Phrases:
    """m texts that stand for labels. targets (m, c), weights (m,) in (0, 1]: how surely."""

    texts: tuple[str, ...]
    targets: Floats
    weights: Floats

    @property
    def digest(self) -> str:
        """The same for the same phrases with the same worth."""
        told = json.dumps([self.texts, self.targets.tolist(), self.weights.tolist()])
        return blake2b(told.encode(), digest_size=16).hexdigest()


NO_PHRASES = Phrases((), np.empty((0, 0), np.float32), np.empty(0, np.float32))


def from_reply(content: Mapping[str, Any], schema: TaskSchema) -> Cues:
    """The cues of a teacher's reply; of a label that it names twice, the first ones."""
    found: Cues = {}
    for each in content["labels"]:
        pairs = [
            [cue["phrase"], cue["score"], *([cue["instead"]] if cue["instead"] in schema.labels else [])]
            for cue in each["cues"]
        ]
        found.setdefault(each["label"], {"description": each["description"], "cues": pairs})
    return checked(found, schema)


def keep(store: Store, project: int, cues: Cues) -> None:
    """Cues that somebody wrote stand before the teacher's: it is not asked for any from now on."""
    store.label_descriptions.put(project, cues)
    store.jobs.ask(project)


def adopt(store: Store, project: int, content: Mapping[str, Any], schema: TaskSchema) -> None:
    """Keeps the cues of a teacher's reply, unless somebody has written some meanwhile. Raises ApprenticeError if they
    do not fit the labels that there are."""
    store.label_descriptions.add(project, from_reply(content, schema))


def recover(store: Store, record: ProjectRecord, schema: TaskSchema, teacher: str) -> bool:
    """Adopts what a teacher has said of these labels before, if a project has no cues: it was kept as an answer and no
    further, or was said to another project of the same number. False if there is nothing that fits."""
    if record.cues is not None:
        return False
    asked = describe(schema, (), teacher).id  # it is the same with whatever texts it was asked
    answer = store.questions.answers(record.id, [asked]).get(asked)
    if answer is None or answer.content is None or not stands(store, record):
        return False
    with suppress(ApprenticeError):
        adopt(store, record.id, answer.content, schema)
        return True
    return False


def as_text(cues: Cues, schema: TaskSchema) -> str:
    """The cues as JSON to be read and edited, a cue a line; every label has its place."""
    labels = []
    for label in schema.labels:
        told = cues.get(label, {})
        lines = ",".join(f"\n      {json.dumps(cue, ensure_ascii=False)}" for cue in told.get("cues", []))
        description = json.dumps(told.get("description", ""), ensure_ascii=False)
        listed = f"[{lines}\n    ]" if lines else "[]"
        name = json.dumps(label, ensure_ascii=False)
        labels.append(f'  {name}: {{\n    "description": {description},\n    "cues": {listed}\n  }}')
    return "{\n" + ",\n".join(labels) + "\n}\n"


def from_text(text: str, schema: TaskSchema) -> Cues:
    """The cues that somebody wrote; a label without a description or cues is left out. Raises ApprenticeError that says
    where it is wrong."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ApprenticeError(f"The cues are not JSON: {error.msg} at {place}") from None
    return {label: told for label, told in checked(raw, schema).items() if told["description"] or told["cues"]}


def checked(raw: Any, schema: TaskSchema) -> Cues:
    """Cues as they are kept. Raises ApprenticeError naming the label and what is wrong with it."""
    if not isinstance(raw, dict):
        raise ApprenticeError('The cues must be a JSON object: {"label": {"description": "…", "cues": [["…", 5]]}}')
    out: Cues = {}
    for label, told in raw.items():
        if label not in schema.labels:
            raise ApprenticeError(f"There is no label {label!r} in the project; there are: {', '.join(schema.labels)}")
        if not isinstance(told, dict) or not isinstance(told.get("description", ""), str):
            raise ApprenticeError(f"The cues of {label!r} must be an object with a description (text) and cues")
        cues = told.get("cues", [])
        if not isinstance(cues, list) or not all(_is_cue(cue, schema) for cue in cues):
            raise ApprenticeError(
                f"The cues of {label!r} must be pairs of a phrase and a score from -10 to 10; to a score below 0, the "
                "label that it speaks for may be added"
            )
        kept = [[" ".join(cue[0].split()), *cue[1:]] for cue in cues if cue[0].strip()]
        out[label] = {"description": told.get("description", "").strip(), "cues": kept[:MOST_CUES]}
    return out


def descriptions(cues: Cues | None, schema: TaskSchema) -> dict[str, str]:
    """One for each label that has one: the project's own hint first."""
    hints = dict(zip(schema.labels, schema.hints or ("",) * len(schema.labels), strict=True))
    told = {label: hints[label] or (cues or {}).get(label, {}).get("description", "") for label in schema.labels}
    return {label: words for label, words in told.items() if words}


def phrases(cues: Cues, schema: TaskSchema) -> Phrases:
    """Each label's name, which needs no teacher, its description and its cues as texts of it; a cue that speaks against
    it is a text of the label that is named instead, else of all others alike."""
    texts: list[str] = []
    targets: list[Floats] = []
    weights: list[float] = []
    c, told_of = len(schema.labels), descriptions(cues, schema)
    for column, label in enumerate(schema.labels):
        told = cues.get(label, {})
        named = [[words, HIGHEST] for words in (tidy(label), told_of.get(label, "")) if words]
        for phrase, score, *other in [*named, *told.get("cues", [])]:
            if not score:
                continue
            instead = [each for each in other if each in schema.labels]  # it may have been removed since
            target = np.zeros(c, np.float32)
            if score > 0 or instead:
                target[schema.labels.index(instead[0]) if score < 0 else column] = 1.0
            elif schema.multiple:
                target[:] = 0.5
                target[column] = 0.0
            else:
                target[:] = 1.0 / max(c - 1, 1)
                target[column] = 0.0
            texts.append(phrase)
            targets.append(target)
            weights.append(abs(score) / HIGHEST)
    shape = (len(texts), c)
    return Phrases(tuple(texts), np.array(targets, np.float32).reshape(shape), np.array(weights, np.float32))


def _is_cue(cue: Any, schema: TaskSchema) -> bool:
    if not isinstance(cue, list | tuple) or len(cue) not in (2, 3):
        return False
    phrase, score, *instead = cue
    number = isinstance(score, int | float) and -HIGHEST <= score <= HIGHEST
    return isinstance(phrase, str) and number and (not instead or (score < 0 and instead[0] in schema.labels))
