"""What the fields of a pool's records are, and the numbers that standardise them: plain data, kept as JSON.

The kind of a field is inferred from its values; whoever knows better says so. Nothing here sees a label.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.core.exceptions import ApprenticeError
from plugins.encoders.value_parsing import (
    DATE,
    MISSING,
    NUMERIC,
    READERS,
    counted,
    differs,
    is_missing,
    named,
    number,
    said,
    way_of,
    words,
)

Doubles = npt.NDArray[np.float64]

ORDINAL, BOOLEAN, CATEGORICAL = "ordinal", "boolean", "categorical"
TEXT, CONSTANT, IDENTIFIER, LEFT_OUT = "text", "constant", "identifier", "left out"
KINDS = (NUMERIC, DATE, ORDINAL, BOOLEAN, CATEGORICAL, TEXT, IDENTIFIER, LEFT_OUT)
OTHER = "(other)"
MOST_VALUES = 50
"""Columns of a categorical field; rarer values share one."""
WORDS = 6.0
"""Words on average from which what is nearly always another one is a text, and not a name or a number of something."""
NEARLY_ALL, MOSTLY, BESIDE = 0.95, 0.8, 3
"""Share of the values that must be numbers, or dates, for the field to be of that kind; less will do if these are many
different ones, and there are but a few words beside them, which stand for what is missing."""
FEWEST_COUNTED, SPARSEST = 50, 1.2
"""Rows from which whole numbers, all different and nearly without gaps, are the numbers of the rows."""
FEWEST_MISSING = 0.01
"""Share of missing values from which that they are missing is a column of its own."""
QUANTILES, SAMPLE = 200, 20_000
FURTHEST, TAIL = 4.0, 0.01
YES, NO = frozenset(("true", "yes", "y", "t", "1", "1.0")), frozenset(("false", "no", "n", "f", "0", "0.0"))
_IDENTIFIER = re.compile(r"(^|[\W_])(?i:id|uuid|guid|key|nr|no)$|(?<=[a-z])(ID|Id|Nr|No)$")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a pool's records.

    values   of a categorical one, each a column, the most frequent first, and OTHER last if there are more; of an
             ordinal one, in their order; of a boolean one, the lower and the upper
    shares   of the pool that has each of the values; of a boolean one, the upper
    missing  share of the pool without a value, 0 if that is no column
    how      its numbers or dates are written, see `values`
    centre, spread, ranks, rank_centre, rank_spread  of the numbers, of which `ranks` are quantiles, evenly apart
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    missing: float = 0.0
    how: str = ""
    centre: float = 0.0
    spread: float = 1.0
    ranks: tuple[float, ...] = ()
    rank_centre: float = 0.0
    rank_spread: float = 1.0

    @property
    def is_number(self) -> bool:
        return self.kind in (NUMERIC, DATE, ORDINAL)


def kind_of(values: Sequence[object]) -> str:
    """The kind of a field with these values."""
    return _inferred(values)[0]


def _inferred(values: Sequence[object]) -> tuple[str, str]:
    """The kind, and how numbers or dates are written."""
    distinct = counted(values)
    if len(distinct) <= 1:
        return CONSTANT, ""
    low = {name.lower() for name in distinct}
    if len(low) == 2 and low & YES and low & NO:
        return BOOLEAN, ""
    kind, how, rest = way_of(values)
    share = 1 - sum(distinct[name] for name in rest) / distinct.total()
    has_words = share >= MOSTLY and len(rest) <= BESIDE and len(distinct) > MOST_VALUES
    if share >= NEARLY_ALL or has_words:
        if kind == NUMERIC and _counts(values):
            return IDENTIFIER, ""
        return (BOOLEAN, "") if kind == NUMERIC and len(distinct) == 2 else (kind, how)
    if differs(distinct) and words(distinct) >= WORDS:
        return TEXT, ""
    return IDENTIFIER if differs(distinct) and len(distinct) > MOST_VALUES else CATEGORICAL, ""


def _whole(values: Sequence[object]) -> Doubles:
    """The values that are there, if there are enough and they are whole numbers, nearly each another one; else none."""
    found = np.array([number(value) for value in values if not is_missing(value)])
    if len(found) < FEWEST_COUNTED or np.isnan(found).any() or (found % 1).any():
        return found[:0]
    return found if len(np.unique(found)) >= NEARLY_ALL * len(found) else found[:0]


def _counts(values: Sequence[object]) -> bool:
    """Whether whole numbers only count the rows: each another one, and hardly any left out between them."""
    found = _whole(values)
    return bool(len(found)) and len(np.unique(found)) == len(found) and float(np.ptp(found)) < SPARSEST * len(found)


def fitted(name: str, values: Sequence[object], wanted: object = None, most: int = MOST_VALUES) -> Field:
    """The field with these values in the pool. `wanted`: its kind, or the order of its values (a list); `most`: columns
    of a categorical one. Raises ApprenticeError if the kind is none."""
    order = tuple(str(each).strip() for each in wanted) if isinstance(wanted, list | tuple) else ()
    if wanted is not None and not order and wanted not in KINDS:
        raise ApprenticeError(
            f"Field {name!r} cannot be {wanted!r}: say one of {', '.join(KINDS)}, or list its values in their order"
        )
    if order:
        kind, how = ORDINAL, ""
    elif wanted:
        kind = str(wanted)
        how = way_of(values, (kind,))[1] if kind in READERS else ""
    else:
        kind, how = _inferred(values)
    if kind == NUMERIC and wanted is None and _IDENTIFIER.search(name) and len(_whole(values)):
        kind = IDENTIFIER
    found = numbers(Field(name, kind, order, how=how), values) if kind in READERS or order else None
    gone = [is_missing(value) for value in values] if found is None else np.isnan(found)
    lost = np.count_nonzero(gone) / max(len(values), 1)
    if order and lost == 1:
        raise ApprenticeError(f"No record has one of the values {', '.join(order)} in the field {name!r}")
    missing = lost if FEWEST_MISSING <= lost < 1 else 0.0
    if kind == CATEGORICAL:
        return _categorical(name, values, most)
    if kind == BOOLEAN:
        return _boolean(name, values, missing)
    if kind not in (NUMERIC, DATE, ORDINAL):
        return Field(name, kind)
    if kind == ORDINAL and not order:
        order = tuple(sorted({named(value) for value in values} - {MISSING}, key=lambda each: (number(each), each)))
    field = Field(name, kind, order, missing=missing, how=how)
    field = _standardised(field, numbers(field, values) if found is None else found)
    if wanted is not None and field.kind == CONSTANT and kind_of(values) != CONSTANT:
        raise ApprenticeError(f"Field {name!r} cannot be {kind}: its values are not, for example {_first(values)!r}")
    return field


def _categorical(name: str, values: Sequence[object], most: int) -> Field:
    count = Counter(map(named, values))
    common = [value for value, _ in count.most_common(most)]
    shares = [count[value] / len(values) for value in common]
    if len(count) > most:
        common, shares = [*common, OTHER], [*shares, 1 - sum(shares)]
    return Field(name, CATEGORICAL, tuple(common), tuple(shares))


def _boolean(name: str, values: Sequence[object], missing: float) -> Field:
    names = sorted({said(value) for value in values} - {MISSING.lower()}, key=_truth)[-2:]
    if len(names) < 2:
        return Field(name, CONSTANT)
    there = [said(value) == names[1] for value in values if said(value) in names]
    return Field(name, BOOLEAN, tuple(names), (float(np.mean(there)),), missing)


def _first(values: Sequence[object]) -> object:
    return next((value for value in values if not is_missing(value)), None)


def unread(field: Field, values: Sequence[object]) -> list[str]:
    """Values of a field that is a number that are none, or not in its order."""
    lost = np.isnan(numbers(field, values))
    gone = {named(value) for value, out in zip(values, lost, strict=True) if out and not is_missing(value)}
    return sorted(gone)


def numbers(field: Field, values: Sequence[object]) -> Doubles:
    """(n,) the values of a field that is a number, NaN where there is none."""
    if field.kind == ORDINAL:
        place = {value.lower(): float(rank) for rank, value in reversed([*enumerate(field.values)])}
        by_number = {number(value): rank for value, rank in place.items() if not math.isnan(number(value))}

        def rank(value: object) -> float:  # first of all by its name: "none" may be the lowest
            there = place.get(str(value).strip().lower())
            return by_number.get(number(value), math.nan) if there is None else there

        return np.array([rank(value) for value in values], np.float64)
    read = READERS[field.kind]
    return np.array([math.nan if is_missing(value) else read(value, field.how) for value in values], np.float64)


def standardised(field: Field, found: Doubles) -> Doubles:
    """(n,) the mean of the z-score, cut at FURTHEST, and the rank as a normal deviate: of heavy tails and of gaps, each
    tames what the other does not. What is missing is in the middle."""
    from scipy.special import ndtri

    ranks, places = np.array(field.ranks), np.linspace(0, 1, len(field.ranks))
    z = np.clip((found - field.centre) / field.spread, -FURTHEST, FURTHEST)
    low = np.interp(found, ranks, places)
    high = 1 - np.interp(-found, -ranks[::-1], places)  # of ties, the middle of their ranks
    place = np.where(found <= ranks[0], 0.0, np.where(found >= ranks[-1], 1.0, (low + high) / 2))  # as scikit-learn
    normal = (ndtri(np.clip(place, TAIL, 1 - TAIL)) - field.rank_centre) / field.rank_spread
    return np.asarray(np.nan_to_num((z + normal) / 2))


def written(field: Field, found: float) -> str:
    """A number of a field as people write it."""
    if field.kind == DATE:
        return datetime.fromordinal(max(int(found), 1)).date().isoformat()
    return f"{found:g}"


def _standardised(field: Field, found: Doubles) -> Field:
    from scipy.special import ndtri
    from sklearn.preprocessing import QuantileTransformer

    found = found[~np.isnan(found)]
    if not len(found) or (found == found[0]).all():
        return replace(field, kind=CONSTANT)
    some = np.random.default_rng(0).choice(found, SAMPLE, replace=False) if len(found) > SAMPLE else found
    made = QuantileTransformer(n_quantiles=min(QUANTILES, len(some)), subsample=None).fit(some[:, None])
    normal = ndtri(np.clip(made.transform(some[:, None])[:, 0], TAIL, 1 - TAIL))
    return replace(
        field,
        centre=float(found.mean()),
        spread=float(found.std()),
        ranks=tuple(made.quantiles_[:, 0].tolist()),
        rank_centre=float(normal.mean()),
        rank_spread=float(normal.std()) or 1.0,
    )


def _truth(name: str) -> tuple[bool, float, str]:
    low = name.lower()
    found = number(name)
    return low in YES, 0.0 if math.isnan(found) else found, name


def as_json(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """With no more than is not as by default."""
    plain = asdict(Field("", ""))
    return [{k: v for k, v in asdict(each).items() if k in ("name", "kind") or v != plain[k]} for each in fields]


def from_json(raw: Sequence[Mapping[str, Any]]) -> tuple[Field, ...]:
    fields: list[Field] = []
    for each in raw:
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in each.items()}
        fields.append(Field(**values))
    return tuple(fields)
