"""The units in which texts are tagged: parts of words where annotators mark these, else words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import regex
from fake_word_encoder import FakeWordEncoder
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ml_backend.core.arrays import Fit, TrainingSet, object_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.words import word_offsets
from plugins.learners.crf.learner import Crf
from plugins.learners.crf.model import unpack
from plugins.learners.crf.unit_choice import MAX_CUT_SHARE, SIGNIFICANCE, CutSpans, choose_units, count_cut_spans
from plugins.learners.crf.units import Units, cut_words
from plugins.learners.crf.word_table import read_words

texts = st.text(st.sampled_from("aBÉe\u0301ß1²_ .@#:/中ก\u0e31\u200d👩\u0600"), max_size=14)
learner = Crf()


def read(of_texts: list[str]) -> Texts:
    return texts_at(of_texts, FakeWordEncoder().encode_with_words(of_texts)[1])


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("10mg", ["10", "mg"]),
        ("#BlackLivesMatter", ["#", "Black", "Lives", "Matter"]),
        ("#London2012", ["#", "London", "2012"]),
        ("@TMZ", ["@", "TMZ"]),
        ("HTTPServer", ["HTTP", "Server"]),
        ("file_name", ["file", "_", "name"]),
        ("www.gov.uk/Tax", ["www", ".", "gov", ".", "uk", "/", "Tax"]),
        ("e\u0301coleE\u0301tat", ["e\u0301cole", "E\u0301tat"]),
        ("Krebstherapie", ["Krebstherapie"]),
    ],
)
def test_words_are_cut_between_letters_digits_and_signs_and_before_capitals(word: str, parts: list[str]) -> None:
    starts, ends, words = cut_words(f"a {word}", [2], [2 + len(word)], Units.PARTS)
    assert [f"a {word}"[start:end] for start, end in zip(starts, ends, strict=True)] == parts
    assert words == [0] * len(parts)


@given(texts)
def test_the_parts_of_a_word_follow_each_other_from_its_beginning_to_its_end(text: str) -> None:
    word_starts, word_ends = (offsets.tolist() for offsets in word_offsets(text))
    starts, ends, words = cut_words(text, word_starts, word_ends, Units.PARTS)
    for word, (start, end) in enumerate(zip(word_starts, word_ends, strict=True)):
        parts = [(s, e) for s, e, of_word in zip(starts, ends, words, strict=True) if of_word == word]
        assert [start, *(e for _, e in parts)] == [*(s for s, _ in parts), end], "without a gap"
        characters = {start + match.start() for match in regex.finditer(r"\X", text[start:end])}
        assert {s for s, _ in parts} <= characters, "no character is cut"


@given(st.lists(texts, max_size=4))
def test_a_part_has_the_vector_of_its_word(of_texts: list[str]) -> None:
    rows = np.arange(len(of_texts))
    words, parts = (read_words(read(of_texts), rows, units) for units in Units)
    for text in rows:
        in_words, in_parts = (np.flatnonzero(table.texts == text) for table in (words, parts))
        of_parts = in_words[np.searchsorted(words.ends[in_words], parts.ends[in_parts])]
        np.testing.assert_array_equal(parts.vectors[in_parts], words.vectors[of_parts])


def test_the_parts_of_words_that_were_not_encoded_are_left_out() -> None:
    [encoded] = FakeWordEncoder().encode_with_words(["10mg of"])[1]
    long = Texts(1, lambda rows: ["10mg of 20ml"], lambda rows: [encoded])
    assert read_words(long, np.array([0]), Units.PARTS).words == ["10", "mg", "of"]


spans = st.lists(
    st.tuples(st.integers(0, 16), st.integers(1, 8), st.just("A"), st.sampled_from([0.5, 1.0])).map(
        lambda span: (span[0], span[0] + span[1], *span[2:])
    ),
    max_size=4,
)


@given(st.lists(st.tuples(texts, spans), max_size=4), st.sampled_from(Units))
def test_spans_that_cut_units_are_counted(marked: list[tuple[str, Any]], units: Units) -> None:
    of_texts, targets = [text for text, _ in marked], object_rows([(tuple(spans), 0) for _, spans in marked])
    table = read_words(texts_at(of_texts), np.arange(len(marked)), units)
    is_cut = []
    for text, (_, of_text) in enumerate(marked):
        offsets = [*zip(table.starts[table.texts == text], table.ends[table.texts == text], strict=True)]
        for start, end, _, share in of_text:
            if share > 0.5:
                is_cut.append(any(s < edge < e for edge in (start, end) for s, e in offsets))
    assert count_cut_spans(table, of_texts, targets) == CutSpans(sum(is_cut), len(is_cut))


@given(st.integers(0, 400), st.data())
def test_shares_are_compared_by_an_exact_binomial_test(n: int, data: st.DataObject) -> None:
    cut = CutSpans(data.draw(st.integers(0, n)), n)
    if n:
        above, below = (binomtest(cut.cut, n, MAX_CUT_SHARE, way).pvalue for way in ("greater", "less"))
        assert cut.are_many() == (above <= SIGNIFICANCE) and cut.are_few() == (below <= SIGNIFICANCE)
    else:
        assert not cut.are_many() and not cut.are_few()


@pytest.mark.parametrize("n", [1, 5, 40])
def test_a_single_span_changes_nothing(n: int) -> None:
    assert not CutSpans(1, n).are_many()


def choose(of_words: CutSpans, of_parts: CutSpans, serving: Units | None = None) -> Units:
    counts = {Units.WORDS: of_words, Units.PARTS: of_parts}
    return choose_units(counts.__getitem__, serving)[0]


def test_parts_are_used_if_they_are_what_is_marked() -> None:
    assert choose(CutSpans(10, 100), CutSpans(1, 100)) == Units.PARTS
    assert choose(CutSpans(2, 100), CutSpans(0, 100)) == Units.WORDS, "two of a hundred may be chance"
    assert choose(CutSpans(10, 100), CutSpans(9, 100)) == Units.WORDS, "suffixes, or slips"


def test_parts_are_given_up_only_if_clearly_few_spans_cut_words() -> None:
    shares = [CutSpans(3, 100), CutSpans(1, 100), CutSpans(2, 1000)]
    assert [choose(share, CutSpans(0, 100), Units.PARTS) for share in shares] == [Units.PARTS, Units.PARTS, Units.WORDS]
    assert choose(CutSpans(1, 100), CutSpans(0, 100)) == Units.WORDS


def doses(numbers: range) -> tuple[list[str], list[Any]]:
    """Texts with a dose, of which the number is marked; each third text has none."""
    contents = [f"take {n}mg of it today" if n % 3 else f"take none on day {n}" for n in numbers]
    return contents, [(((5, 5 + len(str(n)), "A", 1.0),) if n % 3 else (), 0) for n in numbers]


def fit(contents: list[str], targets: list[Any], **options: Any) -> Fit:
    train = TrainingSet(
        vectors=np.zeros((len(contents), 4), np.float32),
        targets=object_rows(targets),
        weights=np.ones(len(contents), np.float32),
        control=ControlSchema("spans", "text", ("A",), kind="spans"),
        texts=read(contents),
        pool_texts=read(doses(range(500, 530))[0]),
        **options,
    )
    return learner.fit(train, 0)


def drafts(fitted: Fit, contents: list[str]) -> list[list[tuple[int, int, str]]]:
    predicted = learner.predict(fitted.tensors, np.zeros((len(contents), 4), np.float32), read(contents))
    return [[span[:3] for span in row[0]] for row in predicted]


def test_marked_parts_of_words_are_drafted_in_new_texts() -> None:
    fitted = fit(*doses(range(100, 160)))
    contents, targets = doses(range(300, 330))
    expected = [[span[:3] for span in spans] for spans, _ in targets]
    assert sum(a == b for a, b in zip(drafts(fitted, contents), expected, strict=True)) >= 27
    assert fitted.remark is not None
    assert (fitted.remark.code, fitted.remark.values) == ("spans cut words", {"units": "parts", "cut": 40, "spans": 40})
    assert fitted.held_out[1][0][0][:3] == (5, 8, "A")


def test_a_refit_goes_on_with_parts() -> None:
    contents, targets = doses(range(100, 160))
    serving = fit(contents[:59], targets[:59])
    refitted = fit(contents, targets, earlier_tensors=serving.tensors, earlier=object_rows([*targets[:59], None]))
    assert unpack(refitted.tensors).cold_words == unpack(serving.tensors).cold_words, "from the serving model"
    assert refitted.held_out_earlier is not None
    assert refitted.held_out_earlier[1][0][0][:3] == (5, 8, "A")


def test_a_project_goes_over_to_parts_when_they_are_marked() -> None:
    contents, targets = doses(range(100, 160))
    words = [(tuple((start, end + 2, *rest) for start, end, *rest in spans), 0) for spans, _ in targets]
    serving = fit(contents, words)
    assert serving.remark is None and unpack(serving.tensors).units == Units.WORDS
    switched = fit(contents, targets, earlier_tensors=serving.tensors, earlier=object_rows(words))
    for name, tensor in fit(contents, targets).tensors.items():
        if name != "header":  # has the number of words when a prior was last chosen
            np.testing.assert_array_equal(switched.tensors[name], tensor)
    assert switched.held_out_earlier is not None
    assert switched.held_out_earlier[1] == serving.held_out[1], "the serving model is judged in its own units"


def test_spans_that_cut_parts_are_reported_and_drafted_as_words() -> None:
    contents = [f"day {n} in Istanbulda" for n in range(40)]
    targets = [(((len(text) - 10, len(text) - 2, "A", 1.0),), 0) for text in contents]
    fitted = fit(contents, targets)
    assert fitted.remark is not None and fitted.remark.values == {"units": "words", "cut": 40, "spans": 40}
    assert drafts(fitted, ["day 50 in Istanbulda"]) == [[(10, 20, "A")]]


def test_models_that_were_stored_before_there_were_parts_have_words() -> None:
    tensors = dict(fit(*doses(range(3, 4))).tensors)
    header = json.loads(bytes(tensors["header"]))
    assert header.pop("units") == "words"
    tensors["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    assert unpack(tensors).units == Units.WORDS
