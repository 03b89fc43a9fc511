"""Fields of records: their kinds are inferred from their values, which are parsed as people write them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from plugins.encoders.feature_types import (
    BOOLEAN,
    CATEGORICAL,
    CONSTANT,
    IDENTIFIER,
    TEXT,
    as_json,
    fit_field,
    from_json,
    infer_kind,
    numbers,
)
from plugins.encoders.value_parsing import DATE, NUMERIC, is_missing, parse_number


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
        ([f"{n},5" for n in range(90)] + ["k.A."] * 10, NUMERIC),
        ([f"{n},5" for n in range(90)] + [f"odd {n}" for n in range(10)], IDENTIFIER),
        ([f"{n} EUR" for n in range(0, 900, 7)], NUMERIC),
        (["26.11.24", "1.2.23"], DATE),
        (["1st", "2nd", "3rd"] * 9, CATEGORICAL),
        (["1,5", "2.5", "3,5", "4.5"] * 9, CATEGORICAL),
        (["4,1", "4,5", "1,4"] * 9, CATEGORICAL),
        (["4,10", "4,50", "1,40"] * 9, NUMERIC),
        ([True, False, 3, 5], NUMERIC),
        ([1.5, 7.25, "1,93", "2,5", "3,25"] * 9, NUMERIC),
        ([f"28/07/2021 complains of pain in number {n}" for n in range(80)], TEXT),
        ([f"text {n} of six words here" for n in range(20)], TEXT),
        ([f"town {n}" for n in range(20)], CATEGORICAL),
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
    assert infer_kind(values) == kind


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1,234", 1234), ("1,234,567.5", 1234567.5), ("-3", -3), (" 5 % ", 5), (True, 1), (7, 7), ("1e3", 1000),
        ("1,23", math.nan), ("x", math.nan), ("inf", math.nan), (math.inf, math.nan), (None, math.nan), ([1], math.nan),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(value: object, expected: float) -> None:
    assert parse_number(value) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,5", "12", "-1.234,25", "x", 7.5], [1.5, 12, -1234.25, math.nan, 7.5]),
        (["1,234", "5,678", "9"], [1234, 5678, 9]),  # all of them may be thousands
        (["1.234", "12.500", "999"], [1234, 12500, 999]),  # decimals would be written in all values
        (["1.234", "12.500", "0.999"], [1.234, 12.5, 0.999]),
        (["1.234", "12.5", "999"], [1.234, 12.5, 999]),
        ([1.234, 12.5, "999"], [1.234, 12.5, 999]),
        (["1 234,50", "3,5", "12 000"], [1234.5, 3.5, 12000]),
        (["1'234.50", "EUR 3.5", "12 USD"], [1234.5, 3.5, 12]),
        (["1,234", "5,67", "9"], [1.234, 5.67, 9]),
        (["31/01/2024", "01/02/2024", "01.02.2024"], [738916, 738917, math.nan]),
        (["01/31/2024", "02/01/2024 12:00", "02/01/2024 6:00:00 pm"], [738916, 738917.5, 738917.75]),
        (["01/02/2024", "02/02/2024", "03/02/2024"], [738917, 738918, 738919]),  # the day first, if both are possible
        (["2024/01/31", "2024/02/01", "2024"], [738916, 738917, math.nan]),
        (["31/01/24", "01/02/24", "2/24"], [738916, 738917, math.nan]),
    ],
)
def test_the_values_of_a_field_show_how_its_numbers_and_days_are_written(
    values: list[object], expected: list[float]
) -> None:
    kind = DATE if "/" in str(values[0]) else NUMERIC
    field = fit_field("field", values, kind)
    assert field.kind == kind
    np.testing.assert_allclose(numbers(field, values), expected, equal_nan=True)
    (restored,) = from_json(as_json([field]))
    assert restored == field


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("KundenID", IDENTIFIER),
        ("customer_id", IDENTIFIER),
        ("id", IDENTIFIER),
        ("file no", IDENTIFIER),
        ("Nr", IDENTIFIER),
    ]
    + [(name, NUMERIC) for name in ("income", "Covid", "nitrogen", "acid", "casino")],
)
def test_distinct_whole_numbers_are_an_identifier_if_the_name_says_so(name: str, kind: str) -> None:
    values = np.random.default_rng(0).choice(900_000, 200, replace=False).tolist()
    assert fit_field(name, values).kind == kind
    assert fit_field(name, [value % 50 for value in values]).kind == NUMERIC, "repeated values are informative"
    assert fit_field(name, values, NUMERIC).kind == NUMERIC, "a setting overrides the kind"


@pytest.mark.parametrize("value", [None, "", " ", "N/A", "nan", "NULL", "?", "-", math.nan, math.inf, "-Infinity"])
def test_many_values_stand_for_missing_ones(value: object) -> None:
    assert is_missing(value)
