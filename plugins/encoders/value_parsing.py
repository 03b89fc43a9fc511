"""Values as people write them: what is missing, numbers, days, and which of several ways a field's are written in."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import numpy as np

NUMERIC, DATE = "numeric", "date"
MISSING = "(missing)"
WORDS_FOR_MISSING = frozenset(
    ("", "na", "n/a", "nan", "none", "null", "?", "-", "--", "nil", "missing", "inf", "-inf", "infinity", "-infinity")
)
LARGEST = 1e100  # what is beyond has no square
COMMA, POINTS = ",", "."
DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y")
WAYS = ((NUMERIC, ""), (NUMERIC, COMMA), (DATE, ""), *((DATE, each) for each in DAYS))
"""How numbers and days are written: as in English, with COMMA before the decimals; as in ISO, or as DAYS says. What
suits several is of the first. Beside them, with POINTS between thousands and nothing else: see `_has_points`."""
_CODE = re.compile(r"^[A-Z]{3}\s|\s[A-Z]{3}$")  # of a currency
_SPACED = re.compile(r"[+-]?\d{1,3}([\s'\u2019]\d{3})+([.,]\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")
_POINTS = re.compile(r"[+-]?(\d{1,3}|[1-9]\d{0,2}(\.\d{3})+)")
_DAY = re.compile(r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4})(?:[ T](\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?( ?[AaPp][Mm])?)?")
FEW, LOOK = 20, 2000
"""So few values with a comma and one digit may be lists of codes; and values that show how all are written."""


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


def counted(values: Sequence[object]) -> Counter[str]:
    """How often each value is there, without those that are missing."""
    return Counter(named(value) for value in values if not is_missing(value))


def words(found: Counter[str]) -> float:
    """How many words a value has on average."""
    return sum(n * len(name.split()) for name, n in found.items()) / max(found.total(), 1)


def differs(found: Counter[str]) -> bool:
    """Whether a value is mostly another one."""
    return len(found) > found.total() / 2


def number(value: object, how: str = "") -> float:
    """What a value is as a number ("1,234", "1 234.5", "5 %", "$12", "12 EUR", a bool; with COMMA "1.234,5", with
    POINTS "1.234"), NaN if it is none, or beyond LARGEST."""
    if isinstance(value, bool | int | float):
        return float(value) if abs(value) <= LARGEST else math.nan
    text = _CODE.sub("", value.strip().strip("%$€£ ")) if isinstance(value, str) else ""
    if _SPACED.fullmatch(text):
        text = re.sub(r"[\s'\u2019]", "", text)
    if how == COMMA:
        text = text.replace(".", "").replace(",", ".") if _COMMA.fullmatch(text) else ""
    elif how == POINTS:
        text = text.replace(".", "") if _POINTS.fullmatch(text) else ""
    elif _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        found = float(text)
    except ValueError:
        return math.nan
    return found if abs(found) <= LARGEST else math.nan


def day(value: object, how: str = "") -> float:
    """The day, with its part, of a date or time as in ISO, or with the date in a format of DAYS; NaN if it is none."""
    text = value.strip() if isinstance(value, str) else ""
    written = _DAY.fullmatch(text) if how else None
    if how and written is None:  # which is quicker to find out
        return math.nan
    try:
        found = datetime.strptime(written[1], how) if written else datetime.fromisoformat(text)  # noqa: DTZ007
    except ValueError:
        return math.nan
    hour, minute = found.hour, found.minute
    if written and written[2]:
        hour, minute = int(written[2]), int(written[3])
        if written[4]:
            hour = hour % 12 + 12 * (written[4].strip().lower() == "pm")
    return found.replace(tzinfo=None).toordinal() + hour / 24 + minute / 1440


READERS: dict[str, Callable[[object, str], float]] = {NUMERIC: number, DATE: day}


def way_of(values: Sequence[object], kinds: Collection[str] = (NUMERIC, DATE)) -> tuple[str, str, list[str]]:
    """The kind, of `kinds`, and the way of writing that most of the values are read by, as some of them show; and the
    names of those that it does not read."""
    there = {named(value): value for value in values if not is_missing(value)}
    names = list(there)
    if len(names) > LOOK:
        names = [names[place] for place in np.random.default_rng(0).choice(len(names), LOOK, replace=False)]
    best, least = ("", ""), len(names) + 1
    for kind, how in WAYS:
        if kind in kinds and least and not (how == COMMA and _may_be_codes(there)):
            lost = sum(math.isnan(READERS[kind](there[name], how)) for name in names)
            if lost < least:
                best, least = (kind, how), lost
    kind, how = (NUMERIC, POINTS) if best[0] == NUMERIC and _has_points(values) else best
    return kind, how, [name for name, value in there.items() if not kind or math.isnan(READERS[kind](value, how))]


def _may_be_codes(names: Collection[str]) -> bool:
    """Whether "4,1" may be a 4 and a 1: there are few of them, and none with two decimals or a sign."""
    return len(names) <= FEW and not any(re.search(r"^-|,\d\d|\..*,", name) for name in names)


def _has_points(values: Sequence[object]) -> bool:
    """Whether points stand between thousands: "999" and "1.234", but never "0.5" or "12.50"."""
    texts = [value for value in values if not is_missing(value)]
    names = {value.strip() for value in texts if isinstance(value, str)}
    some = sum("." in name for name in names)
    return 0 < some < len(names) and all(isinstance(value, str) and _POINTS.fullmatch(value.strip()) for value in texts)
