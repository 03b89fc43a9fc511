"""How much the fields of records speak for each label: asked of the teacher a few times, to be read and edited.

Kept as plain JSON: {"estimates": [{label: {field: score, or {value: score}}}, ...], "by": "teacher" or "hand", "asked":
[the questions that the estimates answer], "fields": {field: {"kind": ..., "order": [...], "description": ...}}}, scores
from -10 to 10 (LAAT, arXiv 2502.20268:
several estimates, of which the mean counts; their spread is shown).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import Attributions, FieldScores, TaskSchema, read_record, record_text
from ml_backend.pool.feature_space import DESCRIPTION, KIND, ORDER
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher import prompts
from ml_backend.teacher.project_snapshot import stands

ESTIMATES = 3
HIGHEST = 10
BY_HAND, BY_TEACHER = "hand", "teacher"
VALUES = "values"
MISSING = "(missing)"  # may be scored as a value
Estimate = dict[str, FieldScores]
Features = dict[str, Any]


def estimates(record: ProjectRecord) -> list[Estimate]:
    """What was said so far; nothing, as long as nobody has said anything."""
    return list((record.features or {}).get("estimates") or [])


def attributions(record: ProjectRecord, encoder: RecordEncoder, schema: TaskSchema) -> Attributions:
    return encoder.attributions(estimates(record), schema.labels)


def asked(
    record: ProjectRecord, encoder: RecordEncoder, schema: TaskSchema, told: Mapping[str, str], like: Sequence[str],
    teacher: str,
) -> list[Question]:  # fmt: skip
    """The questions for the estimates, each of as many as its portions, unless somebody has written scores by hand.
    `told`: what fields mean; `like`: some records."""
    if (record.features or {}).get("by") == BY_HAND:
        return []
    about = [
        {**each, **({DESCRIPTION: told[each["name"]]} if each["name"] in told else {})} for each in encoder.about()
    ]
    portions = prompts.portions(schema, about)
    return [
        prompts.features(schema, portion, [_part(record, portion) for record in like], teacher, number)
        for number in range(1, ESTIMATES + 1)
        for portion in portions
    ]


def _part(record: str, portion: Sequence[Mapping[str, Any]]) -> str:
    """Of a record, the fields that are asked about."""
    names = {each["name"] for each in portion}
    return record_text({name: value for name, value in read_record(record).items() if name in names})


def recover(store: Store, record: ProjectRecord, encoder: RecordEncoder, schema: TaskSchema, teacher: str) -> bool:
    """Adopts what the teacher has answered since; False if there is nothing new. Somebody may have written something
    meanwhile, which stands."""
    wanted = [each.id for each in asked(record, encoder, schema, {}, (), teacher)]
    found = store.questions.answers(record.id, wanted)
    answered = [each for each in wanted if each in found]
    before = store.projects.ensure(record.id).features
    known = (before or {}) if stands(store, record) else {"by": BY_HAND}
    if not answered or known.get("by") == BY_HAND or answered == known.get("asked"):
        return False
    each = len(wanted) // ESTIMATES
    categories = {field["name"] for field in encoder.about() if field[KIND] == "categorical"}
    said = [
        _merged(
            [from_reply(found[one].content or {}, schema, categories) for one in wanted[at : at + each] if one in found]
        )
        for at in range(0, len(wanted), each)
    ]
    adopted = {"estimates": [one for one in said if one], "by": BY_TEACHER, "asked": answered}
    return store.feature_scores.replace(record.id, before, {**known, **adopted})


def _merged(portions: Sequence[Estimate]) -> Estimate:
    """One estimate, of which each portion has some fields."""
    found: dict[str, dict[str, Any]] = {}
    for portion in portions:
        for label, said in portion.items():
            found.setdefault(label, {}).update(said)
    return dict(found)


def from_reply(content: Mapping[str, Any], schema: TaskSchema, categories: Collection[str]) -> Estimate:
    """The estimate of a teacher's reply; of what it says twice, the first counts. A field that is none of the
    `categories` has no values, whatever it calls them."""
    found: dict[str, dict[str, Any]] = {}
    for each in content.get("scores", ()):
        fields = found.setdefault(each["label"], {})
        name, value, score = each["field"], each["value"].strip(), float(np.clip(each["score"], -HIGHEST, HIGHEST))
        if name not in categories:
            fields.setdefault(name, score)
        elif value:
            fields.setdefault(name, {}).setdefault(value, score)
    return {label: fields for label, fields in found.items() if label in schema.labels}


def keep(store: Store, project: int, features: Features) -> None:
    """What somebody wrote stands before the teacher's, who is not asked from now on. Without scores, it is."""
    store.feature_scores.put(project, features)
    store.jobs.ask(project)


def mean(said: Sequence[Estimate]) -> Estimate:
    """The mean of the estimates, of each score over those that give it."""
    return {label: _over(said, label, lambda found: round(float(np.mean(found)), 2)) for label in _labels(said)}


def spread(said: Sequence[Estimate]) -> Estimate:
    """The standard deviation, likewise."""
    return {label: _over(said, label, lambda found: round(float(np.std(found)), 2)) for label in _labels(said)}


def as_text(record: ProjectRecord, encoder: RecordEncoder, schema: TaskSchema, told: Mapping[str, str]) -> str:
    """All there is as JSON to be read and edited: every label, and every field with its kind, has its place. So have
    labels that are no longer in the project: one may have got another name."""
    scores = mean(estimates(record))
    edited = (record.features or {}).get("fields") or {}
    fields = {
        name: {KIND: each[KIND], **_to_read(each), DESCRIPTION: told.get(name, ""), **edited.get(name, {})}
        for name, each in _known(encoder).items()
    }
    rest = {name: each for name, each in edited.items() if name not in fields}
    whole = {"fields": {**fields, **rest}, "scores": {**{label: {} for label in schema.labels}, **scores}}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _to_read(about: Mapping[str, Any]) -> dict[str, Any]:
    """Values that may be scored, each by its name."""
    return {VALUES: about[VALUES]} if about[KIND] in ("categorical", "boolean", "ordinal") else {}


def from_text(text: str, encoder: RecordEncoder, schema: TaskSchema, before: Features | None = None) -> Features:
    """What somebody wrote: its fields, or its scores, take the place of those `before`, which stand if it has none. A
    kind that is what the field seems is left out, unless it was said before. Raises ApprenticeError that says where it
    is wrong."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ApprenticeError(f"The features are not JSON: {error.msg} at {place}") from None
    if not isinstance(raw, dict) or not raw.keys() <= {"fields", "scores"}:
        raise ApprenticeError('The features must be a JSON object: {"fields": {…}, "scores": {"label": {"field": 5}}}')
    known, kept = _known(encoder), before or {}
    fields = dict(kept.get("fields") or {})
    if "fields" in raw:
        told = _object(raw["fields"], "fields").items()
        found = {name: _field(name, each, known, fields.get(name, {})) for name, each in told}
        fields = {name: each for name, each in found.items() if each}
    if "scores" not in raw:
        return {**kept, "fields": fields}
    given = _object(raw["scores"], "scores")
    labels = {*schema.labels, *_labels(kept.get("estimates") or [])}
    if before is None and labels.intersection(given):  # of a project whose labels were others, once
        given = {label: said for label, said in given.items() if label in labels}
    if odd := [label for label in given if label not in labels]:
        raise ApprenticeError(f"There is no label {odd[0]!r} in the project; there are: {', '.join(schema.labels)}")
    scores = {label: _checked(label, said, known, fields) for label, said in given.items()}
    scores = {label: said for label, said in scores.items() if said}
    if scores and scores == mean(kept.get("estimates") or []):
        return {**kept, "fields": fields}
    return {"fields": fields, **({"estimates": [scores], "by": BY_HAND} if scores else {})}


def fields_of(text: str) -> dict[str, Any]:
    """What such a text says of the fields alone; nothing if it is wrong, which `from_text` says."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    told = found.get("fields") if isinstance(found, dict) else None
    return {name: each for name, each in told.items() if isinstance(each, dict)} if isinstance(told, dict) else {}


def _known(encoder: RecordEncoder) -> dict[str, dict[str, Any]]:
    """Name, kind and values of all fields, also of those that are left out."""
    left = {name: {"name": name, KIND: why, VALUES: []} for name, why in encoder.left_out().items()}
    return {**left, **{each["name"]: each for each in encoder.about()}}


def _field(name: str, told: Any, fields: Mapping[str, Mapping[str, Any]], before: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody said of a field that it does not seem by itself; in short, a kind, or a list of values in their
    order. The `values` that it is shown with are there to be read."""
    if name not in fields and not before:
        raise ApprenticeError(f"There is no field {name!r} in the records{_near(name, fields)}")
    known = fields.get(name, {})
    short = {KIND: told} if isinstance(told, str) else {ORDER: told} if isinstance(told, list) else told
    told = {what: each for what, each in _object(short, f"The field {name!r}").items() if what != VALUES}
    if odd := told.keys() - {KIND, ORDER, DESCRIPTION}:
        raise ApprenticeError(f"The field {name!r} has {sorted(odd)[0]!r}: there are kind, order and description")
    kinds = registry.kinds_of_fields()
    if told.get(KIND) and told[KIND] not in (*kinds, known.get(KIND)):
        raise ApprenticeError(f"The field {name!r} cannot be {told[KIND]!r}: say one of {', '.join(kinds)}")
    if not isinstance(told.get(ORDER) or [], list):
        raise ApprenticeError(f"The order of {name!r} must be a list of its values, the lowest first")
    seems = told.get(KIND) == known.get(KIND) and KIND not in before
    return {what: value for what, value in told.items() if value and not (what == KIND and seems)}


def _checked(
    label: str, said: Any, known: Mapping[str, Mapping[str, Any]], fields: Mapping[str, Any]
) -> dict[str, Any]:
    found = _object(said, f"The scores of {label!r}")
    names = {name.lower(): name for name in (*known, *fields)}
    for name, score in found.items():
        if name.lower() not in names:
            hint = _near(name, names.values())
            raise ApprenticeError(f"The scores of {label!r} name a field {name!r} that no record has{hint}")
        about = known.get(names[name.lower()], {})
        if names[name.lower()] not in fields:  # else its kind may be another one from the next round on
            _fits(label, name, score, about)
        for each in score.values() if isinstance(score, dict) else [score]:
            if isinstance(each, bool) or not isinstance(each, int | float) or not -HIGHEST <= each <= HIGHEST:
                raise ApprenticeError(
                    f"The score of {name!r} for {label!r} must be a number from -10 to 10, not {each!r}"
                )
    return found


def _near(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f", did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(names))}"


def _fits(label: str, name: str, score: Any, about: Mapping[str, Any]) -> None:
    """A category has scores of its values, a number one of its own; a boolean may have either."""
    kind, values = about[KIND], [str(value).lower() for value in about[VALUES]]
    if kind == "categorical" and not isinstance(score, dict):
        raise ApprenticeError(
            f"{name!r} is a category: say for {label!r} what each of its values is worth, as an object"
        )
    if kind not in ("categorical", "boolean") and isinstance(score, dict):
        raise ApprenticeError(f"{name!r} is {kind}: say for {label!r} with one number what a high value is worth")
    odd = [value for value in score if value.lower() not in (*values, MISSING)] if isinstance(score, dict) else []
    if odd and kind == "categorical":
        there = ", ".join(about[VALUES])
        raise ApprenticeError(
            f"{name!r} has no value {odd[0]!r} that is frequent enough to be scored; there are: {there}"
        )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ApprenticeError(f"{what} must be an object in JSON")
    return value


def _labels(said: Sequence[Estimate]) -> list[str]:
    return list(dict.fromkeys(label for each in said for label in each))


def _over(said: Sequence[Estimate], label: str, how: Any) -> dict[str, Any]:
    """Of each field, or each value of a field, how over the estimates that have a score of it."""
    told = [each.get(label, {}) for each in said]
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in told for name in each):
        found = [each[name] for each in told if name in each]
        plain = [each for each in found if not isinstance(each, Mapping)]
        by_value = [each for each in found if isinstance(each, Mapping)]
        if plain:
            out[name] = how(plain)
        else:
            values = dict.fromkeys(value for each in by_value for value in each)
            out[name] = {value: how([each[value] for each in by_value if value in each]) for value in values}
    return out
