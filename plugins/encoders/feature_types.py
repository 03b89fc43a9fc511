"""Infers the kinds of the fields of a pool's records, and the numbers that standardise them: plain data, kept as JSON.

The kind of a field is inferred from its values, unless a setting names it. No label is used.
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
    PARSERS,
    infer_format,
    is_missing,
    is_mostly_distinct,
    lowercase_name,
    mean_words,
    parse_number,
    value_counts,
    value_name,
)

Doubles = npt.NDArray[np.float64]

ORDINAL, BOOLEAN, CATEGORICAL = "ordinal", "boolean", "categorical"
TEXT, CONSTANT, IDENTIFIER, LEFT_OUT = "text", "constant", "identifier", "left out"
KINDS = (NUMERIC, DATE, ORDINAL, BOOLEAN, CATEGORICAL, TEXT, IDENTIFIER, LEFT_OUT)
OTHER = "(other)"
MAX_CATEGORY_COLUMNS = 50
"""Maximum number of values of a categorical field that have a column; rarer values share one more."""
MIN_MEAN_WORDS = 6.0
"""Mean number of words from which a field of mostly distinct values is a text, and not a name or an identifier."""
MIN_PARSED_SHARE, MIN_PARSED_SHARE_OF_MANY, MAX_UNPARSED_VALUES = 0.95, 0.8, 3
"""Share of the values that must be numbers or dates for the field to be of that kind. The second share is enough if
there are many distinct values and at most three words among them, which stand for missing values."""
MIN_ROWS_FOR_ROW_NUMBERS, MAX_ROW_NUMBER_RANGE = 50, 1.2
"""Rows from which distinct whole numbers, nearly without gaps, are the numbers of the rows; and the largest range of
such numbers, per row."""
MIN_MISSING_SHARE = 0.01
"""Share of missing values from which a column indicates them."""
QUANTILES, MAX_SAMPLED_VALUES = 200, 20_000
"""Number of quantiles that are stored of a field's numbers, and maximum number of numbers that they are computed
from."""
MAX_Z_SCORE, TAIL_PROBABILITY = 4.0, 0.01
"""Bounds of a standardised number (see `standardised`): z-scores beyond the first, and quantiles nearer to 0 or 1 than
the second, are clipped."""
YES, NO = frozenset(("true", "yes", "y", "t", "1", "1.0")), frozenset(("false", "no", "n", "f", "0", "0.0"))
_IDENTIFIER_NAME = re.compile(r"(^|[\W_])(?i:id|uuid|guid|key|nr|no)$|(?<=[a-z])(ID|Id|Nr|No)$")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a pool's records. The names of the attributes are keys of the stored profile.

    values   categorical: the values with a column, the most frequent first, and OTHER last if there are more;
             ordinal: the values in their order; boolean: the lower and the upper
    shares   share of each value in the pool; boolean: share of the upper value
    missing  share of the pool without a value, 0 if missing values have no column
    how      format of its numbers or dates, see `value_parsing`
    centre, spread, ranks, rank_centre, rank_spread  of its numbers; `ranks` are their quantiles at even distances
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
        """Returns whether the values are numbers, dates or ranks."""
        return self.kind in (NUMERIC, DATE, ORDINAL)


def infer_kind(values: Sequence[object]) -> str:
    """Returns the kind of a field with these values."""
    return _inferred(values)[0]


def _inferred(values: Sequence[object]) -> tuple[str, str]:
    """Returns the kind, and the format of numbers or dates."""
    counts = value_counts(values)
    if len(counts) <= 1:
        return CONSTANT, ""
    lowercase_names = {name.lower() for name in counts}
    if len(lowercase_names) == 2 and lowercase_names & YES and lowercase_names & NO:
        return BOOLEAN, ""
    kind, value_format, unparsed = infer_format(values)
    parsed_share = 1 - sum(counts[name] for name in unparsed) / counts.total()
    has_few_words = (
        parsed_share >= MIN_PARSED_SHARE_OF_MANY
        and len(unparsed) <= MAX_UNPARSED_VALUES
        and len(counts) > MAX_CATEGORY_COLUMNS
    )
    if parsed_share >= MIN_PARSED_SHARE or has_few_words:
        if kind == NUMERIC and _is_row_number(values):
            return IDENTIFIER, ""
        return (BOOLEAN, "") if kind == NUMERIC and len(counts) == 2 else (kind, value_format)
    if is_mostly_distinct(counts) and mean_words(counts) >= MIN_MEAN_WORDS:
        return TEXT, ""
    return IDENTIFIER if is_mostly_distinct(counts) and len(counts) > MAX_CATEGORY_COLUMNS else CATEGORICAL, ""


def _distinct_whole_numbers(values: Sequence[object]) -> Doubles:
    """Returns the values that are present, if there are enough and they are whole numbers, nearly all distinct; else an
    empty array."""
    present = np.array([parse_number(value) for value in values if not is_missing(value)])
    if len(present) < MIN_ROWS_FOR_ROW_NUMBERS or np.isnan(present).any() or (present % 1).any():
        return present[:0]
    return present if len(np.unique(present)) >= MIN_PARSED_SHARE * len(present) else present[:0]


def _is_row_number(values: Sequence[object]) -> bool:
    """Returns whether whole numbers only number the rows: all distinct, and nearly without gaps."""
    whole_numbers = _distinct_whole_numbers(values)
    return (
        bool(len(whole_numbers))
        and len(np.unique(whole_numbers)) == len(whole_numbers)
        and float(np.ptp(whole_numbers)) < MAX_ROW_NUMBER_RANGE * len(whole_numbers)
    )


def fit_field(
    name: str, values: Sequence[object], kind_or_order: object = None, max_columns: int = MAX_CATEGORY_COLUMNS
) -> Field:
    """Returns the field with these values in the pool. `kind_or_order`: its kind, or the order of its values (a list),
    None to infer the kind; `max_columns`: maximum number of values with a column of a categorical field. Raises
    ApprenticeError if there is no such kind, or if no value fits it."""
    order = tuple(str(value).strip() for value in kind_or_order) if isinstance(kind_or_order, list | tuple) else ()
    if kind_or_order is not None and not order and kind_or_order not in KINDS:
        raise ApprenticeError(
            f"Field {name!r} cannot be {kind_or_order!r}: set one of {', '.join(KINDS)}, or list its values in their "
            "order"
        )
    if order:
        kind, value_format = ORDINAL, ""
    elif kind_or_order:
        kind = str(kind_or_order)
        value_format = infer_format(values, (kind,))[1] if kind in PARSERS else ""
    else:
        kind, value_format = _inferred(values)
    if (
        kind == NUMERIC
        and kind_or_order is None
        and _IDENTIFIER_NAME.search(name)
        and len(_distinct_whole_numbers(values))
    ):
        kind = IDENTIFIER
    parsed = numbers(Field(name, kind, order, how=value_format), values) if kind in PARSERS or order else None
    is_absent = [is_missing(value) for value in values] if parsed is None else np.isnan(parsed)
    missing_share = np.count_nonzero(is_absent) / max(len(values), 1)
    if order and missing_share == 1:
        raise ApprenticeError(f"No record has one of the values {', '.join(order)} in the field {name!r}")
    missing = missing_share if MIN_MISSING_SHARE <= missing_share < 1 else 0.0
    if kind == CATEGORICAL:
        return _categorical(name, values, max_columns)
    if kind == BOOLEAN:
        return _boolean(name, values, missing)
    if kind not in (NUMERIC, DATE, ORDINAL):
        return Field(name, kind)
    if kind == ORDINAL and not order:
        order = tuple(
            sorted({value_name(value) for value in values} - {MISSING}, key=lambda value: (parse_number(value), value))
        )
    field = Field(name, kind, order, missing=missing, how=value_format)
    field = _with_standardisation(field, numbers(field, values) if parsed is None else parsed)
    if kind_or_order is not None and field.kind == CONSTANT and infer_kind(values) != CONSTANT:
        raise ApprenticeError(
            f"Field {name!r} cannot be {kind}: its values cannot be read as that kind, for example "
            f"{_first_present(values)!r}"
        )
    return field


def _categorical(name: str, values: Sequence[object], max_columns: int) -> Field:
    """Returns the categorical field with its most frequent values."""
    counts = Counter(map(value_name, values))
    common = [value for value, _ in counts.most_common(max_columns)]
    shares = [counts[value] / len(values) for value in common]
    if len(counts) > max_columns:
        common, shares = [*common, OTHER], [*shares, 1 - sum(shares)]
    return Field(name, CATEGORICAL, tuple(common), tuple(shares))


def _boolean(name: str, values: Sequence[object], missing: float) -> Field:
    """Returns the boolean field with its lower and upper value; a constant field if there is only one."""
    names = sorted({lowercase_name(value) for value in values} - {MISSING.lower()}, key=_boolean_order)[-2:]
    if len(names) < 2:
        return Field(name, CONSTANT)
    is_upper = [lowercase_name(value) == names[1] for value in values if lowercase_name(value) in names]
    return Field(name, BOOLEAN, tuple(names), (float(np.mean(is_upper)),), missing)


def _first_present(values: Sequence[object]) -> object:
    return next((value for value in values if not is_missing(value)), None)


def unreadable_values(field: Field, values: Sequence[object]) -> list[str]:
    """Returns the values of a numeric field that are not numbers, or not in its order."""
    is_unparsed = np.isnan(numbers(field, values))
    names = {
        value_name(value)
        for value, unparsed in zip(values, is_unparsed, strict=True)
        if unparsed and not is_missing(value)
    }
    return sorted(names)


def numbers(field: Field, values: Sequence[object]) -> Doubles:
    """Returns the values (n,) of a numeric field, NaN where there is none."""
    if field.kind == ORDINAL:
        ranks = {value.lower(): float(rank) for rank, value in reversed([*enumerate(field.values)])}
        ranks_by_number = {
            parse_number(value): rank for value, rank in ranks.items() if not math.isnan(parse_number(value))
        }

        def rank(value: object) -> float:  # by its name first: "none" may be the lowest value
            by_name = ranks.get(str(value).strip().lower())
            return ranks_by_number.get(parse_number(value), math.nan) if by_name is None else by_name

        return np.array([rank(value) for value in values], np.float64)
    parse = PARSERS[field.kind]
    return np.array([math.nan if is_missing(value) else parse(value, field.how) for value in values], np.float64)


def standardised(field: Field, values: Doubles) -> Doubles:
    """Returns the mean (n,) of the z-score, clipped to MAX_Z_SCORE, and the normal score of the rank: the rank bounds
    heavy tails, the z-score bounds gaps. Missing values get 0."""
    from scipy.special import ndtri

    ranks, levels = np.array(field.ranks), np.linspace(0, 1, len(field.ranks))
    z = np.clip((values - field.centre) / field.spread, -MAX_Z_SCORE, MAX_Z_SCORE)
    lowest = np.interp(values, ranks, levels)
    highest = 1 - np.interp(-values, -ranks[::-1], levels)  # ties get the middle of their ranks
    quantiles = np.where(
        values <= ranks[0], 0.0, np.where(values >= ranks[-1], 1.0, (lowest + highest) / 2)
    )  # as scikit-learn's QuantileTransformer
    normal = (ndtri(np.clip(quantiles, TAIL_PROBABILITY, 1 - TAIL_PROBABILITY)) - field.rank_centre) / field.rank_spread
    return np.asarray(np.nan_to_num((z + normal) / 2))


def formatted_number(field: Field, value: float) -> str:
    """Returns a number of a field as people write it."""
    if field.kind == DATE:
        return datetime.fromordinal(max(int(value), 1)).date().isoformat()
    return f"{value:g}"


def _with_standardisation(field: Field, values: Doubles) -> Field:
    """Returns the field with centre, spread and quantiles of its numbers; a constant field if they are all equal."""
    from scipy.special import ndtri
    from sklearn.preprocessing import QuantileTransformer

    values = values[~np.isnan(values)]
    if not len(values) or (values == values[0]).all():
        return replace(field, kind=CONSTANT)
    sample = (
        np.random.default_rng(0).choice(values, MAX_SAMPLED_VALUES, replace=False)
        if len(values) > MAX_SAMPLED_VALUES
        else values
    )
    transformer = QuantileTransformer(n_quantiles=min(QUANTILES, len(sample)), subsample=None).fit(sample[:, None])
    normal = ndtri(np.clip(transformer.transform(sample[:, None])[:, 0], TAIL_PROBABILITY, 1 - TAIL_PROBABILITY))
    return replace(
        field,
        centre=float(values.mean()),
        spread=float(values.std()),
        ranks=tuple(transformer.quantiles_[:, 0].tolist()),
        rank_centre=float(normal.mean()),
        rank_spread=float(normal.std()) or 1.0,
    )


def _boolean_order(name: str) -> tuple[bool, float, str]:
    lowered = name.lower()
    value = parse_number(name)
    return lowered in YES, 0.0 if math.isnan(value) else value, name


def as_json(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Returns the fields as JSON, without values that equal the defaults."""
    defaults = asdict(Field("", ""))
    return [{k: v for k, v in asdict(field).items() if k in ("name", "kind") or v != defaults[k]} for field in fields]


def from_json(raw: Sequence[Mapping[str, Any]]) -> tuple[Field, ...]:
    """Returns the fields that `as_json` wrote."""
    fields: list[Field] = []
    for entry in raw:
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in entry.items()}
        fields.append(Field(**values))
    return tuple(fields)
