"""What the fields of a pool's records are, and the numbers that standardise them: plain data, kept as JSON.

The kind of a field is inferred from its values; whoever knows better says so. Nothing here sees a label.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.domain import ApprenticeError

Doubles = npt.NDArray[np.float64]

NUMERIC, DATE, ORDINAL, BOOLEAN, CATEGORICAL = "numeric", "date", "ordinal", "boolean", "categorical"
TEXT, CONSTANT, IDENTIFIER, LEFT_OUT = "text", "constant", "identifier", "left out"
KINDS = (NUMERIC, DATE, ORDINAL, BOOLEAN, CATEGORICAL, TEXT, LEFT_OUT)
MISSING, OTHER = "(missing)", "(other)"
MOST_VALUES = 50
"""Columns of a categorical field; rarer values share one."""
WORDS = 6.0
"""Words on average from which what is nearly always another one is a text, and not a name or a number of something."""
NEARLY_ALL = 0.95
"""Share of the values that must be numbers, or dates, for the field to be of that kind."""
FEWEST_COUNTED, SPARSEST = 50, 1.2
"""Rows from which whole numbers, all different and nearly without gaps, are the numbers of the rows."""
FEWEST_MISSING = 0.01
"""Share of missing values from which that they are missing is a column of its own."""
QUANTILES, SAMPLE = 200, 20_000
LARGEST = 1e100  # what is beyond has no square
FURTHEST, TAIL = 4.0, 0.01
WORDS_FOR_MISSING = frozenset(
    ("", "na", "n/a", "nan", "none", "null", "?", "-", "--", "nil", "missing", "inf", "-inf", "infinity", "-infinity")
)
YES, NO = frozenset(("true", "yes", "y", "t", "1", "1.0")), frozenset(("false", "no", "n", "f", "0", "0.0"))
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
COMMA = ","
_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")
_DAY = re.compile(r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4})(\s.*)?$", re.DOTALL)
DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d")
"""How days are written, beside ISO's way. What suits several is of the first."""
HOW = ((NUMERIC, ""), (NUMERIC, COMMA), (DATE, ""), *((DATE, each) for each in DAYS))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a pool's records.

    values   of a categorical one, each a column, the most frequent first, and OTHER last if there are more; of an
             ordinal one, in their order; of a boolean one, the lower and the upper
    shares   of the pool that has each of the values; of a boolean one, the upper
    missing  share of the pool without a value, 0 if that is no column
    how      its numbers or dates are written: with COMMA before the decimals, or a format of DAYS
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


def is_missing(value: object) -> bool:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in WORDS_FOR_MISSING


def named(value: object) -> str:
    """A value as its name among a field's values."""
    return MISSING if is_missing(value) else str(value).strip()


def said(value: object) -> str:
    """The same, written small: yes is Yes."""
    return named(value).lower()


def number(value: object, how: str = "") -> float:
    """What a value is as a number ("1,234", "5 %", "$12", a bool, or with COMMA "1.234,5"), NaN if it is none, or
    beyond LARGEST."""
    if isinstance(value, bool | int | float):
        return float(value) if abs(value) <= LARGEST else math.nan
    text = value.strip().strip("%$€£ ") if isinstance(value, str) else ""
    if how == COMMA:
        text = text.replace(".", "").replace(",", ".") if _COMMA.fullmatch(text) else ""
    elif _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        found = float(text)
    except ValueError:
        return math.nan
    return found if abs(found) <= LARGEST else math.nan


def day(value: object, how: str = "") -> float:
    """The day, with its part, of an ISO date or time, or the day of a date in a format of DAYS; NaN if it is none."""
    text = value.strip() if isinstance(value, str) else ""
    written = _DAY.match(text) if how else None
    if how and written is None:  # which is quicker to find out
        return math.nan
    try:
        found = datetime.strptime(written[1], how) if written else datetime.fromisoformat(text)  # noqa: DTZ007
    except ValueError:
        return math.nan
    return found.replace(tzinfo=None).toordinal() + found.hour / 24 + found.minute / 1440


_READ: dict[str, Callable[[object, str], float]] = {NUMERIC: number, DATE: day}


def _counted(values: Sequence[object]) -> Counter[str]:
    return Counter(named(value) for value in values if not is_missing(value))


def kind_of(values: Sequence[object]) -> str:
    """The kind of a field with these values."""
    present = [value for value in values if not is_missing(value)]
    distinct = _counted(values)
    if len(distinct) <= 1:
        return CONSTANT
    low = {name.lower() for name in distinct}
    if len(low) == 2 and low & YES and low & NO:
        return BOOLEAN
    kind, _, share = _best_read(distinct, HOW)
    if share >= NEARLY_ALL:
        if kind == NUMERIC and _counts(present):
            return IDENTIFIER
        return BOOLEAN if kind == NUMERIC and len(distinct) == 2 else kind
    if len(distinct) > max(MOST_VALUES, len(present) / 2):
        return TEXT if words(present) >= WORDS else IDENTIFIER
    return CATEGORICAL


def words(values: Sequence[object]) -> float:
    """How many words a value has on average."""
    present = [value for value in values if not is_missing(value)]
    return sum(len(str(value).split()) for value in present) / max(len(present), 1)


def _best_read(distinct: Mapping[str, int], ways: Sequence[tuple[str, str]]) -> tuple[str, str, float]:
    """The kind and the way of writing, of `ways`, that most of the values are read by, and their share."""
    total = max(sum(distinct.values()), 1)
    best = *ways[0], 0.0
    for kind, how in ways:
        share = sum(n for name, n in distinct.items() if not math.isnan(_READ[kind](name, how))) / total
        if share > best[2]:
            best = kind, how, share
    return best


def _counts(values: Sequence[object]) -> bool:
    """Whether whole numbers only count the rows: each another one, and hardly any left out between them."""
    found = np.array([number(value) for value in values])  # which nobody writes with a comma
    if len(found) < FEWEST_COUNTED or np.isnan(found).any() or (found % 1).any():
        return False
    return len(np.unique(found)) == len(found) and float(np.ptp(found)) < SPARSEST * len(found)


def fitted(name: str, values: Sequence[object], wanted: object = None, most: int = MOST_VALUES) -> Field:
    """The field with these values in the pool. `wanted`: its kind, or the order of its values (a list); `most`: columns
    of a categorical one. Raises ApprenticeError if the kind is none."""
    order = tuple(str(each).strip() for each in wanted) if isinstance(wanted, list | tuple) else ()
    if wanted is not None and not order and wanted not in KINDS:
        raise ApprenticeError(
            f"Field {name!r} cannot be {wanted!r}: say one of {', '.join(KINDS)}, or list its values in their order"
        )
    kind = ORDINAL if order else str(wanted or kind_of(values))
    ranked = numbers(Field(name, ORDINAL, order), values) if order else np.zeros(len(values))
    if order and np.isnan(ranked).all():
        raise ApprenticeError(f"No record has one of the values {', '.join(order)} in the field {name!r}")
    lost = sum(map(is_missing, values)) / max(len(values), 1) if not order else float(np.isnan(ranked).mean())
    missing = lost if FEWEST_MISSING <= lost < 1 else 0.0
    if kind == CATEGORICAL:
        count = Counter(map(named, values))
        common = [value for value, _ in count.most_common(most)]
        shares = [count[value] / len(values) for value in common]
        if len(count) > most:
            common, shares = [*common, OTHER], [*shares, 1 - sum(shares)]
        return Field(name, kind, tuple(common), tuple(shares))
    if kind == BOOLEAN:
        names = sorted({said(value) for value in values} - {MISSING.lower()}, key=_truth)[-2:]
        if len(names) < 2:
            return Field(name, CONSTANT)
        there = [said(value) == names[1] for value in values if said(value) in names]
        return Field(name, kind, tuple(names), (float(np.mean(there)),), missing)
    if kind not in (NUMERIC, DATE, ORDINAL):
        return Field(name, kind)
    if kind == ORDINAL and not order:
        order = tuple(sorted({named(value) for value in values} - {MISSING}, key=lambda each: (number(each), each)))
    how = _best_read(_counted(values), [each for each in HOW if each[0] == kind])[1] if kind in _READ else ""
    found = _standardised(Field(name, kind, order, missing=missing, how=how), values)
    if wanted is not None and found.kind == CONSTANT and kind_of(values) != CONSTANT:
        raise ApprenticeError(f"Field {name!r} cannot be {kind}: its values are not, for example {_first(values)!r}")
    return found


def _first(values: Sequence[object]) -> object:
    return next((value for value in values if not is_missing(value)), None)


def unranked(field: Field, values: Sequence[object]) -> list[str]:
    """Values of an ordinal field that are not in its order."""
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
    read = _READ[field.kind]
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


def _standardised(field: Field, values: Sequence[object]) -> Field:
    from scipy.special import ndtri
    from sklearn.preprocessing import QuantileTransformer

    found = numbers(field, values)
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
