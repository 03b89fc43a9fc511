"""Parses values as people write them: missing values, numbers, dates, and the format that the values of a field are
written in."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import numpy as np

NUMERIC, DATE = "numeric", "date"
MISSING = "(missing)"
MISSING_VALUES = frozenset(
    ("", "na", "n/a", "nan", "none", "null", "?", "-", "--", "nil", "missing", "inf", "-inf", "infinity", "-infinity")
)
MAX_MAGNITUDE = 1e100  # the square of a larger number overflows
DECIMAL_COMMA, THOUSANDS_POINTS = ",", "."
DATE_FORMATS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y")
FORMATS = ((NUMERIC, ""), (NUMERIC, DECIMAL_COMMA), (DATE, ""), *((DATE, date_format) for date_format in DATE_FORMATS))
"""Formats of numbers and dates: English, or DECIMAL_COMMA before the decimals; ISO, or one of DATE_FORMATS. If several
formats fit, the first is taken. THOUSANDS_POINTS, between thousands alone, is added by `_has_thousands_points`."""
_CURRENCY_CODE = re.compile(r"^[A-Z]{3}\s|\s[A-Z]{3}$")
_SPACED_THOUSANDS = re.compile(r"[+-]?\d{1,3}([\s'\u2019]\d{3})+([.,]\d+)?")
_COMMA_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_WITH_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")
_WITH_THOUSANDS_POINTS = re.compile(r"[+-]?(\d{1,3}|[1-9]\d{0,2}(\.\d{3})+)")
_DATE_AND_TIME = re.compile(
    r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4})(?:[ T](\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?( ?[AaPp][Mm])?)?"
)
MAX_CODE_VALUES, MAX_INSPECTED_VALUES = 20, 2000
"""Maximum number of distinct values for which "4,1" may be a list of codes; and maximum number of distinct values that
the format is inferred from."""


def is_missing(value: object) -> bool:
    """Returns whether a value stands for a missing one."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in MISSING_VALUES


def value_name(value: object) -> str:
    """Returns a value as its name among the values of a field."""
    return MISSING if is_missing(value) else str(value).strip()


def lowercase_name(value: object) -> str:
    """Returns the name of a value in lower case, so that yes equals Yes."""
    return value_name(value).lower()


def value_counts(values: Sequence[object]) -> Counter[str]:
    """Returns how often each value occurs, without missing ones."""
    return Counter(value_name(value) for value in values if not is_missing(value))


def mean_words(counts: Counter[str]) -> float:
    """Returns the mean number of words of a value."""
    return sum(n * len(name.split()) for name, n in counts.items()) / max(counts.total(), 1)


def is_mostly_distinct(counts: Counter[str]) -> bool:
    """Returns whether the distinct values are more than half of all values."""
    return len(counts) > counts.total() / 2


def parse_number(value: object, number_format: str = "") -> float:
    """Returns a value as a number ("1,234", "1 234.5", "5 %", "$12", "12 EUR", a bool; with DECIMAL_COMMA "1.234,5",
    with THOUSANDS_POINTS "1.234"), or NaN if it is not a number or exceeds MAX_MAGNITUDE."""
    if isinstance(value, bool | int | float):
        return float(value) if abs(value) <= MAX_MAGNITUDE else math.nan
    text = _CURRENCY_CODE.sub("", value.strip().strip("%$€£ ")) if isinstance(value, str) else ""
    if _SPACED_THOUSANDS.fullmatch(text):
        text = re.sub(r"[\s'\u2019]", "", text)
    if number_format == DECIMAL_COMMA:
        text = text.replace(".", "").replace(",", ".") if _WITH_DECIMAL_COMMA.fullmatch(text) else ""
    elif number_format == THOUSANDS_POINTS:
        text = text.replace(".", "") if _WITH_THOUSANDS_POINTS.fullmatch(text) else ""
    elif _COMMA_THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        result = float(text)
    except ValueError:
        return math.nan
    return result if abs(result) <= MAX_MAGNITUDE else math.nan


def parse_day(value: object, date_format: str = "") -> float:
    """Returns the day, with its fraction, of a date or time in ISO format, or with the date in a format of
    DATE_FORMATS; NaN if it is none."""
    text = value.strip() if isinstance(value, str) else ""
    match = _DATE_AND_TIME.fullmatch(text) if date_format else None
    if date_format and match is None:  # quicker than an exception
        return math.nan
    try:
        moment = datetime.strptime(match[1], date_format) if match else datetime.fromisoformat(text)  # noqa: DTZ007
    except ValueError:
        return math.nan
    hour, minute = moment.hour, moment.minute
    if match and match[2]:
        hour, minute = int(match[2]), int(match[3])
        if match[4]:
            hour = hour % 12 + 12 * (match[4].strip().lower() == "pm")
    return moment.replace(tzinfo=None).toordinal() + hour / 24 + minute / 1440


PARSERS: dict[str, Callable[[object, str], float]] = {NUMERIC: parse_number, DATE: parse_day}


def infer_format(values: Sequence[object], kinds: Collection[str] = (NUMERIC, DATE)) -> tuple[str, str, list[str]]:
    """Returns the kind, among `kinds`, and the format that parse most of a sample of the values, and the names of the
    values that they do not parse."""
    values_by_name = {value_name(value): value for value in values if not is_missing(value)}
    names = list(values_by_name)
    if len(names) > MAX_INSPECTED_VALUES:
        names = [names[i] for i in np.random.default_rng(0).choice(len(names), MAX_INSPECTED_VALUES, replace=False)]
    best_format, fewest_unparsed = ("", ""), len(names) + 1
    for kind, value_format in FORMATS:
        if kind in kinds and fewest_unparsed and not (value_format == DECIMAL_COMMA and _may_be_codes(values_by_name)):
            unparsed = sum(math.isnan(PARSERS[kind](values_by_name[name], value_format)) for name in names)
            if unparsed < fewest_unparsed:
                best_format, fewest_unparsed = (kind, value_format), unparsed
    kind, value_format = (
        (NUMERIC, THOUSANDS_POINTS) if best_format[0] == NUMERIC and _has_thousands_points(values) else best_format
    )
    return (
        kind,
        value_format,
        [name for name, value in values_by_name.items() if not kind or math.isnan(PARSERS[kind](value, value_format))],
    )


def _may_be_codes(names: Collection[str]) -> bool:
    """Returns whether "4,1" may be a list of the codes 4 and 1: there are few values, and none has two decimals or a
    sign."""
    return len(names) <= MAX_CODE_VALUES and not any(re.search(r"^-|,\d\d|\..*,", name) for name in names)


def _has_thousands_points(values: Sequence[object]) -> bool:
    """Returns whether points separate thousands: "999" and "1.234", but never "0.5" or "12.50"."""
    present = [value for value in values if not is_missing(value)]
    names = {value.strip() for value in present if isinstance(value, str)}
    with_point = sum("." in name for name in names)
    return 0 < with_point < len(names) and all(
        isinstance(value, str) and _WITH_THOUSANDS_POINTS.fullmatch(value.strip()) for value in present
    )
