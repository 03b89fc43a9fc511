"""Records as vectors: what the kinds of fields are, that columns are standardised, and that nothing bad stops it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import read_record
from plugins.encoders.attributions import BETWEEN, NARROW
from plugins.encoders.feature_types import (
    CATEGORICAL,
    CONSTANT,
    IDENTIFIER,
    LEFT_OUT,
    MOST_VALUES,
    ORDINAL,
    OTHER,
    TEXT,
    fitted,
)
from plugins.encoders.tabular import MOST_COLUMNS, TabularEncoder, profile
from plugins.encoders.value_parsing import DATE, MISSING, NUMERIC


def pool(n: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """People, with all kinds of fields, some of them empty."""
    random = np.random.default_rng(seed)
    return [
        {
            "age": int(random.integers(18, 90)),
            "income": f"{int(random.lognormal(10, 1)):,}",
            "smoker": str(random.choice(["yes", "no"], p=[0.2, 0.8])),
            "city": str(random.choice(["Oslo", "Bergen", "Tromso"], p=[0.6, 0.3, 0.1])),
            "visits": None if random.random() < 0.3 else float(random.integers(0, 9)),
            "level": str(random.choice(["low", "middle", "high"])),
            "since": f"20{random.integers(10, 25)}-0{random.integers(1, 10)}-1{random.integers(0, 10)}",
            "id": f"person {number}",
            "country": "Norway",
        }
        for number in range(n)
    ]


LEVELS = {"level": ["low", "middle", "high"]}


def encoder(records: list[dict[str, Any]], wanted: dict[str, object] | None = None) -> TabularEncoder:
    return TabularEncoder(profile(records, wanted or {}))


def encode(made: TabularEncoder, *records: Any) -> np.ndarray:
    return made.encode([json.dumps(record) for record in records])


def test_each_kind_has_its_columns_and_what_tells_nothing_apart_has_none() -> None:
    made = encoder(pool(), LEVELS)
    columns = [(column.field, column.is_number, column.value) for column in made.columns]
    assert columns == [
        ("age", True, ""), ("city", False, "Oslo"), ("city", False, "Bergen"), ("city", False, "Tromso"),
        ("income", True, ""), ("level", True, ""), ("since", True, ""), ("smoker", False, "yes"),
        ("visits", True, ""), ("visits", False, MISSING),
    ]  # fmt: skip
    assert made.dim == len(columns) + 1
    kinds = {field.name: field.kind for field in made.fields}
    assert (kinds["level"], kinds["since"], kinds["id"], kinds["country"]) == (ORDINAL, DATE, IDENTIFIER, CONSTANT)


def test_columns_are_standardised_over_the_pool() -> None:
    records = pool(2000)
    made = encoder(records, LEVELS)
    x = made.standardised(records)
    assert np.abs(x.mean(axis=0)).max() < 0.05
    numbers = [place for place, column in enumerate(made.columns) if column.is_number and column.field != "visits"]
    assert x[:, numbers].std(axis=0) == pytest.approx(np.ones(len(numbers)), abs=0.15)
    at = {(column.field, column.value): place for place, column in enumerate(made.columns)}
    yes, no = (x[[record["smoker"] == said for record in records], at["smoker", "yes"]] for said in ("yes", "no"))
    assert yes[0] - no[0] == pytest.approx(2.0) and np.ptp(yes) == 0
    oslo, bergen = (x[next(i for i, r in enumerate(records) if r["city"] == said)] for said in ("Oslo", "Bergen"))
    places = [at["city", said] for said in ("Oslo", "Bergen", "Tromso")]
    assert np.linalg.norm(oslo[places] - bergen[places]) == pytest.approx(2.0), "as far apart as yes and no"
    low, middle, high = (
        x[next(i for i, r in enumerate(records) if r["level"] == said), at["level", ""]] for said in LEVELS["level"]
    )
    assert low < middle < high


def test_vectors_have_unit_length_and_keep_the_distances_of_the_columns() -> None:
    records = pool()
    made = encoder(records)
    vectors, x = encode(made, *records), made.standardised(records)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(records)), abs=1e-5)
    inside = np.flatnonzero(vectors[:, -1] > 0)
    assert len(inside) > 0.98 * len(records)
    ratio = vectors[inside, :-1] / np.where(x[inside] == 0, 1, x[inside])
    assert np.ptp(ratio[x[inside] != 0]) < 1e-5, "one factor for all"


def test_values_and_fields_that_the_pool_has_not_and_missing_ones_are_in_the_middle() -> None:
    made = encoder(pool(), LEVELS)
    odd = {"age": "unknown", "city": "Bodo", "smoker": "sometimes", "level": "very high", "new": 5}
    x = made.standardised([odd])
    present = [
        place for place, column in enumerate(made.columns) if column.value != MISSING and column.field != "visits"
    ]
    assert x[0, present] == pytest.approx(np.zeros(len(present)))


@pytest.mark.parametrize("record", [{}, [], 7, None, "text", {"age": [1, 2], "city": {"a": 1}}, {"age": 1e308}])
def test_what_is_no_record_or_an_odd_one_has_a_vector_all_the_same(record: Any) -> None:
    vector = encode(encoder(pool()), record)
    assert np.isfinite(vector).all() and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert read_record("no JSON") == {}


def test_of_many_values_the_frequent_ones_have_columns_and_the_others_share_one() -> None:
    records = [{"city": f"town {n % 81 if n % 2 else n % 10}"} for n in range(2000)]
    (field,) = encoder(records).fields
    assert len(field.values) == MOST_VALUES + 1 and field.values[-1] == OTHER
    assert sum(field.shares) == pytest.approx(1.0)
    made = encoder(records)
    rare = next(f"town {n}" for n in range(80) if f"town {n}" not in field.values)
    assert np.array_equal(made.standardised([{"city": rare}]), made.standardised([{"city": "Atlantis"}]))


def test_ten_thousand_different_values_are_an_identifier_and_no_field_at_all_is_told() -> None:
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([{"id": f"n{n}"} for n in range(10_000)], {})
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([], {})


def test_whoever_knows_better_says_so_and_a_kind_that_is_none_is_told() -> None:
    records = pool()
    kinds = {field.name: field.kind for field in encoder(records, {"age": CATEGORICAL, "city": LEFT_OUT}).fields}
    assert (kinds["age"], kinds["city"]) == (CATEGORICAL, LEFT_OUT)
    wrong = {"age": "numbers", "city": LEFT_OUT, "agee": NUMERIC, "level": ["small", "large"]}
    made = profile(records, wrong)
    kinds = {field.name: field.kind for field in TabularEncoder(made).fields}
    assert (kinds["age"], kinds["city"], kinds["level"]) == (NUMERIC, LEFT_OUT, CATEGORICAL), "the others hold"
    no_field, no_kind, no_order = json.loads(made)["odd"]
    assert no_field == "no record has a field 'agee', did you mean 'age'?"
    assert no_kind.startswith("Field 'age' cannot be 'numbers': say one of numeric, date, ordinal")
    assert no_order.startswith(
        "No record has one of the values small, large in the field 'level': its kind is inferred"
    )


def test_a_profile_is_plain_json_and_names_the_space() -> None:
    one, same, other = (profile(pool(seed=seed), {}) for seed in (0, 0, 1))
    assert one == same and json.loads(one)
    assert TabularEncoder(one).name == TabularEncoder(same).name != TabularEncoder(other).name
    assert all(letter.isalnum() or letter == "-" for letter in TabularEncoder(one).name)
    made = encoder(pool())
    assert np.array_equal(encode(made, *pool(9)), encode(TabularEncoder(profile(pool(), {})), *pool(9)))
    assert "9 fields" in made.verify() and np.array_equal(made.sketch(["{}"]), made.encode(["{}"]))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**18), 10**18), st.floats(), st.text(max_size=8), st.lists(st.integers())
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), min_size=1, max_size=12))
def test_whatever_is_in_the_fields_the_vectors_are_finite(records: list[dict[str, Any]]) -> None:
    try:
        made = encoder(records)
    except ApprenticeError:
        return
    vectors = encode(made, *records)
    assert np.isfinite(vectors).all() and np.linalg.norm(vectors, axis=1) == pytest.approx(
        np.ones(len(records)), abs=1e-4
    )


def test_a_numbers_place_is_the_mean_of_its_z_score_and_its_rank_as_a_normal_deviate() -> None:
    """Compared with scikit-learn's transformers."""
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    values = np.random.default_rng(0).lognormal(size=500)
    (field,) = encoder([{"x": value} for value in values]).fields
    assert field == fitted("x", values.tolist())
    z = np.clip(StandardScaler().fit_transform(values[:, None])[:, 0], -4, 4)
    ranks = QuantileTransformer(n_quantiles=200, output_distribution="uniform").fit_transform(values[:, None])[:, 0]
    from scipy.special import ndtri

    normal = StandardScaler().fit_transform(ndtri(np.clip(ranks, 0.01, 0.99))[:, None])[:, 0]
    found = encoder([{"x": value} for value in values]).standardised([{"x": value} for value in values])[:, 0]
    assert found == pytest.approx((z + normal) / 2, abs=1e-6)


def test_fields_are_in_alphabetical_order_however_the_records_have_them() -> None:
    records = pool(100)
    turned = [dict(reversed(each.items())) for each in records]
    assert profile(records, {}) == profile(turned, {})


def test_what_is_read_once_for_each_different_value_is_what_each_row_would_be() -> None:
    records = pool(60)
    records += [{"age": "1,234", "smoker": True, "city": 7}, {"age": True, "smoker": 1, "city": "7"}, {"age": [1]}, {}]
    made = encoder(records, LEVELS)
    np.testing.assert_array_equal(
        made.standardised(records), np.vstack([made.standardised([record]) for record in records])
    )


def test_many_categories_share_the_columns_that_there_are() -> None:
    random = np.random.default_rng(0)
    wide = [{f"f{n}": f"v{random.integers(0, 40)}" for n in range(30)} for _ in range(400)]
    made = encoder(wide)
    assert 30 * 3 < len(made.columns) <= MOST_COLUMNS
    assert {column.field for column in made.columns} == {f"f{n}" for n in range(30)}


class Words:
    """Encodes a text by its first letter."""

    name, dim, quick = "words", 26, False

    def encode(self, texts: list[str]) -> np.ndarray:
        out = np.full((len(texts), 26), 0.1, np.float32)
        for row, text in enumerate(texts):
            out[row, ord((text or "a")[0].lower()) % 26] = 1
        return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))

    def sketch(self, texts: list[str]) -> np.ndarray:
        return self.encode(texts)[:, :5]

    def verify(self) -> str:
        return ""


def notes(n: int = 120) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {"age": int(random.integers(0, 90)), "note": f"{'abcde'[random.integers(0, 5)]} word number {row} of this one"}
        for row in range(n)
    ]


def test_a_text_weighs_as_much_as_all_other_fields_together() -> None:
    records = notes()
    made = TabularEncoder(profile(records, {}, Words()), Words())
    assert not made.quick and encoder(pool(50), LEVELS).quick
    x = encode(made, *records)
    is_text = np.array([column.is_text for column in made.columns_in_full])
    assert x.shape == (120, made.dim) and is_text.sum() == 26
    variances = x.var(axis=0)
    assert variances[is_text].sum() == pytest.approx(variances[~is_text][:1].sum(), rel=0.35)
    gone = encode(made, {"age": 30})
    assert not gone[0, is_text].any(), "as the pool is on average"
    np.testing.assert_allclose(
        np.linalg.norm(made.sketch([json.dumps(each) for each in records]), axis=1), 1, atol=1e-5
    )


def test_the_field_that_is_asked_about_is_a_text_though_its_words_are_few() -> None:
    random = np.random.default_rng(0)
    records = [{"title": f"{'blue' if random.random() < 0.5 else 'red'} shoe {n}", "code": f"C {n}"} for n in range(99)]
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile(records, {}, Words())
    assert TabularEncoder(profile(records, {}, Words(), "title"), Words()).texts == ("title",)
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([{"title": f"C-{n}"} for n in range(99)], {}, Words(), "title")
    days = [{"seen": f"2024-01-{1 + n % 28:02} 10:{n % 60:02}", "blue": n % 2} for n in range(80)]
    assert {each["name"]: each["kind"] for each in TabularEncoder(profile(days, {}, Words(), "seen")).about()}[
        "seen"
    ] == DATE
    few = [{**each, "body": f"all that there is to say of {each['title']}"} for each in records[:20]]
    assert TabularEncoder(profile(few, {}, Words(), "title"), Words()).texts == ("body", "title"), "also of few tasks"


def test_phrases_are_records_that_say_them_in_all_their_texts() -> None:
    records = [{**each, "gap": None if row % 5 else 1.0 * row} for row, each in enumerate(notes())]
    made = TabularEncoder(profile(records, {}, Words()), Words())
    (said,) = made.phrases(["a phrase"])
    is_text = np.array([column.is_text for column in made.columns_in_full])
    assert made.texts == ("note",) and said[is_text].any() and np.linalg.norm(said) == pytest.approx(1, abs=1e-5)
    assert not said[:-1][~is_text[:-1]].any(), "of the others, nothing is said, not even that they are missing"
    np.testing.assert_allclose(said[is_text], encode(made, {"note": "a phrase"})[0, is_text], rtol=0.5)
    assert encoder(pool(50), LEVELS).texts == ()


def test_texts_without_an_encoder_are_left_to_the_other_fields_or_told() -> None:
    assert encode(encoder(notes()), *notes()).shape == (120, 2)
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([{"note": each["note"]} for each in notes()], {})


def test_scores_of_fields_become_scores_of_their_columns() -> None:
    made = encoder(pool(), LEVELS)
    said = {
        "yes": {
            "AGE": 5.0, "city": {"oslo": 4.0, "Atlantis": 9.0}, "smoker": {"yes": 6.0, "no": -2.0}, "nothing": 3.0,
            "visits": {MISSING: -2.0}, "income": {"high": 3.0}, "level": 2.0,
        }
    }  # fmt: skip
    found = made.attributions([said, {}], ["no", "yes"])
    assert found.scores.shape == (2, 2, made.dim) and not found.scores[0].any() and not found.scores[1, 1].any()
    scored = {
        (column.field, column.value): float(score)
        for column, score in zip(made.columns_in_full, found.scores[1, 0], strict=True)
        if score
    }
    assert scored == {
        ("age", ""): 5.0, ("city", "Oslo"): pytest.approx(4.0 / BETWEEN), ("smoker", "yes"): 4.0,
        ("visits", MISSING): -2.0, ("level", ""): 2.0,
    }  # fmt: skip
    widths = {column.field: width for column, width in zip(made.columns_in_full, found.width, strict=True)}
    assert (widths["age"], widths["city"], widths["smoker"], widths[""]) == (1.0, NARROW, NARROW, 0.0)
    assert made.attributions([], ["no", "yes"]).scores.shape == (2, 1, made.dim)


def test_a_boolean_may_be_scored_as_a_whole() -> None:
    made = encoder(pool(), LEVELS)
    scores = made.attributions([{"yes": {"smoker": -3.0}}], ["yes"]).scores[0, 0]
    assert [score for score in scores if score] == [-3.0]


def test_fields_are_told_with_their_kinds_and_values() -> None:
    told = {each["name"]: each for each in encoder(pool(), LEVELS).about()}
    assert told.keys() == {"age", "city", "income", "level", "since", "smoker", "visits"}
    assert told["city"]["values"] == ["Oslo", "Bergen", "Tromso"] and told["level"]["values"] == LEVELS["level"]
    assert float(told["age"]["values"][0]) >= 18 and float(told["age"]["values"][1]) <= 90
    assert told["since"]["values"][0].startswith("201") and told["since"]["values"][1].startswith("202")


def test_groups_of_numbers_are_quarters_of_the_pool() -> None:
    records = pool(400)
    made = encoder(records, LEVELS)
    texts = [json.dumps(each) for each in records]
    ages = made.groups("age", texts)
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
    assert set(made.groups("visits", texts) or ()) > {MISSING}
    assert made.groups("country", texts) is None and made.groups("nothing", texts) is None


def test_a_field_without_a_name_and_names_of_any_kind_are_fields_like_others() -> None:
    records = [{"": n % 7, "scores": n % 3, "yes": str(n % 2)} for n in range(60)]
    made = encoder(records)
    assert {column.field for column in made.columns} == {"", "scores", "yes"}
    assert np.isfinite(encode(made, *records)).all()


def test_yes_is_yes_however_it_is_written() -> None:
    records = [{"a": value} for value in ["Yes", "yes", "YES", "No", "no", "n/a"] * 9]
    made = encoder(records)
    x = made.standardised(records)[:6, 0]
    assert x[0] == x[1] == x[2] > 0 > x[3] == x[4] and abs(x[5]) < 0.5
    assert made.columns[0].value == "yes"


def test_an_order_holds_for_values_that_look_missing_and_however_numbers_are_written() -> None:
    severity = [{"a": value} for value in ["none", "Mild", "severe"] * 20]
    made = encoder(severity, {"a": ["none", "mild", "severe"]})
    none, mild, severe = made.standardised(severity)[:3, 0]
    assert none < mild < severe and len(made.columns) == 1
    grades = [{"a": value} for value in [1.0, 2, "3", "3.0", None] * 20]
    made = encoder(grades, {"a": [1, 2, 3]})
    one, two, three, also_three, gone = made.standardised(grades)[:5, 0]
    assert one < two < three == also_three and gone == 0 and made.columns[1].value == MISSING


def test_texts_that_are_hardly_there_spoil_nothing() -> None:
    nobody = [{"age": n % 47, "note": None} for n in range(60)]
    alike = [{"age": n % 47, "note": f"always the same {n % 6}"} for n in range(60)]
    for records in (nobody, [{**each, "note": "just one"} for each in nobody], alike):
        made = TabularEncoder(profile(records, {"note": TEXT}, Words()), Words())
        x = encode(made, *records, {"age": 30, "note": "zebra, quite another one"})
        assert np.isfinite(x).all()
        assert np.abs(x[-1, 0] - x[30, 0]) < 0.2, "another text does not drown the other fields"


def test_there_are_never_more_columns_than_room() -> None:
    random = np.random.default_rng(0)
    wide = [{f"f{n}": f"v{random.integers(0, 5)}" for n in range(250)} for _ in range(80)]
    made = profile(wide, {})
    assert len(TabularEncoder(made).columns) <= MOST_COLUMNS
    assert any("fields are left out: there is room for" in each for each in json.loads(made)["odd"])
    written = [{f"t{n}": f"{'abcdefg'[row % 7]} one of many words here {row}" for n in range(4)} for row in range(60)]
    made = profile(written, {"t3": TEXT}, Words())
    assert TabularEncoder(made, Words()).dim == 2 * 26 + 1 and "t3" in json.loads(made)["blocks"]


def test_dates_are_shown_as_dates() -> None:
    records = [{"day": f"2024-{1 + n % 12:02}-{1 + n % 28:02}"} for n in range(200)]
    made = encoder(records)
    groups = made.groups("day", [json.dumps(each) for each in records])
    assert groups is not None and all("2024-" in each for each in groups)


def test_a_kind_that_fits_no_value_and_an_order_that_lacks_some_are_told() -> None:
    records = pool(90)
    kept = json.loads(profile(records, {"city": NUMERIC, "level": ["low", "high"]}))
    wrong, partial = kept["odd"]
    assert wrong.startswith("Field 'city' cannot be numeric: its values are not, for example '")
    assert partial == "'middle' is not in the order of the field 'level', and counts as missing"
    kinds = {field.name: field.kind for field in TabularEncoder(json.dumps(kept)).fields}
    assert (kinds["city"], kinds["level"]) == (CATEGORICAL, ORDINAL)


def test_a_word_for_what_is_missing_is_told_and_is_a_column_of_its_own() -> None:
    records = [{"amount": f"{n},5" if n % 10 else "k.A."} for n in range(200)]
    made = encoder(records)
    assert json.loads(profile(records, {}))["odd"] == [
        "'k.A.' is no number in the field 'amount', and counts as missing"
    ]
    assert [(column.is_number, column.value) for column in made.columns] == [(True, ""), (False, MISSING)]
    gone, there = made.standardised([{"amount": "k.A."}, {"amount": "99,5"}])
    assert gone[0] == 0 and gone[1] > 1 and there[1] < 0


def test_what_is_left_out_is_told_with_the_reason() -> None:
    made = encoder(pool(), {"city": LEFT_OUT})
    assert made.left_out() == {"city": LEFT_OUT, "country": CONSTANT, "id": IDENTIFIER}
