"""Fields of records: their kinds, inferred or set, and what is reported of fields that are left out."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from record_pools import LEVELS, encode, encoder_of, pool, profile

from ml_backend.core.arrays import FieldScores
from ml_backend.core.exceptions import ApprenticeError
from plugins.encoders.attributions import BOOLEAN_PRIOR_SCALE, CATEGORY_STEP
from plugins.encoders.feature_types import (
    CATEGORICAL,
    CONSTANT,
    IDENTIFIER,
    LEFT_OUT,
    ORDINAL,
)
from plugins.encoders.tabular import TabularEncoder
from plugins.encoders.value_parsing import MISSING, NUMERIC


def test_ten_thousand_different_values_are_an_identifier_and_no_useful_field_is_an_error() -> None:
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([{"id": f"n{n}"} for n in range(10_000)], {})
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([], {})


def test_settings_override_inferred_kinds_and_invalid_ones_are_reported() -> None:
    records = pool()
    kinds = {field.name: field.kind for field in encoder_of(records, {"age": CATEGORICAL, "city": LEFT_OUT}).fields}
    assert (kinds["age"], kinds["city"]) == (CATEGORICAL, LEFT_OUT)
    wrong = {"age": "numbers", "city": LEFT_OUT, "agee": NUMERIC, "level": ["small", "large"]}
    stored = profile(records, wrong)
    kinds = {field.name: field.kind for field in TabularEncoder(stored).fields}
    assert (kinds["age"], kinds["city"], kinds["level"]) == (NUMERIC, LEFT_OUT, CATEGORICAL), "the others hold"
    no_field, no_kind, no_order = json.loads(stored)["odd"]
    assert no_field == {"code": "field unknown", "values": {"field": "agee", "suggestion": "age"}}
    assert (no_kind["code"], no_order["code"]) == ("kind inferred", "kind inferred")
    assert no_kind["values"]["error"].startswith("Field 'age' cannot be 'numbers': set one of numeric, date, ordinal")
    assert no_order["values"]["error"] == "No record has one of the values small, large in the field 'level'"


def test_scores_of_fields_become_scores_of_their_columns() -> None:
    encoder = encoder_of(pool(), LEVELS)
    estimate: dict[str, FieldScores] = {
        "yes": {
            "AGE": 5.0, "city": {"oslo": 4.0, "Atlantis": 9.0}, "smoker": {"yes": 6.0, "no": -2.0}, "nothing": 3.0,
            "visits": {MISSING: -2.0}, "income": {"high": 3.0}, "level": 2.0,
        }
    }  # fmt: skip
    attributions = encoder.attributions([estimate, {}], ["no", "yes"])
    assert attributions.scores.shape == (2, 2, encoder.dim)
    assert not attributions.scores[0].any() and not attributions.scores[1, 1].any()
    scored = {
        (column.field, column.value): float(score)
        for column, score in zip(encoder.vector_columns, attributions.scores[1, 0], strict=True)
        if score
    }
    assert scored == {
        ("age", ""): 5.0, ("city", "Oslo"): pytest.approx(4.0 / CATEGORY_STEP), ("smoker", "yes"): 4.0,
        ("visits", MISSING): -2.0, ("level", ""): 2.0,
    }  # fmt: skip
    widths = {
        column.field: width for column, width in zip(encoder.vector_columns, attributions.prior_scales, strict=True)
    }
    assert (widths["age"], widths["city"], widths["smoker"], widths[""]) == (
        1.0,
        BOOLEAN_PRIOR_SCALE,
        BOOLEAN_PRIOR_SCALE,
        0.0,
    )
    assert encoder.attributions([], ["no", "yes"]).scores.shape == (2, 1, encoder.dim)


def test_a_boolean_may_be_scored_as_a_whole() -> None:
    encoder = encoder_of(pool(), LEVELS)
    scores = encoder.attributions([{"yes": {"smoker": -3.0}}], ["yes"]).scores[0, 0]
    assert [score for score in scores if score] == [-3.0]


def test_fields_are_described_with_their_kinds_and_values() -> None:
    described = {field["name"]: field for field in encoder_of(pool(), LEVELS).field_summaries()}
    assert described.keys() == {"age", "city", "income", "level", "since", "smoker", "visits"}
    assert (
        described["city"]["values"] == ["Oslo", "Bergen", "Tromso"] and described["level"]["values"] == LEVELS["level"]
    )
    assert float(described["age"]["values"][0]) >= 18 and float(described["age"]["values"][1]) <= 90
    assert described["since"]["values"][0].startswith("201") and described["since"]["values"][1].startswith("202")


def test_groups_of_numbers_are_quarters_of_the_pool() -> None:
    records = pool(400)
    encoder = encoder_of(records, LEVELS)
    texts = [json.dumps(record) for record in records]
    ages = encoder.groups("age", texts)
    assert ages is not None and len(set(ages)) == 4
    for record, group in zip(records, ages, strict=True):
        low, high = -math.inf, math.inf
        if group.startswith("up to "):
            high = float(group.removeprefix("up to "))
        elif group.startswith("over "):
            low = float(group.removeprefix("over "))
        else:
            low, high = map(float, group.split(" to "))
        assert low <= record["age"] <= high
    assert set(encoder.groups("visits", texts) or ()) > {MISSING}
    assert encoder.groups("country", texts) is None and encoder.groups("nothing", texts) is None


def test_a_field_without_a_name_and_names_of_any_kind_are_fields_like_others() -> None:
    records = [{"": n % 7, "scores": n % 3, "yes": str(n % 2)} for n in range(60)]
    encoder = encoder_of(records)
    assert {column.field for column in encoder.columns} == {"", "scores", "yes"}
    assert np.isfinite(encode(encoder, *records)).all()


def test_yes_is_yes_however_it_is_written() -> None:
    records = [{"a": value} for value in ["Yes", "yes", "YES", "No", "no", "n/a"] * 9]
    encoder = encoder_of(records)
    x = encoder.standardised(records)[:6, 0]
    assert x[0] == x[1] == x[2] > 0 > x[3] == x[4] and abs(x[5]) < 0.5
    assert encoder.columns[0].value == "yes"


def test_an_order_holds_for_values_that_look_missing_and_however_numbers_are_written() -> None:
    severity = [{"a": value} for value in ["none", "Mild", "severe"] * 20]
    encoder = encoder_of(severity, {"a": ["none", "mild", "severe"]})
    none, mild, severe = encoder.standardised(severity)[:3, 0]
    assert none < mild < severe and len(encoder.columns) == 1
    grades = [{"a": value} for value in [1.0, 2, "3", "3.0", None] * 20]
    encoder = encoder_of(grades, {"a": [1, 2, 3]})
    one, two, three, also_three, missing = encoder.standardised(grades)[:5, 0]
    assert one < two < three == also_three and missing == 0 and encoder.columns[1].value == MISSING


def test_dates_are_shown_as_dates() -> None:
    records = [{"day": f"2024-{1 + n % 12:02}-{1 + n % 28:02}"} for n in range(200)]
    encoder = encoder_of(records)
    groups = encoder.groups("day", [json.dumps(record) for record in records])
    assert groups is not None and all("2024-" in record for record in groups)


def test_a_kind_that_fits_no_value_and_an_order_that_lacks_some_are_reported() -> None:
    records = pool(90)
    stored = json.loads(profile(records, {"city": NUMERIC, "level": ["low", "high"]}))
    wrong, partial = stored["odd"]
    error = wrong["values"]["error"]
    assert error.startswith("Field 'city' cannot be numeric: its values cannot be read as that kind, for example '")
    assert partial["code"] == "values unreadable"
    assert partial["values"] == {"field": "level", "value": "middle", "others": 0, "as": ORDINAL}
    kinds = {field.name: field.kind for field in TabularEncoder(json.dumps(stored)).fields}
    assert (kinds["city"], kinds["level"]) == (CATEGORICAL, ORDINAL)


def test_a_word_for_missing_values_is_reported_and_has_a_column() -> None:
    records = [{"amount": f"{n},5" if n % 10 else "k.A."} for n in range(200)]
    encoder = encoder_of(records)
    values = {"field": "amount", "value": "k.A.", "others": 0, "as": NUMERIC}
    assert json.loads(profile(records, {}))["odd"] == [{"code": "values unreadable", "values": values}]
    assert [(column.is_number, column.value) for column in encoder.columns] == [(True, ""), (False, MISSING)]
    missing, present = encoder.standardised([{"amount": "k.A."}, {"amount": "99,5"}])
    assert missing[0] == 0 and missing[1] > 1 and present[1] < 0


def test_fields_that_are_left_out_are_reported_with_the_reason() -> None:
    encoder = encoder_of(pool(), {"city": LEFT_OUT})
    assert encoder.left_out() == {"city": LEFT_OUT, "country": CONSTANT, "id": IDENTIFIER}
