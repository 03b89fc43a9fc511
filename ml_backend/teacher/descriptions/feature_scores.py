"""Scores with which the fields of records indicate each label. The teacher is asked for several estimates of them, and
people can read and edit them.

They are stored for each control as plain JSON: {"estimates": [{label: {field: score, or {value: score}}}, ...], "by":
"teacher" or "hand", "asked": [ids of the questions that the estimates answer]}, with scores from -10 to 10 (LAAT, arXiv
2502.20268: the mean of several estimates counts; their standard deviation is shown).

With them, people edit the types and descriptions of the fields, which are stored once for the project: {field: {"kind":
..., "order": [...], "description": ...}}.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Attributions, FieldScores
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.schema import ControlSchema
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import read_record, record_text
from ml_backend.pool.feature_space import DESCRIPTION, KIND, ORDER
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.descriptions import description_prompts
from ml_backend.teacher.project_snapshot import is_still_served

ESTIMATE_COUNT = 3
"""Number of estimates that the teacher is asked for."""
MAX_SCORE = 10  # a field with this score makes the label nearly certain, one with its negative rules the label out
BY_HAND, BY_TEACHER = "hand", "teacher"
VALUES = "values"
MISSING = "(missing)"  # the encoder's name for missing values, which may be scored like a value
Estimate = dict[str, FieldScores]
FeatureScores = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Features:
    """The part of a project that people edit as a text: the `fields` of its records, and their `scores` for the labels
    of one control. {} where nothing is stored."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    scores: FeatureScores = field(default_factory=dict)


def stored_features(project_row: ProjectRow, control: ControlSchema) -> Features:
    return Features(project_row.field_overrides, project_row.feature_scores.get(control.name, {}))


def estimates(project_row: ProjectRow, control: ControlSchema) -> list[Estimate]:
    """The stored estimates for the labels of a control; empty if there are none yet."""
    return list(project_row.feature_scores.get(control.name, {}).get("estimates") or [])


def attributions(project_row: ProjectRow, encoder: RecordEncoder, control: ControlSchema) -> Attributions:
    return encoder.attributions(estimates(project_row, control), control.labels)


def score_questions(
    project_row: ProjectRow, encoder: RecordEncoder, control: ControlSchema, descriptions: Mapping[str, str],
    examples: Sequence[str], teacher: str,
) -> list[Question]:  # fmt: skip
    """The questions for the estimates: for each estimate, one for each portion of the fields. Empty if people have
    written scores.

    descriptions  of the fields, by name
    examples      some records
    """
    if project_row.feature_scores.get(control.name, {}).get("by") == BY_HAND:
        return []
    fields = [_with_description(field, descriptions) for field in encoder.field_summaries()]
    portions = description_prompts.field_portions(control, fields)
    return [
        description_prompts.feature_score_question(
            control, portion, [_part(example, portion) for example in examples], teacher, number
        )
        for number in range(1, ESTIMATE_COUNT + 1)
        for portion in portions
    ]


def _with_description(field: Mapping[str, Any], descriptions: Mapping[str, str]) -> dict[str, Any]:
    description = {DESCRIPTION: descriptions[field["name"]]} if field["name"] in descriptions else {}
    return {**field, **description}


def _part(record: str, portion: Sequence[Mapping[str, Any]]) -> str:
    """The record with the fields of the portion only."""
    names = {field["name"] for field in portion}
    return record_text({name: value for name, value in read_record(record).items() if name in names})


def adopt_answers(
    store: Store, project_row: ProjectRow, encoder: RecordEncoder, control: ControlSchema, teacher: str
) -> bool:
    """Adopts the teacher's new answers, unless people have written scores in the meantime. False if there is no new
    answer."""
    ids = [question.id for question in score_questions(project_row, encoder, control, {}, (), teacher)]
    answers = store.questions.answers(project_row.id, ids)
    answered = [id_ for id_ in ids if id_ in answers]
    before = store.projects.ensure(project_row.id).feature_scores.get(control.name)
    current = (before or {}) if is_still_served(store, project_row) else {"by": BY_HAND}
    if not answered or current.get("by") == BY_HAND or answered == current.get("asked"):
        return False
    portion_count = len(ids) // ESTIMATE_COUNT
    categories = {field["name"] for field in encoder.field_summaries() if field[KIND] == "categorical"}
    merged: list[Estimate] = []
    for start in range(0, len(ids), portion_count):
        of_estimate = [id_ for id_ in ids[start : start + portion_count] if id_ in answers]
        merged.append(
            _merged([estimate_from_reply(answers[id_].content or {}, control, categories) for id_ in of_estimate])
        )
    adopted = {"estimates": [estimate for estimate in merged if estimate], "by": BY_TEACHER, "asked": answered}
    return store.feature_scores.replace(project_row.id, control.name, before, {**current, **adopted})


def _merged(portions: Sequence[Estimate]) -> Estimate:
    """One estimate from portions that each have the scores of some fields."""
    scores: dict[str, dict[str, Any]] = {}
    for portion in portions:
        for label, field_scores in portion.items():
            scores.setdefault(label, {}).update(field_scores)
    return dict(scores)


def estimate_from_reply(content: Mapping[str, Any], control: ControlSchema, categories: Collection[str]) -> Estimate:
    """The estimate in a teacher's reply. If the reply has a score twice, the first one counts. A field that is not in
    `categories` has one score and no values, also if the reply names a value."""
    scores: dict[str, dict[str, Any]] = {}
    for entry in content.get("scores", ()):
        fields = scores.setdefault(entry["label"], {})
        name, value = entry["field"], entry["value"].strip()
        score = float(np.clip(entry["score"], -MAX_SCORE, MAX_SCORE))
        if name not in categories:
            fields.setdefault(name, score)
        elif value:
            fields.setdefault(name, {}).setdefault(value, score)
    return {label: fields for label, fields in scores.items() if label in control.labels}


def save_features(store: Store, project: int, control: ControlSchema, features: Features) -> None:
    """Stores what people wrote, and requests a round. If they wrote scores, these replace the teacher's scores, and the
    teacher is not asked any more."""
    store.field_overrides.put(project, dict(features.fields))
    store.feature_scores.put(project, control.name, features.scores)
    store.jobs.request_unless_waiting(project)


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of each score over the estimates that have it."""
    return _aggregated(estimates, lambda scores: round(float(np.mean(scores)), 2))


def estimate_deviation(estimates: Sequence[Estimate]) -> Estimate:
    """The standard deviation of each score over the estimates that have it."""
    return _aggregated(estimates, lambda scores: round(float(np.std(scores)), 2))


def features_to_text(
    project_row: ProjectRow, encoder: RecordEncoder, control: ControlSchema, descriptions: Mapping[str, str]
) -> str:
    """The fields and scores as JSON for people to read and edit: every label, and every field with its kind. Also has
    labels that are no longer in the project, because one may have been renamed."""
    scores = mean_estimate(estimates(project_row, control))
    edited = project_row.field_overrides
    fields = {
        name: {KIND: field[KIND], **_values_of(field), DESCRIPTION: descriptions.get(name, ""), **edited.get(name, {})}
        for name, field in _fields_by_name(encoder).items()
    }
    rest = {name: settings for name, settings in edited.items() if name not in fields}
    document = {"fields": {**fields, **rest}, "scores": {**{label: {} for label in control.labels}, **scores}}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _values_of(field: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a field whose values may be scored or ordered."""
    return {VALUES: field[VALUES]} if field[KIND] in ("categorical", "boolean", "ordinal") else {}


def features_from_text(
    text: str, encoder: RecordEncoder, control: ControlSchema, before: Features = Features()
) -> Features:
    """Parses the fields and scores that people wrote. They replace the fields or the scores in `before`; a part that
    the text does not have stays as it is. The kind of a field is left out if it is the inferred kind, unless
    `before` has it. Raises ApprenticeError that names the place of the mistake."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ApprenticeError(f"The features are not JSON: {error.msg} at {place}") from None
    if not isinstance(raw, dict) or not raw.keys() <= {"fields", "scores"}:
        raise ApprenticeError('The features must be a JSON object: {"fields": {…}, "scores": {"label": {"field": 5}}}')
    inferred, fields = _fields_by_name(encoder), dict(before.fields)
    if "fields" in raw:
        written = _object(raw["fields"], "fields").items()
        parsed = {name: _field(name, settings, inferred, fields.get(name, {})) for name, settings in written}
        fields = {name: settings for name, settings in parsed.items() if settings}
    if "scores" not in raw:
        return Features(fields, before.scores)
    raw_scores, stored = _object(raw["scores"], "scores"), before.scores.get("estimates") or []
    labels = {*control.labels, *_labels(stored)}
    if not before.scores and labels.intersection(raw_scores):  # the text may be of a project that has had other labels
        raw_scores = {label: field_scores for label, field_scores in raw_scores.items() if label in labels}
    if unknown := [label for label in raw_scores if label not in labels]:
        raise ApprenticeError(
            f"There is no label {unknown[0]!r} in the project; there are: {', '.join(control.labels)}"
        )
    checked = {label: _checked(label, field_scores, inferred, fields) for label, field_scores in raw_scores.items()}
    scores = {label: field_scores for label, field_scores in checked.items() if field_scores}
    if scores and scores == mean_estimate(stored):
        return Features(fields, before.scores)
    return Features(fields, {"estimates": [scores], "by": BY_HAND} if scores else {})


def fields_from_text(text: str) -> dict[str, Any]:
    """The settings of the fields in a text; empty for an invalid text, which `features_from_text` reports."""
    try:
        raw = json.loads(text)
    except ValueError:
        return {}
    fields = raw.get("fields") if isinstance(raw, dict) else None
    if not isinstance(fields, dict):
        return {}
    return {name: settings for name, settings in fields.items() if isinstance(settings, dict)}


def _fields_by_name(encoder: RecordEncoder) -> dict[str, dict[str, Any]]:
    """The name, kind and values of all fields, by name. A field that the encoder leaves out has the reason as kind."""
    left_out = {name: {"name": name, KIND: reason, VALUES: []} for name, reason in encoder.left_out().items()}
    return {**left_out, **{field["name"]: field for field in encoder.field_summaries()}}


def _field(name: str, raw: Any, inferred: Mapping[str, Mapping[str, Any]], before: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a field that differ from the inferred ones. `raw` may be a kind, a list of values in their order,
    or an object; the object's `values` are only for reading, and are left out. Raises ApprenticeError."""
    if name not in inferred and not before:
        raise ApprenticeError(f"There is no field {name!r} in the records{_suggestion(name, inferred)}")
    inferred_kind = inferred.get(name, {}).get(KIND)
    expanded = {KIND: raw} if isinstance(raw, str) else {ORDER: raw} if isinstance(raw, list) else raw
    settings = {key: value for key, value in _object(expanded, f"The field {name!r}").items() if key != VALUES}
    if unknown := settings.keys() - {KIND, ORDER, DESCRIPTION}:
        raise ApprenticeError(f"The field {name!r} has {sorted(unknown)[0]!r}: there are kind, order and description")
    kinds = registry.record_field_types()
    if settings.get(KIND) and settings[KIND] not in (*kinds, inferred_kind):
        raise ApprenticeError(f"The field {name!r} cannot be {settings[KIND]!r}: say one of {', '.join(kinds)}")
    if not isinstance(settings.get(ORDER) or [], list):
        raise ApprenticeError(f"The order of {name!r} must be a list of its values, the lowest first")
    is_inferred = settings.get(KIND) == inferred_kind and KIND not in before
    return {key: value for key, value in settings.items() if value and not (key == KIND and is_inferred)}


def _checked(
    label: str, raw: Any, inferred: Mapping[str, Mapping[str, Any]], fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Validates the scores of a label. Raises ApprenticeError that names the field and the mistake."""
    field_scores = _object(raw, f"The scores of {label!r}")
    names = {name.lower(): name for name in (*inferred, *fields)}
    for name, score in field_scores.items():
        if name.lower() not in names:
            hint = _suggestion(name, names.values())
            raise ApprenticeError(f"The scores of {label!r} name a field {name!r} that no record has{hint}")
        field_name = names[name.lower()]
        if field_name not in fields:  # else the field may get another kind in the next round
            _check_kind(label, name, score, inferred.get(field_name, {}))
        for number in score.values() if isinstance(score, dict) else [score]:
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if not is_number or not -MAX_SCORE <= number <= MAX_SCORE:
                raise ApprenticeError(
                    f"The score of {name!r} for {label!r} must be a number from -10 to 10, not {number!r}"
                )
    return field_scores


def _suggestion(name: str, names: Collection[str]) -> str:
    matches = difflib.get_close_matches(name, names, 1)
    return f", did you mean {matches[0]!r}?" if matches else f"; there are: {', '.join(sorted(names))}"


def _check_kind(label: str, name: str, score: Any, field: Mapping[str, Any]) -> None:
    """Raises ApprenticeError unless a category has scores of its values, and a field of another kind one score. A
    boolean field may have either."""
    kind, values = field[KIND], [str(value).lower() for value in field[VALUES]]
    if kind == "categorical" and not isinstance(score, dict):
        raise ApprenticeError(
            f"{name!r} is a category: give a score for each of its values for {label!r}, as an object"
        )
    if kind not in ("categorical", "boolean") and isinstance(score, dict):
        raise ApprenticeError(f"{name!r} is {kind}: give one score for {label!r}, that of a high value")
    scored_values = score if isinstance(score, dict) else {}
    unknown = [value for value in scored_values if value.lower() not in (*values, MISSING)]
    if unknown and kind == "categorical":
        listed = ", ".join(field[VALUES])
        raise ApprenticeError(
            f"{name!r} has no value {unknown[0]!r} that is frequent enough to be scored; there are: {listed}"
        )


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ApprenticeError(f"{name} must be an object in JSON")
    return value


def _labels(estimates: Sequence[Estimate]) -> list[str]:
    return list(dict.fromkeys(label for estimate in estimates for label in estimate))


def _aggregated(estimates: Sequence[Estimate], aggregate: Callable[[list[Any]], float]) -> Estimate:
    """The `aggregate` of each score, or of the score of each value, over the estimates that have it."""
    return {
        label: _aggregated_label([estimate.get(label, {}) for estimate in estimates], aggregate)
        for label in _labels(estimates)
    }


def _aggregated_label(estimates: Sequence[FieldScores], aggregate: Callable[[list[Any]], float]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for scores in estimates for name in scores):
        scores_of_field = [scores[name] for scores in estimates if name in scores]
        numbers = [score for score in scores_of_field if not isinstance(score, Mapping)]
        by_value = [score for score in scores_of_field if isinstance(score, Mapping)]
        if numbers:
            out[name] = aggregate(numbers)
        else:
            values = dict.fromkeys(value for scores in by_value for value in scores)
            out[name] = {
                value: aggregate([scores[value] for scores in by_value if value in scores]) for value in values
            }
    return out
