"""Descriptions of the labels, and phrases with scores that indicate them (cues). The teacher is asked for them once for
each project, and people can read and edit them.

They are stored as plain JSON: {label: {"description": ..., "cues": [[phrase, score], ...]}}, with scores from -10 to
10. A cue with a negative score may name the label that it indicates instead: [phrase, -6, other label].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, takes_several_labels
from ml_backend.core.types import label_words
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.descriptions.description_prompts import description_question
from ml_backend.teacher.project_snapshot import is_still_served

MAX_CUES = 20  # of a label that are stored; a teacher is asked for fewer
MAX_SCORE = 10  # a phrase with this score makes its label certain

LabelDescriptions = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Phrases:
    """m texts that represent labels. targets (m, c); weights (m,) in (0, 1]: the certainty of each target."""

    texts: tuple[str, ...]
    targets: Floats
    weights: Floats

    @property
    def digest(self) -> str:
        """Equal for equal phrases with equal targets and weights."""
        content = json.dumps([self.texts, self.targets.tolist(), self.weights.tolist()])
        return blake2b(content.encode(), digest_size=16).hexdigest()


NO_PHRASES = Phrases((), np.empty((0, 0), np.float32), np.empty(0, np.float32))


def from_reply(content: Mapping[str, Any], control: ControlSchema) -> LabelDescriptions:
    """The cues in a teacher's reply. If the reply has a label twice, its first entry counts."""
    cues_of_label: LabelDescriptions = {}
    for entry in content["labels"]:
        cues = [
            [cue["phrase"], cue["score"], *([cue["instead"]] if cue["instead"] in control.labels else [])]
            for cue in entry["cues"]
        ]
        cues_of_label.setdefault(entry["label"], {"description": entry["description"], "cues": cues})
    return checked(cues_of_label, control)


def save_label_descriptions(store: Store, project: int, control: ControlSchema, cues: LabelDescriptions) -> None:
    """Stores cues that people wrote, and requests a round. They replace the teacher's cues, and the teacher is not
    asked for cues any more."""
    store.label_descriptions.put(project, control.name, cues)
    store.jobs.request_unless_waiting(project)


def adopt_reply(store: Store, project: int, content: Mapping[str, Any], control: ControlSchema) -> None:
    """Stores the cues in a teacher's reply, unless people have written some in the meantime. Raises ApprenticeError if
    the cues do not fit the present labels."""
    store.label_descriptions.add(project, control.name, from_reply(content, control))


def adopt_earlier_answer(store: Store, project_row: ProjectRow, control: ControlSchema, teacher: str) -> bool:
    """Adopts an earlier answer of the teacher about these labels, if the control has no cues: the answer was stored but
    not adopted, or was given to an earlier project with the same id. False if no answer fits."""
    if control.name in project_row.label_descriptions:
        return False
    question_id = description_question(control, (), teacher).id  # the id does not depend on the texts
    answer = store.questions.answers(project_row.id, [question_id]).get(question_id)
    if answer is None or answer.content is None or not is_still_served(store, project_row):
        return False
    with suppress(ApprenticeError):
        adopt_reply(store, project_row.id, answer.content, control)
        return True
    return False


def label_descriptions_to_text(cues: LabelDescriptions, control: ControlSchema) -> str:
    """The cues as JSON for people to read and edit: every label of the schema, and one cue in each line."""
    parts = []
    for label in control.labels:
        entry = cues.get(label, {})
        lines = ",".join(f"\n      {json.dumps(cue, ensure_ascii=False)}" for cue in entry.get("cues", []))
        description = json.dumps(entry.get("description", ""), ensure_ascii=False)
        listed = f"[{lines}\n    ]" if lines else "[]"
        name = json.dumps(label, ensure_ascii=False)
        parts.append(f'  {name}: {{\n    "description": {description},\n    "cues": {listed}\n  }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def label_descriptions_from_text(text: str, control: ControlSchema) -> LabelDescriptions:
    """Parses cues that people wrote. Labels without a description and without cues are left out. Raises ApprenticeError
    that names the place of the mistake."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ApprenticeError(f"The cues are not JSON: {error.msg} at {place}") from None
    cues = checked(raw, control)
    return {label: entry for label, entry in cues.items() if entry["description"] or entry["cues"]}


def checked(raw: Any, control: ControlSchema) -> LabelDescriptions:
    """Validates cues, and returns them in the form in which they are stored. Raises ApprenticeError that names the
    label and the mistake."""
    if not isinstance(raw, dict):
        raise ApprenticeError('The cues must be a JSON object: {"label": {"description": "…", "cues": [["…", 5]]}}')
    cues_of_label: LabelDescriptions = {}
    for label, entry in raw.items():
        if label not in control.labels:
            raise ApprenticeError(f"There is no label {label!r} in the project; there are: {', '.join(control.labels)}")
        if not isinstance(entry, dict) or not isinstance(entry.get("description", ""), str):
            raise ApprenticeError(f"The cues of {label!r} must be an object with a description (text) and cues")
        cues = entry.get("cues", [])
        if not isinstance(cues, list) or not all(_is_cue(cue, control) for cue in cues):
            raise ApprenticeError(
                f"The cues of {label!r} must be pairs of a phrase and a score from -10 to 10; a pair with a score "
                "below 0 may have a third value, the label that the phrase indicates instead"
            )
        tidied = [[" ".join(cue[0].split()), *cue[1:]] for cue in cues if cue[0].strip()]
        cues_of_label[label] = {"description": entry.get("description", "").strip(), "cues": tidied[:MAX_CUES]}
    return cues_of_label


def descriptions(cues: LabelDescriptions | None, control: ControlSchema) -> dict[str, str]:
    """The description of each label that has one: the hint of the label configuration or, without a hint, that of the
    cues."""
    hints = dict(zip(control.labels, control.hints or ("",) * len(control.labels), strict=True))
    texts = {label: hints[label] or (cues or {}).get(label, {}).get("description", "") for label in control.labels}
    return {label: text for label, text in texts.items() if text}


def label_phrases(cues: LabelDescriptions, control: ControlSchema) -> Phrases:
    """The phrases of each label: its name, which needs no teacher, its description and its cues. A cue with a negative
    score is a phrase of the label that it names instead or, if it names none, of all other labels alike."""
    texts: list[str] = []
    targets: list[Floats] = []
    weights: list[float] = []
    c, description_of = len(control.labels), descriptions(cues, control)
    for column, label in enumerate(control.labels):
        entry = cues.get(label, {})
        named = [[text, MAX_SCORE] for text in (label_words(label), description_of.get(label, "")) if text]
        for phrase, score, *other in [*named, *entry.get("cues", [])]:
            if not score:
                continue
            instead = [name for name in other if name in control.labels]  # the label may have been removed since
            target = np.zeros(c, np.float32)
            if score > 0 or instead:
                target[control.labels.index(instead[0]) if score < 0 else column] = 1.0
            elif takes_several_labels(control):
                target[:] = 0.5
                target[column] = 0.0
            else:
                target[:] = 1.0 / max(c - 1, 1)
                target[column] = 0.0
            texts.append(phrase)
            targets.append(target)
            weights.append(abs(score) / MAX_SCORE)
    shape = (len(texts), c)
    return Phrases(tuple(texts), np.array(targets, np.float32).reshape(shape), np.array(weights, np.float32))


def _is_cue(cue: Any, control: ControlSchema) -> bool:
    if not isinstance(cue, list | tuple) or len(cue) not in (2, 3):
        return False
    phrase, score, *instead = cue
    is_score = isinstance(score, int | float) and -MAX_SCORE <= score <= MAX_SCORE
    return isinstance(phrase, str) and is_score and (not instead or (score < 0 and instead[0] in control.labels))
