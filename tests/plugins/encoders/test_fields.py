"""What the fields of records are: their kinds are inferred from their values, read as people write them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from plugins.encoders.fields import (
    BOOLEAN,
    CATEGORICAL,
    CONSTANT,
    DATE,
    IDENTIFIER,
    NUMERIC,
    as_json,
    fitted,
    from_json,
    is_missing,
    kind_of,
    number,
    numbers,
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None, 7], NUMERIC),
        (["1,234", "5", "n/a", "17 %"], NUMERIC),
        (["3"] * 30 + ["4", "5"] * 10 + ["odd"], NUMERIC),
        (["yes", "no", "yes", "?"], BOOLEAN),
        ([True, False, True], BOOLEAN),
        (["0", "1", "1"], BOOLEAN),
        (["2024-01-31", "2023-12-01T10:00", ""], DATE),
        (["31.12.2024", "1.2.2023 10:30", "?"], DATE),
        (["12/31/2024", "1/2/2023"] * 20 + ["13/13/2024"], DATE),
        (["1,5", "12", "1.234,25"], NUMERIC),
        (["1,5", "2.5", "3,5", "4.5"] * 9, CATEGORICAL),
        (["red", "green", "blue"] * 5, CATEGORICAL),
        (["a", "b"] * 5, CATEGORICAL),
        ([f"text {n}" for n in range(200)], IDENTIFIER),
        (list(range(1000, 1200)), IDENTIFIER),
        ([str(n) for n in range(200)], IDENTIFIER),
        (list(range(0, 2000, 10)), NUMERIC),
        (["$1,234", "€5", "12 £"] * 5, NUMERIC),
        (["x"] * 9, CONSTANT),
        ([None, "n/a", math.nan], CONSTANT),
        ([], CONSTANT),
    ],
)
def test_the_kind_of_a_field_is_inferred_from_its_values(values: list[Any], kind: str) -> None:
    assert kind_of(values) == kind


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1,234", 1234), ("1,234,567.5", 1234567.5), ("-3", -3), (" 5 % ", 5), (True, 1), (7, 7), ("1e3", 1000),
        ("1,23", math.nan), ("x", math.nan), ("inf", math.nan), (math.inf, math.nan), (None, math.nan), ([1], math.nan),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(value: object, expected: float) -> None:
    assert number(value) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,5", "12", "-1.234,25", "x", 7.5], [1.5, 12, -1234.25, math.nan, 7.5]),
        (["1,234", "5,678", "9"], [1234, 5678, 9]),  # every one of them may be thousands
        (["1,234", "5,67", "9"], [1.234, 5.67, 9]),
        (["31/01/2024", "01/02/2024", "01.02.2024"], [738916, 738917, math.nan]),
        (["01/31/2024", "02/01/2024 13:00", ""], [738916, 738917, math.nan]),
        (["01/02/2024", "02/02/2024", "03/02/2024"], [738917, 738918, 738919]),  # the day first, if both are possible
        (["2024/01/31", "2024/02/01", "2024"], [738916, 738917, math.nan]),
    ],
)
def test_the_values_of_a_field_show_how_its_numbers_and_days_are_written(
    values: list[object], expected: list[float]
) -> None:
    kind = DATE if "/" in str(values[0]) else NUMERIC
    found = fitted("field", values, kind)
    assert found.kind == kind
    np.testing.assert_allclose(numbers(found, values), expected, equal_nan=True)
    (again,) = from_json(as_json([found]))
    assert again == found


@pytest.mark.parametrize("value", [None, "", " ", "N/A", "nan", "NULL", "?", "-", math.nan, math.inf, "-Infinity"])
def test_what_is_missing_is_known_by_many_names(value: object) -> None:
    assert is_missing(value)
