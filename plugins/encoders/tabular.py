"""Records as vectors: each field standardised over the unlabelled pool, each column of known field and value.

A number is one column, a category a column for each value, and so is that a value is missing; a text has a block of the
text encoder's columns. The vectors have unit length, as all encoders' have: the columns are divided by the pool's
radius, and one more holds what is left to 1. So distances are those of the standardised columns, and a linear head over
them is one over the fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder
from ml_backend.core.types import Attributions, FieldScores, Floats, read_record
from plugins.encoders.attributions import Column, attributions
from plugins.encoders.feature_types import (
    BOOLEAN,
    CATEGORICAL,
    IDENTIFIER,
    KINDS,
    LEFT_OUT,
    MOST_VALUES,
    OTHER,
    TEXT,
    Doubles,
    Field,
    as_json,
    fitted,
    from_json,
    kind_of,
    numbers,
    standardised,
    unread,
    written,
)
from plugins.encoders.value_parsing import DATE, MISSING, NUMERIC, counted, differs, is_missing, named, said, words

__all__ = ["KINDS", "TabularEncoder", "profile"]

RADIUS = 99.0
"""Percentile of the pool's lengths that becomes 1: records further out are drawn in."""
STEP = 2.0  # from no to yes: as from one standard deviation below the mean to one above
ROOT = 2.0**0.5  # of a category's column: two values are as far apart as yes and no
MOST_COLUMNS, FEWEST_VALUES = 400, 3
"""Of all fields together; where there would be more, categories keep fewer of their values."""
TEXTS, FEWEST_TEXTS, MOST_TEXTS, LEAST_VARIANCE = 200, 5, 2, 0.05
"""Texts of a field that say what it is like on average, and fewer than which say nothing; fields of texts that are
read; and what texts differ at least, however alike those are that there are."""
FEW_WORDS = 2.0
QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Block:
    """The columns of a text, from its vector: minus the pool's mean (d,), times `scale`."""

    mean: Floats
    scale: float


def profile(
    records: Sequence[Mapping[str, Any]], wanted: Mapping[str, object], text: Encoder | None = None, asked: str = ""
) -> str:
    """What `Records` is made with, as JSON, from a pool's records; `wanted` has the kinds, or the orders of values, of
    fields that are not what they seem; the field that the question is `asked` about may be a text of few words. What is
    wrong about these, or left out, is told in its list `odd`. Raises ApprenticeError if no field is of use.
    """
    names = sorted({name for record in records for name in record})
    odd = [f"no record has a field {name!r}{_near(name, names)}" for name in wanted if name not in names]
    fields = []
    for name in names:
        values = [record.get(name) for record in records]
        try:
            few = wanted.get(name) == TEXT and len(set(map(named, values))) < FEWEST_TEXTS
            kind = None if few else wanted.get(name)
            if name == asked and kind is None and _has_words(values):
                kind = TEXT
            fields.append(fitted(name, values, kind))
            odd += _unread(fields[-1], values, isinstance(wanted.get(name), list))
        except ApprenticeError as error:
            odd.append(f"{error}: its kind is inferred")
            fields.append(fitted(name, values))
    fields = _narrowed(fields, records, odd)
    kept: dict[str, Any] = {"fields": as_json(fields), "radius": 1.0, "blocks": {}, "odd": odd}
    made = TabularEncoder(json.dumps(kept), text)
    x = made.standardised(records)
    total = (float(x.var(axis=0).sum()) if len(x) else 0.0) or 1.0
    in_words = [field.name for field in fields if field.kind == TEXT]
    first = sorted(in_words, key=lambda name: wanted.get(name) != TEXT)[:MOST_TEXTS]  # those that somebody calls so
    for name in first:
        there = {str(record[name]) for record in records if record.get(name)}
        if text is not None and (block := _block(text, there, total)):
            kept["blocks"][name] = block
    odd += [f"the text {name!r} is left out: there are {MOST_TEXTS} others" for name in in_words if name not in first]
    if not made.columns and not kept["blocks"]:
        raise ApprenticeError("The records have no field that tells them apart")
    lengths = np.square(x).sum(axis=1) + sum(each["scale"] ** 2 * each["variance"] for each in kept["blocks"].values())
    return json.dumps({**kept, "radius": max(float(np.percentile(lengths, RADIUS)) ** 0.5, 1e-6)})


def _has_words(values: Sequence[object]) -> bool:
    """Whether values that seem to be names of something may be texts of few words."""
    distinct = counted(values)
    return differs(distinct) and words(distinct) >= FEW_WORDS and kind_of(values) in (IDENTIFIER, CATEGORICAL)


def _unread(field: Field, values: Sequence[object], ordered: bool) -> list[str]:
    """What of a field counts as missing, though it is there."""
    lost = unread(field, values) if field.kind in (NUMERIC, DATE) or ordered else []
    if not lost:
        return []
    what = "not in the order of" if ordered else "no number in" if field.kind == NUMERIC else "no date in"
    more = f" (and {len(lost) - 1} other values)" if len(lost) > 1 else ""
    return [f"{lost[0]!r}{more} is {what} the field {field.name!r}, and counts as missing"]


def _narrowed(fields: list[Field], records: Sequence[Mapping[str, Any]], odd: list[str]) -> list[Field]:
    """With no more columns than MOST_COLUMNS: categories keep fewer of their values, then whole fields are left out,
    those that vary least first."""
    if sum(len(_columns(field)) for field in fields) <= MOST_COLUMNS:
        return fields
    cut = [place for place, each in enumerate(fields) if each.kind == CATEGORICAL]
    rest = sum(len(_columns(field)) for field in fields if field.kind != CATEGORICAL)
    most = max(FEWEST_VALUES, min(MOST_VALUES, (MOST_COLUMNS - rest) // max(len(cut), 1) - 1))
    for place in cut:
        name = fields[place].name
        fields[place] = fitted(name, [record.get(name) for record in records], CATEGORICAL, most)
    varies = {field.name: sum(share * (1 - share) for share in field.shares) or 1.0 for field in fields}
    left, kept = MOST_COLUMNS, set()
    for field in sorted(fields, key=lambda each: -varies[each.name]):
        if len(_columns(field)) <= left:
            left -= len(_columns(field))
            kept.add(field.name)
    if gone := len(fields) - len(kept):
        odd.append(f"{gone} fields are left out: there is room for {MOST_COLUMNS} columns")
    return [field if field.name in kept else Field(field.name, LEFT_OUT) for field in fields]


def _near(name: str, names: Sequence[str]) -> str:
    found = get_close_matches(name, names, 1)
    return f", did you mean {found[0]!r}?" if found else ""


def _block(text: Encoder, texts: Collection[str], total: float) -> dict[str, Any] | None:
    """A text weighs as much as all other fields together; None if there are too few to say what they are like."""
    if len(texts) < FEWEST_TEXTS:
        return None
    order = np.random.default_rng(0).permutation(len(texts))[:TEXTS]
    vectors = text.encode([sorted(texts)[place] for place in order])
    mean = vectors.mean(axis=0)
    variance = max(float(np.square(vectors - mean).sum(axis=1).mean()), LEAST_VARIANCE)
    return {"mean": [round(float(each), 5) for each in mean], "variance": variance, "scale": (total / variance) ** 0.5}


class TabularEncoder:
    """Made with what `profile` gave, and the encoder of texts if there are any. Texts are records as `record_text`
    writes them; what is none is a record without values."""

    def __init__(self, model: str, text: Encoder | None = None) -> None:
        kept = json.loads(model)
        self.fields: tuple[Field, ...] = from_json(kept["fields"])
        self.radius = float(kept["radius"])  # of the columns, as their length in the vectors becomes 1
        self.columns = tuple(column for field in self.fields for column in _columns(field))
        blocks: Mapping[str, Any] = kept["blocks"]
        self._blocks = {name: Block(np.array(b["mean"], np.float32), b["scale"]) for name, b in blocks.items()}
        self._text = text
        told = model + (text.name if text and self._blocks else "")
        self._name = f"records-{blake2b(told.encode(), digest_size=8).hexdigest()}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def dim(self) -> int:
        return len(self.columns_in_full)

    @property
    def columns_in_full(self) -> tuple[Column, ...]:
        """All d of them; the last one, of no field, is what is left to unit length."""
        blocks = (Column(name, is_text=True) for name, block in self._blocks.items() for _ in block.mean)
        return (*self.columns, *blocks, Column(""))

    @property
    def quick(self) -> bool:
        return not self._blocks

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32 of unit length."""
        return self._encoded(texts, lambda text: text.encode, centred=True)

    def sketch(self, texts: Sequence[str]) -> Floats:
        """With sketches of the texts."""
        return self._encoded(texts, lambda text: text.sketch, centred=False)

    def __hash__(self) -> int:
        return id(self)

    def verify(self) -> str:
        return f"{len(self.fields)} fields of records in {len(self.columns)} columns"

    def standardised(self, records: Sequence[Mapping[str, Any]]) -> Doubles:
        """(n, columns) as they are before they get unit length, without those of texts."""
        parts = [_of_field(field, [record.get(field.name) for record in records]) for field in self.fields]
        return np.hstack([np.empty((len(records), 0)), *parts])

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._blocks)

    def phrases(self, phrases: Sequence[str]) -> Floats:
        """(n, d) of records that say each of these in their texts, and are as the pool is on average in all else."""
        said = [dict.fromkeys(self.texts, phrase) for phrase in phrases]
        return self._joined(np.zeros((len(said), len(self.columns))), said, lambda text: text.encode, centred=True)

    def attributions(self, estimates: Sequence[Mapping[str, FieldScores]], labels: Sequence[str]) -> Attributions:
        """See `scores.attributions`."""
        lower = {field.name: field.values[0] for field in self.fields if field.kind == BOOLEAN}
        return attributions(self.columns_in_full, lower, estimates, labels)

    def about(self) -> list[dict[str, Any]]:
        """The fields that have columns: name, kind, and what values there are."""
        found = []
        for field in self.fields:
            if field.name in self._blocks or _columns(field):
                ends = [written(field, each) for each in (*field.ranks[:1], *field.ranks[-1:])]
                found.append({"name": field.name, "kind": field.kind, "values": list(field.values or ends)})
        return found

    def left_out(self) -> dict[str, str]:
        """The other fields, and why: constant, identifier, or because somebody wants it so."""
        there = {each["name"] for each in self.about()}
        return {field.name: field.kind for field in self.fields if field.name not in there}

    def groups(self, field: str, texts: Sequence[str]) -> list[str] | None:
        """The group of each record by one of its fields: a value, or a quarter of the pool's numbers. None if there is
        no such field, or none with columns."""
        found = next((each for each in self.fields if each.name == field and _columns(each)), None)
        if found is None:
            return None
        values = [read_record(text).get(field) for text in texts]
        if not found.is_number or found.values:
            return [named(value) for value in values]
        cuts = np.quantile(np.array(found.ranks), np.linspace(0, 1, QUARTERS + 1)[1:-1])
        told = [written(found, cut) for cut in cuts]
        ends = [f"up to {told[0]}", *(f"{a} to {b}" for a, b in pairwise(told)), f"over {told[-1]}"]
        read = numbers(found, values)
        places = np.searchsorted(cuts, np.nan_to_num(read))
        return [MISSING if gone else ends[place] for place, gone in zip(places, np.isnan(read), strict=True)]

    def _encoded(
        self, texts: Sequence[str], how: Callable[[Encoder], Callable[[Sequence[str]], Floats]], *, centred: bool
    ) -> Floats:
        records = [read_record(text) for text in texts]
        return self._joined(self.standardised(records), records, how, centred=centred)

    def _joined(
        self,
        columns: Doubles,
        records: Sequence[Mapping[str, Any]],
        how: Callable[[Encoder], Callable[[Sequence[str]], Floats]],
        *,
        centred: bool,
    ) -> Floats:
        """The vectors of records with these columns, and the blocks of their texts."""
        parts: list[Any] = [columns]
        for name, block in self._blocks.items():
            if self._text is None:
                raise ApprenticeError(f"The field {name!r} of the records is a text, and there is no encoder for it")
            in_words = [str(record.get(name) or "") for record in records]
            vectors = how(self._text)(in_words)
            there = np.array([[bool(each)] for each in in_words])
            parts.append(block.scale * there * (vectors - block.mean if centred else vectors))
        x = np.hstack(parts) / self.radius
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x /= np.maximum(length, 1.0)
        rest = np.sqrt(np.maximum(1 - np.minimum(length, 1.0) ** 2, 0.0))
        return np.hstack([x, rest]).astype(np.float32)


def _columns(field: Field) -> list[Column]:
    absent = [Column(field.name, False, MISSING)] if field.missing else []
    if field.is_number:
        return [Column(field.name, True), *absent]
    if field.kind == BOOLEAN:
        return [Column(field.name, False, field.values[1]), *absent]
    return [Column(field.name, False, value) for value in field.values] if field.kind == CATEGORICAL else []


def _of_field(field: Field, values: Sequence[object]) -> Doubles:
    """(n, columns of the field). Each different value is read once."""
    place: dict[object, int] = {}
    first: list[object] = []
    rows = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        key = value if isinstance(value, str) else repr(value)
        at = place.get(key)
        if at is None:
            at = place[key] = len(first)
            first.append(value)
        rows[row] = at
    return _of_values(field, first)[rows]


def _of_values(field: Field, values: Sequence[object]) -> Doubles:
    read = numbers(field, values) if field.is_number else None
    absent = np.array([is_missing(value) for value in values]) if read is None else np.isnan(read)
    indicator = [STEP * (absent - field.missing)] if field.missing else []
    if read is not None:
        return np.column_stack([standardised(field, read), *indicator])
    if field.kind == BOOLEAN:
        (share,) = field.shares
        holds = {field.values[0]: 0.0, field.values[1]: 1.0}
        return np.column_stack([STEP * (np.array([holds.get(said(v), share) for v in values]) - share), *indicator])
    if field.kind != CATEGORICAL:
        return np.empty((len(values), 0))
    shares, column = np.array(field.shares), {value: place for place, value in enumerate(field.values)}
    rest = column.get(OTHER)
    out = np.zeros((len(values), len(shares)))  # of a value that the pool has not: as the pool is on average
    for row, value in enumerate(values):
        place = column.get(named(value), rest)
        if place is not None:
            out[row] = -shares
            out[row, place] += 1
    return ROOT * out
