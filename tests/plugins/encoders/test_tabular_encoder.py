"""Records as vectors: standardised columns, texts, and odd values that must not stop the encoder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_pools import LEVELS, Words, encode, encoder_of, notes, pool, profile

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import RecordEncoderClass
from ml_backend.core.types import read_record
from plugins.encoders.feature_types import (
    CATEGORICAL,
    CONSTANT,
    IDENTIFIER,
    MAX_CATEGORY_COLUMNS,
    ORDINAL,
    OTHER,
    TEXT,
    fit_field,
)
from plugins.encoders.tabular import MAX_COLUMNS, TabularEncoder
from plugins.encoders.value_parsing import DATE, MISSING, NUMERIC


def test_the_class_fits_its_port() -> None:
    encoder_class: RecordEncoderClass = TabularEncoder
    assert {NUMERIC, CATEGORICAL, TEXT} <= set(encoder_class.field_kinds())


def test_each_kind_has_its_columns_and_fields_that_tell_nothing_apart_have_none() -> None:
    encoder = encoder_of(pool(), LEVELS)
    columns = [(column.field, column.is_number, column.value) for column in encoder.columns]
    assert columns == [
        ("age", True, ""), ("city", False, "Oslo"), ("city", False, "Bergen"), ("city", False, "Tromso"),
        ("income", True, ""), ("level", True, ""), ("since", True, ""), ("smoker", False, "yes"),
        ("visits", True, ""), ("visits", False, MISSING),
    ]  # fmt: skip
    assert encoder.dim == len(columns) + 1
    kinds = {field.name: field.kind for field in encoder.fields}
    assert (kinds["level"], kinds["since"], kinds["id"], kinds["country"]) == (ORDINAL, DATE, IDENTIFIER, CONSTANT)


def test_columns_are_standardised_over_the_pool() -> None:
    records = pool(2000)
    encoder = encoder_of(records, LEVELS)
    x = encoder.standardised(records)
    assert np.abs(x.mean(axis=0)).max() < 0.05
    numbers = [i for i, column in enumerate(encoder.columns) if column.is_number and column.field != "visits"]
    assert x[:, numbers].std(axis=0) == pytest.approx(np.ones(len(numbers)), abs=0.15)
    index = {(column.field, column.value): i for i, column in enumerate(encoder.columns)}
    yes, no = (x[[record["smoker"] == value for record in records], index["smoker", "yes"]] for value in ("yes", "no"))
    assert yes[0] - no[0] == pytest.approx(2.0) and np.ptp(yes) == 0
    oslo, bergen = (x[next(i for i, r in enumerate(records) if r["city"] == value)] for value in ("Oslo", "Bergen"))
    columns = [index["city", value] for value in ("Oslo", "Bergen", "Tromso")]
    assert np.linalg.norm(oslo[columns] - bergen[columns]) == pytest.approx(2.0), "as far apart as yes and no"
    low, middle, high = (
        x[next(i for i, r in enumerate(records) if r["level"] == value), index["level", ""]]
        for value in LEVELS["level"]
    )
    assert low < middle < high


def test_vectors_have_unit_length_and_keep_the_distances_of_the_columns() -> None:
    records = pool()
    encoder = encoder_of(records)
    vectors, x = encode(encoder, *records), encoder.standardised(records)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(records)), abs=1e-5)
    inside = np.flatnonzero(vectors[:, -1] > 0)
    assert len(inside) > 0.98 * len(records)
    ratio = vectors[inside, :-1] / np.where(x[inside] == 0, 1, x[inside])
    assert np.ptp(ratio[x[inside] != 0]) < 1e-5, "one factor for all"


def test_values_and_fields_that_the_pool_lacks_and_missing_ones_are_zero() -> None:
    encoder = encoder_of(pool(), LEVELS)
    odd = {"age": "unknown", "city": "Bodo", "smoker": "sometimes", "level": "very high", "new": 5}
    x = encoder.standardised([odd])
    present = [
        place for place, column in enumerate(encoder.columns) if column.value != MISSING and column.field != "visits"
    ]
    assert x[0, present] == pytest.approx(np.zeros(len(present)))


@pytest.mark.parametrize("record", [{}, [], 7, None, "text", {"age": [1, 2], "city": {"a": 1}}, {"age": 1e308}])
def test_a_text_that_is_no_record_or_an_odd_one_has_a_vector(record: Any) -> None:
    vector = encode(encoder_of(pool()), record)
    assert np.isfinite(vector).all() and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert read_record("no JSON") == {}


def test_frequent_values_have_columns_and_rare_ones_share_one() -> None:
    records = [{"city": f"town {n % 81 if n % 2 else n % 10}"} for n in range(2000)]
    (field,) = encoder_of(records).fields
    assert len(field.values) == MAX_CATEGORY_COLUMNS + 1 and field.values[-1] == OTHER
    assert sum(field.shares) == pytest.approx(1.0)
    encoder = encoder_of(records)
    rare = next(f"town {n}" for n in range(80) if f"town {n}" not in field.values)
    assert np.array_equal(encoder.standardised([{"city": rare}]), encoder.standardised([{"city": "Atlantis"}]))


def test_a_profile_is_plain_json_and_names_the_vector_space() -> None:
    first, same, other = (profile(pool(seed=seed), {}) for seed in (0, 0, 1))
    assert first == same and json.loads(first)
    assert TabularEncoder(first).name == TabularEncoder(same).name != TabularEncoder(other).name
    assert all(letter.isalnum() or letter == "-" for letter in TabularEncoder(first).name)
    encoder = encoder_of(pool())
    assert np.array_equal(encode(encoder, *pool(9)), encode(TabularEncoder(profile(pool(), {})), *pool(9)))
    assert "9 fields" in encoder.verify() and np.array_equal(encoder.sketch(["{}"]), encoder.encode(["{}"]))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**18), 10**18), st.floats(), st.text(max_size=8), st.lists(st.integers())
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), min_size=1, max_size=12))
def test_whatever_is_in_the_fields_the_vectors_are_finite(records: list[dict[str, Any]]) -> None:
    try:
        encoder = encoder_of(records)
    except ApprenticeError:
        return
    vectors = encode(encoder, *records)
    assert np.isfinite(vectors).all() and np.linalg.norm(vectors, axis=1) == pytest.approx(
        np.ones(len(records)), abs=1e-4
    )


def test_a_number_becomes_the_mean_of_its_z_score_and_its_normal_score() -> None:
    """Compared with scikit-learn's transformers."""
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    values = np.random.default_rng(0).lognormal(size=500)
    (field,) = encoder_of([{"x": value} for value in values]).fields
    assert field == fit_field("x", values.tolist())
    z = np.clip(StandardScaler().fit_transform(values[:, None])[:, 0], -4, 4)
    ranks = QuantileTransformer(n_quantiles=200, output_distribution="uniform").fit_transform(values[:, None])[:, 0]
    from scipy.special import ndtri

    normal = StandardScaler().fit_transform(ndtri(np.clip(ranks, 0.01, 0.99))[:, None])[:, 0]
    column = encoder_of([{"x": value} for value in values]).standardised([{"x": value} for value in values])[:, 0]
    assert column == pytest.approx((z + normal) / 2, abs=1e-6)


def test_fields_are_in_alphabetical_order_however_the_records_have_them() -> None:
    records = pool(100)
    reversed_records = [dict(reversed(record.items())) for record in records]
    assert profile(records, {}) == profile(reversed_records, {})


def test_parsing_each_distinct_value_once_gives_the_columns_of_each_row() -> None:
    records = pool(60)
    records += [{"age": "1,234", "smoker": True, "city": 7}, {"age": True, "smoker": 1, "city": "7"}, {"age": [1]}, {}]
    encoder = encoder_of(records, LEVELS)
    np.testing.assert_array_equal(
        encoder.standardised(records), np.vstack([encoder.standardised([record]) for record in records])
    )


def test_many_categories_share_the_available_columns() -> None:
    random = np.random.default_rng(0)
    wide = [{f"f{n}": f"v{random.integers(0, 40)}" for n in range(30)} for _ in range(400)]
    encoder = encoder_of(wide)
    assert 30 * 3 < len(encoder.columns) <= MAX_COLUMNS
    assert {column.field for column in encoder.columns} == {f"f{n}" for n in range(30)}


def test_a_text_weighs_as_much_as_all_other_fields_together() -> None:
    records = notes()
    encoder = TabularEncoder(profile(records, {}, Words()), Words())
    assert not encoder.quick and encoder_of(pool(50), LEVELS).quick
    x = encode(encoder, *records)
    is_text = np.array([column.is_text for column in encoder.vector_columns])
    assert x.shape == (120, encoder.dim) and is_text.sum() == 26
    variances = x.var(axis=0)
    assert variances[is_text].sum() == pytest.approx(variances[~is_text][:1].sum(), rel=0.35)
    without_text = encode(encoder, {"age": 30})
    assert not without_text[0, is_text].any(), "the average of the pool"
    np.testing.assert_allclose(
        np.linalg.norm(encoder.sketch([json.dumps(record) for record in records]), axis=1), 1, atol=1e-5
    )


def test_the_field_that_is_asked_about_may_be_a_text_of_few_words() -> None:
    random = np.random.default_rng(0)
    records = [{"title": f"{'blue' if random.random() < 0.5 else 'red'} shoe {n}", "code": f"C {n}"} for n in range(99)]
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile(records, {}, Words())
    assert TabularEncoder(profile(records, {}, Words(), "title"), Words()).texts == ("title",)
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([{"title": f"C-{n}"} for n in range(99)], {}, Words(), "title")
    days = [{"seen": f"2024-01-{1 + n % 28:02} 10:{n % 60:02}", "blue": n % 2} for n in range(80)]
    assert {
        field["name"]: field["kind"] for field in TabularEncoder(profile(days, {}, Words(), "seen")).field_summaries()
    }["seen"] == DATE
    few = [{**record, "body": f"all that there is to say of {record['title']}"} for record in records[:20]]
    assert TabularEncoder(profile(few, {}, Words(), "title"), Words()).texts == ("body", "title"), "also with few tasks"


def test_phrases_are_records_with_the_phrase_in_all_their_texts() -> None:
    records = [{**record, "gap": None if row % 5 else 1.0 * row} for row, record in enumerate(notes())]
    encoder = TabularEncoder(profile(records, {}, Words()), Words())
    (vector,) = encoder.encode_phrases(["a phrase"])
    is_text = np.array([column.is_text for column in encoder.vector_columns])
    assert encoder.texts == ("note",) and vector[is_text].any() and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert not vector[:-1][~is_text[:-1]].any(), "other fields have the average of the pool, and are not missing"
    np.testing.assert_allclose(vector[is_text], encode(encoder, {"note": "a phrase"})[0, is_text], rtol=0.5)
    assert encoder_of(pool(50), LEVELS).texts == ()


def test_texts_without_an_encoder_are_ignored_or_an_error() -> None:
    assert encode(encoder_of(notes()), *notes()).shape == (120, 2)
    with pytest.raises(ApprenticeError, match="no field that tells them apart"):
        profile([{"note": record["note"]} for record in notes()], {})


def test_few_or_similar_texts_do_not_change_the_other_fields() -> None:
    without_texts = [{"age": n % 47, "note": None} for n in range(60)]
    similar_texts = [{"age": n % 47, "note": f"always the same {n % 6}"} for n in range(60)]
    for records in (without_texts, [{**record, "note": "just one"} for record in without_texts], similar_texts):
        encoder = TabularEncoder(profile(records, {"note": TEXT}, Words()), Words())
        x = encode(encoder, *records, {"age": 30, "note": "zebra, quite another one"})
        assert np.isfinite(x).all()
        assert np.abs(x[-1, 0] - x[30, 0]) < 0.2, "another text does not outweigh the other fields"


def test_there_are_never_more_columns_than_the_limit() -> None:
    random = np.random.default_rng(0)
    wide = [{f"f{n}": f"v{random.integers(0, 5)}" for n in range(250)} for _ in range(80)]
    stored = profile(wide, {})
    assert len(TabularEncoder(stored).columns) <= MAX_COLUMNS
    assert "fields left out" in [problem["code"] for problem in json.loads(stored)["odd"]]
    with_texts = [
        {f"t{n}": f"{'abcdefg'[row % 7]} one of many words here {row}" for n in range(4)} for row in range(60)
    ]
    stored = profile(with_texts, {"t3": TEXT}, Words())
    assert TabularEncoder(stored, Words()).dim == 2 * 26 + 1 and "t3" in json.loads(stored)["blocks"]
