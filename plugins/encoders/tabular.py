"""Encodes records as vectors: each field is standardised over the unlabelled pool, and each column has a known field
and value.

A number has one column, a category one for each value, and missing values have one; a text has a block of the text
encoder's columns. Two texts also have a column with their similarity, which no linear head over the blocks could learn.
The vectors have unit length, as those of all encoders: the columns are divided by the pool's radius,
and one more column holds the remainder to 1. So distances are those of the standardised columns, and a linear head over
them is one over the fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np

from ml_backend.core.arrays import Attributions, FieldScores, Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder
from ml_backend.core.types import Remark, read_record
from plugins.encoders.attributions import Column, attributions
from plugins.encoders.feature_types import (
    BOOLEAN,
    CATEGORICAL,
    IDENTIFIER,
    KINDS,
    LEFT_OUT,
    MAX_CATEGORY_COLUMNS,
    ORDINAL,
    OTHER,
    TEXT,
    Doubles,
    Field,
    as_json,
    fit_field,
    formatted_number,
    from_json,
    infer_kind,
    numbers,
    standardised,
    unreadable_values,
)
from plugins.encoders.record_texts import MAX_TEXT_FIELDS, MIN_TEXTS, RecordTexts, mean_square_length, profile_texts
from plugins.encoders.value_parsing import (
    DATE,
    MISSING,
    NUMERIC,
    is_missing,
    is_mostly_distinct,
    lowercase_name,
    mean_words,
    value_counts,
    value_name,
)

RADIUS_PERCENTILE = 99.0
"""Percentile of the pool's vector lengths that becomes 1: longer vectors are shortened to 1."""
YES_NO_DISTANCE = 2.0  # between no and yes: as between one standard deviation below the mean and one above
CATEGORY_SCALE = 2.0**0.5  # factor of a category's columns: two values are as far apart as yes and no
MAX_COLUMNS, MIN_CATEGORY_COLUMNS = 400, 3
"""Maximum number of columns of all fields together, without those of texts; if there would be more, categories keep
fewer values, but at least the second number."""
MIN_MEAN_WORDS_ASKED_ABOUT = 2.0
"""Mean number of words from which the field that the question is about may be a text."""
QUARTERS = 4


def _may_be_text(values: Sequence[object]) -> bool:
    """Returns whether values whose kind would be inferred as an identifier or a category may be texts of few words."""
    counts = value_counts(values)
    return (
        is_mostly_distinct(counts)
        and mean_words(counts) >= MIN_MEAN_WORDS_ASKED_ABOUT
        and infer_kind(values) in (IDENTIFIER, CATEGORICAL)
    )


def _unreadable_problem(field: Field, values: Sequence[object], is_ordered: bool) -> list[Remark]:
    """Returns a remark on the values of a field that count as missing because they cannot be read, or none."""
    unreadable = unreadable_values(field, values) if field.kind in (NUMERIC, DATE) or is_ordered else []
    if not unreadable:
        return []
    details = {"field": field.name, "value": unreadable[0], "others": len(unreadable) - 1}
    return [Remark("values unreadable", {**details, "as": ORDINAL if is_ordered else field.kind})]


def _within_max_columns(
    fields: list[Field], records: Sequence[Mapping[str, Any]], problems: list[Remark]
) -> list[Field]:
    """Returns the fields with no more columns than MAX_COLUMNS: categories keep fewer of their values, then whole
    fields are left out, those with the lowest variance first."""
    if sum(len(_columns(field)) for field in fields) <= MAX_COLUMNS:
        return fields
    categorical = [i for i, field in enumerate(fields) if field.kind == CATEGORICAL]
    other_columns = sum(len(_columns(field)) for field in fields if field.kind != CATEGORICAL)
    max_columns = max(
        MIN_CATEGORY_COLUMNS, min(MAX_CATEGORY_COLUMNS, (MAX_COLUMNS - other_columns) // max(len(categorical), 1) - 1)
    )
    for i in categorical:
        name = fields[i].name
        fields[i] = fit_field(name, [record.get(name) for record in records], CATEGORICAL, max_columns)
    variances = {field.name: sum(share * (1 - share) for share in field.shares) or 1.0 for field in fields}
    columns_left, kept_names = MAX_COLUMNS, set()
    for field in sorted(fields, key=lambda field: -variances[field.name]):
        if len(_columns(field)) <= columns_left:
            columns_left -= len(_columns(field))
            kept_names.add(field.name)
    if left_out := len(fields) - len(kept_names):
        problems.append(Remark("fields left out", {"count": left_out, "max_columns": MAX_COLUMNS}))
    return [field if field.name in kept_names else Field(field.name, LEFT_OUT) for field in fields]


def _unknown_field(name: str, names: Sequence[str]) -> Remark:
    """Returns a remark on an override of a field that no record has, with the most similar of `names`."""
    return Remark("field unknown", {"field": name, "suggestion": next(iter(get_close_matches(name, names, 1)), "")})


class TabularEncoder:
    """Created from a profile of a pool's records (see `profile`), and the encoder of texts if there are any. The texts
    to encode are records as `record_text` writes them; any other text is a record without values."""

    def __init__(self, profile: str, text_encoder: Encoder | None = None) -> None:
        stored = json.loads(profile)
        self.fields: tuple[Field, ...] = from_json(stored["fields"])
        self.radius = float(stored["radius"])  # the length of columns that becomes 1 in the vectors
        self.columns = tuple(column for field in self.fields for column in _columns(field))
        self._texts = RecordTexts(stored, text_encoder)
        identity = profile + (text_encoder.name if text_encoder and self.texts else "")
        self._name = f"records-{blake2b(identity.encode(), digest_size=8).hexdigest()}"

    @staticmethod
    def field_kinds() -> tuple[str, ...]:
        """Returns the kinds that a field may have."""
        return KINDS

    @classmethod
    def profile(
        cls,
        records: Sequence[Mapping[str, Any]],
        kinds: Mapping[str, object],
        text_encoder: Encoder | None = None,
        question_field: str = "",
    ) -> str:
        """Returns the profile of a pool's records, as JSON. `kinds`: kinds, or orders of values, that replace the
        inferred ones, by field name; `question_field`: the field that the question is about, which may be a text of few
        words, "" for none. The key `odd` lists remarks on `kinds` and on fields that are left out. Raises
        ApprenticeError if no field tells records apart."""
        names = sorted({name for record in records for name in record})
        problems = [_unknown_field(name, names) for name in kinds if name not in names]
        fields = []
        for name in names:
            values = [record.get(name) for record in records]
            try:
                has_few_texts = kinds.get(name) == TEXT and len(set(map(value_name, values))) < MIN_TEXTS
                kind = None if has_few_texts else kinds.get(name)
                if name == question_field and kind is None and _may_be_text(values):
                    kind = TEXT
                fields.append(fit_field(name, values, kind))
                problems += _unreadable_problem(fields[-1], values, isinstance(kinds.get(name), list))
            except ApprenticeError as error:
                problems.append(Remark("kind inferred", {"error": str(error)}))
                fields.append(fit_field(name, values))
        fields = _within_max_columns(fields, records, problems)
        profile: dict[str, Any] = {"fields": as_json(fields), "radius": 1.0, "blocks": {}}
        encoder = cls(json.dumps(profile), text_encoder)
        x = encoder.standardised(records)
        total_variance = (float(x.var(axis=0).sum()) if len(x) else 0.0) or 1.0
        text_fields = [field.name for field in fields if field.kind == TEXT]
        # fields that a setting calls texts go first
        encoded_fields = sorted(text_fields, key=lambda name: kinds.get(name) != TEXT)[:MAX_TEXT_FIELDS]
        if text_encoder is not None:
            profile |= profile_texts(records, encoded_fields, text_encoder, total_variance)
        problems += [
            Remark("text left out", {"field": name, "max_texts": MAX_TEXT_FIELDS})
            for name in text_fields
            if name not in encoded_fields
        ]
        if not encoder.columns and not profile["blocks"]:
            raise ApprenticeError("The records have no field that tells them apart")
        lengths = np.square(x).sum(axis=1) + mean_square_length(profile)
        profile["radius"] = max(float(np.percentile(lengths, RADIUS_PERCENTILE)) ** 0.5, 1e-6)
        return json.dumps({**profile, "odd": [asdict(problem) for problem in problems]})

    @property
    def name(self) -> str:
        return self._name

    @property
    def dim(self) -> int:
        return len(self.vector_columns)

    @property
    def vector_columns(self) -> tuple[Column, ...]:
        """Returns all d columns; the last one, of no field, is the remainder to unit length."""
        return (*self.columns, *self._texts.columns, Column(""))

    @property
    def quick(self) -> bool:
        return not self.texts

    def encode(self, texts: Sequence[str]) -> Floats:
        """Returns vectors (n, d) float32 of unit length."""
        records = [read_record(text) for text in texts]
        return self._joined(self.standardised(records), self._texts.encode(records))

    def sketch(self, texts: Sequence[str]) -> Floats:
        """Returns vectors like `encode`, with sketches of the texts."""
        records = [read_record(text) for text in texts]
        return self._joined(self.standardised(records), self._texts.sketch(records))

    def __hash__(self) -> int:
        return id(self)

    def verify(self) -> str:
        return f"{len(self.fields)} fields of records in {len(self.columns)} columns"

    def standardised(self, records: Sequence[Mapping[str, Any]]) -> Doubles:
        """Returns the columns (n, columns) before they are scaled to unit length, without those of texts."""
        parts = [_columns_of_field(field, [record.get(field.name) for record in records]) for field in self.fields]
        return np.hstack([np.empty((len(records), 0)), *parts])

    @property
    def texts(self) -> tuple[str, ...]:
        return self._texts.names

    def encode_phrases(self, phrases: Sequence[str]) -> Floats:
        """Returns the vectors (n, d) of records that have these phrases as their texts, and the pool's average in all
        other fields."""
        columns = np.zeros((len(phrases), len(self.columns)))
        return self._joined(columns, self._texts.encode_phrases(phrases))

    def attributions(self, estimates: Sequence[Mapping[str, FieldScores]], labels: Sequence[str]) -> Attributions:
        """See `attributions.attributions`."""
        lower = {field.name: field.values[0] for field in self.fields if field.kind == BOOLEAN}
        return attributions(self.vector_columns, lower, estimates, labels)

    def field_summaries(self) -> list[dict[str, Any]]:
        """Returns the fields that have columns: name, kind, and values."""
        summaries = []
        for field in self.fields:
            if field.name in self.texts or _columns(field):
                range_ends = [formatted_number(field, value) for value in (*field.ranks[:1], *field.ranks[-1:])]
                summaries.append({"name": field.name, "kind": field.kind, "values": list(field.values or range_ends)})
        return summaries

    def left_out(self) -> dict[str, str]:
        """Returns the fields without columns, by name, with the kind that is the reason: constant, identifier, left out
        (by a setting or for lack of columns), or text."""
        used_names = {summary["name"] for summary in self.field_summaries()}
        return {field.name: field.kind for field in self.fields if field.name not in used_names}

    def groups(self, field: str, texts: Sequence[str]) -> list[str] | None:
        """Returns the group of each record by one of its fields: a value, or a quarter of the pool's numbers. None if
        there is no such field, or if it has no columns."""
        grouping_field = next(
            (candidate for candidate in self.fields if candidate.name == field and _columns(candidate)), None
        )
        if grouping_field is None:
            return None
        values = [read_record(text).get(field) for text in texts]
        if not grouping_field.is_number or grouping_field.values:
            return [value_name(value) for value in values]
        cuts = np.quantile(np.array(grouping_field.ranks), np.linspace(0, 1, QUARTERS + 1)[1:-1])
        cut_texts = [formatted_number(grouping_field, cut) for cut in cuts]
        group_names = [
            f"up to {cut_texts[0]}",
            *(f"{a} to {b}" for a, b in pairwise(cut_texts)),
            f"over {cut_texts[-1]}",
        ]
        parsed = numbers(grouping_field, values)
        quarters = np.searchsorted(cuts, np.nan_to_num(parsed))
        return [
            MISSING if is_absent else group_names[quarter]
            for quarter, is_absent in zip(quarters, np.isnan(parsed), strict=True)
        ]

    def _joined(self, columns: Doubles, text_columns: Doubles) -> Floats:
        """Returns the vectors (n, d) of unit length of these columns."""
        x = np.hstack([columns, text_columns]) / self.radius
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x /= np.maximum(length, 1.0)
        remainder = np.sqrt(np.maximum(1 - np.minimum(length, 1.0) ** 2, 0.0))
        return np.hstack([x, remainder]).astype(np.float32)


def _columns(field: Field) -> list[Column]:
    """Returns the columns of a field, none for a text or a kind that is not encoded."""
    absent = [Column(field.name, False, MISSING)] if field.missing else []
    if field.is_number:
        return [Column(field.name, True), *absent]
    if field.kind == BOOLEAN:
        return [Column(field.name, False, field.values[1]), *absent]
    return [Column(field.name, False, value) for value in field.values] if field.kind == CATEGORICAL else []


def _columns_of_field(field: Field, values: Sequence[object]) -> Doubles:
    """Returns the columns of a field (n, columns of the field). Each distinct value is parsed once."""
    index_by_key: dict[object, int] = {}
    distinct_values: list[object] = []
    rows = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        key = value if isinstance(value, str) else repr(value)
        index = index_by_key.get(key)
        if index is None:
            index = index_by_key[key] = len(distinct_values)
            distinct_values.append(value)
        rows[row] = index
    return _columns_of_values(field, distinct_values)[rows]


def _columns_of_values(field: Field, values: Sequence[object]) -> Doubles:
    """Returns the columns of the values (n, columns of the field), as they are before the radius divides them."""
    parsed = numbers(field, values) if field.is_number else None
    is_absent = np.array([is_missing(value) for value in values]) if parsed is None else np.isnan(parsed)
    indicator = [YES_NO_DISTANCE * (is_absent - field.missing)] if field.missing else []
    if parsed is not None:
        return np.column_stack([standardised(field, parsed), *indicator])
    if field.kind == BOOLEAN:
        (share,) = field.shares
        indicator_by_value = {field.values[0]: 0.0, field.values[1]: 1.0}
        return np.column_stack(
            [
                YES_NO_DISTANCE
                * (np.array([indicator_by_value.get(lowercase_name(value), share) for value in values]) - share),
                *indicator,
            ]
        )
    if field.kind != CATEGORICAL:
        return np.empty((len(values), 0))
    shares, column_by_value = np.array(field.shares), {value: i for i, value in enumerate(field.values)}
    other_column = column_by_value.get(OTHER)
    out = np.zeros((len(values), len(shares)))  # a value that the pool lacks gets the pool's average
    for row, value in enumerate(values):
        column = column_by_value.get(value_name(value), other_column)
        if column is not None:
            out[row] = -shares
            out[row, column] += 1
    return CATEGORY_SCALE * out
