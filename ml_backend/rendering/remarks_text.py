"""Words the remarks of a version, which are stored as codes with values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_backend.core.formatting import format_count
from ml_backend.core.types import Remark


def remarks_text(remarks: Iterable[Remark]) -> str:
    """The remarks of a version in one line, "" if there are none."""
    return "; ".join(_remark(remark) for remark in remarks)


def _remark(remark: Remark) -> str:
    word, control = REMARKS.get(remark.code), remark.values.get("control")
    text = word(remark.values) if word else remark.code
    return f"{control}: {text}" if control else text


def _compared(values: Mapping[str, Any]) -> str:
    return f"{values['compared']}{' audited tasks' if values['is_audited'] else ''}"


def _changed_labels(values: Mapping[str, Any]) -> str:
    changes = [f"{change} {', '.join(values[change])}" for change in ("added", "removed") if values[change]]
    return f"labels changed: {'; '.join(changes)}"


def _unknown_field(values: Mapping[str, Any]) -> str:
    suggestion = f", did you mean {values['suggestion']!r}?" if values["suggestion"] else ""
    return f"no record has a field {values['field']!r}{suggestion}"


def _unreadable_values(values: Mapping[str, Any]) -> str:
    reason = {"ordinal": "not in the order of", "date": "no date in"}.get(values["as"], "no number in")
    others = f" (and {values['others']} other values)" if values["others"] else ""
    return f"{values['value']!r}{others} is {reason} the field {values['field']!r}, and counts as missing"


def _cut_words(values: Mapping[str, Any]) -> str:
    begin = f"{values['cut']} of {values['spans']} spans begin or end inside a word"
    if values["units"] == "words":
        return f"{begin}, most of them not between letters, digits and signs: their drafts have the whole word"
    return f"{begin}: words are cut between letters, digits and signs, so that drafts can begin and end there"


REMARKS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "spans cut words": _cut_words,
    "learner doubted": lambda values: (
        f"the drafts are the embedded teacher's, because the learner's would be worse so far: {values['learner']:.0%} "
        f"against {values['teacher']:.0%} right on {values['n']} annotated tasks"
    ),
    "first learner": lambda _: "first learner on these labels",
    "candidate promoted": lambda values: (
        f"won {values['won']}, lost {values['lost']} of {_compared(values)} against the earlier learner"
    ),
    "candidate rejected": lambda values: (
        f"kept the earlier learner: the new one lost {values['lost']} and won {values['won']} of {_compared(values)}"
    ),
    "no labels left": lambda _: "no labels are left: drafts come from the teacher",
    "rarely labelled": lambda values: (
        f"not learnt: only {values['labelled']} of the latest {values['annotated']} annotated tasks have a label"
    ),
    "acquisition fallback": lambda values: (
        f"random order: {values['acquisition']} is not winning here (acquisition_fallback)"
    ),
    "acquisition not applicable": lambda values: (
        f"{values.get('setting', 'acquisition')}: {values['default']}, because {values['acquisition']} needs class "
        f"probabilities, which the predictions for {', '.join(values['controls'])} do not have"
    ),
    "acquisition of texts": lambda values: (
        f"{values['setting']}: {values['default']}, because {values['acquisition']} ranks the texts that the learner "
        "writes, and no control that counts in the queue is a text"
    ),
    "cost not applicable": lambda _: (
        "cost: sentences, because words are counted in texts only, and the tasks are records or pairs of texts"
    ),
    "parts left out": lambda values: (
        f"{values['left_out']} of {format_count(values['drafted'], 'drafted ' + values['part'])} are left out, because "
        "the labelling screen cannot show them there"
    ),
    "learner unreadable": lambda values: str(values["problem"]),
    "space changed": lambda values: (
        f"the tasks are encoded in another way since version {values['version']} ({values['fitted']}, now "
        f"{values['now']}): the learner is fitted again"
    ),
    "labels changed": _changed_labels,
    "records missing": lambda values: (
        f"{values['count']} tasks have no record in {', '.join(map(repr, values['fields']))}, for example task "
        f"{values['task']}"
    ),
    "fields not read": lambda values: f"no more than {values['max_fields']} fields of a record are read",
    "field unknown": _unknown_field,
    "kind inferred": lambda values: f"{values['error']}: its kind is inferred",
    "values unreadable": _unreadable_values,
    "fields left out": lambda values: (
        f"{values['count']} fields are left out: there is room for {values['max_columns']} columns"
    ),
    "text left out": lambda values: (
        f"the text {values['field']!r} is left out: only {values['max_texts']} texts are encoded"
    ),
    "record problems": lambda values: str(values["text"]),  # stored before these problems had codes, as is "text"
    "text": lambda values: str(values["text"]),
}
